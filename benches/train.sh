#!/bin/sh
# The quickstart's training and embedding beside the same in PyTorch and NumPy, and beside the floor of the matrix products.
#
#   benches/train.sh READS.fastq[.gz] [CACHE]      # READS: 20,000 reads of 10 kb, as benches/quality/make_mixture.py makes them
#
# PYTHON (default .venv/bin/python) must have torch and numpy; INVAR (default target/release/invar) is the program under test; RECIPE
# (default pipelines/reads/quickstart.toml) is what both do: its window lengths, batch and errors are handed to the peer. Both do STEPS (default 600).
# Invar is timed as a whole command (start, opening the dataset, checkpoints and logs included); the peer only in its loop, without
# reading the FASTQ. The peer's fastest number of workers counts. The commands take turns, ROUNDS times (default 1).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
reads=$1
cache=${2:-$root/target/bench}
python=${PYTHON:-$root/.venv/bin/python}
invar=${INVAR:-$root/target/release/invar}
recipe=${RECIPE:-$root/pipelines/reads/quickstart.toml}
mkdir -p "$cache/train"
exec "$python" "$here/train.py" --reads "$reads" --out "$cache/train" --invar "$invar" --recipe "$recipe" \
    --rounds "${ROUNDS:-1}" --steps "${STEPS:-600}"
