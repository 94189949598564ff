#!/usr/bin/env bash
# How fast are views of micrographs made? Invar on two threads, then torchvision (and lightly, where the Python has it) in two
# processes, in one run on one machine.
#
#   views.sh [PYTHON]     PYTHON: one with torch, torchvision and Pillow; default: that of `make`'s .venv
#
# Invar's rows say what is compared: "128 px of 200 x 200, u8, augmented" beside "128 px of 200 x 200, u8, torch" and "pil".
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}

cargo bench --locked --quiet --package invar-micrographs --bench views
if ! "$python" -c 'import torchvision' 2>/dev/null; then
  echo "$python has no torchvision: the peer is left out (pip install torchvision==0.26.0 --no-deps)" >&2
  exit 0
fi
lightly=$("$python" -c 'import lightly.transforms' 2>/dev/null && echo --lightly || true)
"$python" benches/peers/views_torchvision.py $lightly
