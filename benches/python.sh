#!/bin/sh
# What it costs to call Invar from Python: embed, search, neighbours and clusters of 100,000 reads by the module and by the program, in
# turns. The sizes of the wheels, and how long importing takes.
#
#   benches/python.sh [CACHE]          # CACHE (default target/bench) holds reads, embeddings and an environment with the wheels
#
# INVAR (default target/release/invar) is the program; WHEELS (default target/wheels) has what `make wheels` made; PYTHON one with
# torch 2.11.0 and numpy, which the environment links.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
mkdir -p "${1:-$root/target/bench}"
cache=$(cd "${1:-$root/target/bench}" && pwd)
invar=${INVAR:-$root/target/release/invar}
wheels=${WHEELS:-$root/target/wheels}
python=${PYTHON:-$root/.venv/bin/python}
environment=$cache/python-environment
home=$cache/python
site=$("$python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])')
"$python" "$root/crates/invar-python/tests/environment.py" "$environment" "$wheels" "$site"
mkdir -p "$home"
cd "$home"
if [ ! -d embeddings ]; then
    # Reads of twenty compositions, 2,000 bases each.
    "$python" - <<'END'
import numpy as np

BASES = b"ACGT" + bytes(252)
rng = np.random.default_rng(0)
shares = rng.dirichlet([8] * 4, size=20)
with open("reads.fastq", "w") as file:
    for read in range(100_000):
        drawn = np.searchsorted(shares[read % 20].cumsum()[:3], rng.random(2000))
        file.write(f"@read{read}\n{drawn.astype(np.uint8).tobytes().translate(BASES).decode()}\n+\n{'I' * 2000}\n")
END
    "$invar" ingest reads reads.fastq --out data
    "$invar" train reads/quickstart --data data --out run --set train.steps=50
    "$invar" embed --model run --data data --out embeddings
fi
[ -f asked.parquet ] || "$invar" query embeddings "SELECT * FROM self LIMIT 5000" --out asked.parquet
ls -l "$wheels" | awk '/whl$/ { printf "%s: %.1f MB\n", $NF, $5 / 1e6 }'
"$environment/bin/python" "$here/python.py" "$invar"
{
    printf 'import invar\t\t%s/bin/python -c "import invar"\n' "$environment"
    printf 'nothing\t\t%s/bin/python -c pass\n' "$environment"
} | "$python" "$here/measure.py" --title 'start of Python'
