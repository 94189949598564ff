#!/bin/sh
# The quality figures: train on a mixture without labels, embed fresh fragments, score, beside canonical 4-mers. Prints one table.
#
#   benches/quality/run.sh MIXTURE OUT [RECIPE]
#
# MIXTURE: a directory made by make_mixture.py. OUT: where datasets, the run and embeddings go; finished stages are kept, so remove it
# to measure anew. RECIPE: pipelines/reads/quickstart.toml by default.
# INVAR (default target/release/invar); PYTHON (default python3) must have the packages of benches/requirements.txt.
# All rows are scored by score.py (scikit-learn); what `invar evaluate` says of the same embeddings is printed below the table.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
mixture=$1
out=$2
recipe=${3:-$root/pipelines/reads/quickstart.toml}
invar=${INVAR:-$root/target/release/invar}
python=${PYTHON:-python3}
mkdir -p "$out"

[ -e "$out/train-data" ] || "$invar" ingest reads "$mixture/train.fastq.gz" --out "$out/train-data" -q >&2
"$invar" train "$recipe" --data "$out/train-data" --out "$out/run" -q >&2
for kb in 1 2 5; do
    fragments=$mixture/frag_${kb}kb
    [ -e "$out/data_${kb}kb" ] || "$invar" ingest reads "$fragments.fastq.gz" --out "$out/data_${kb}kb" -q >&2
    [ -e "$out/emb_${kb}kb.parquet" ] ||
        "$invar" embed --model "$out/run" --data "$out/data_${kb}kb" --out "$out/emb_${kb}kb.parquet" -q >&2
    "$invar" evaluate "$out/emb_${kb}kb.parquet" --labels "$fragments.truth.tsv" --json > "$out/evaluate_${kb}kb.json"
    "$python" "$here/score.py" "$out/emb_${kb}kb.parquet" "$fragments.truth.tsv" --json > "$out/invar_${kb}kb.json"
    [ -e "$out/kmers_${kb}kb.json" ] ||
        "$python" "$here/../peers/kmers_sklearn.py" "$fragments.fastq.gz" "$fragments.truth.tsv" --json > "$out/kmers_${kb}kb.json"
done
exec "$python" "$here/table.py" "$out"
