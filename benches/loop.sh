#!/bin/sh
# The whole training loop on micrographs, views made on the fly: Invar beside lightly and torchvision, in turns.
#
#   benches/loop.sh IMAGES [CACHE]        # IMAGES: a directory of 8-bit pictures
#
# INVAR (default target/release/invar) is the program under test, PYTHON (default .venv/bin/python) has torch, torchvision, Pillow and
# lightly. SIZE and SIDE (default nano, 64) are the network and the views; STEPS (default 30), BATCH (default 64), ROUNDS (default 2),
# the best of which counts. PRECISION (default f32) is Invar's; the peers compute in f32. Two threads, two view workers. Prints
# pairs per second, and Invar's over the peer's.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
images=$1
cache=${2:-$root/target/bench/loop}
invar=${INVAR:-$root/target/release/invar}
python=${PYTHON:-$root/.venv/bin/python}
size=${SIZE:-nano} side=${SIDE:-64} steps=${STEPS:-30} batch=${BATCH:-64}
mkdir -p "$cache"
"$invar" ingest micrographs "$images" --whole-image --out "$cache/data" --quiet > /dev/null

invar_rate() {
    "$invar" train micrographs/textures --data "$cache/data" --out "$cache/run" --force --json --quiet \
        --set train.steps="$((steps + 5))" --set train.batch_size="$batch" --set encoder.size="$size" \
        --set encoder.precision="${PRECISION:-f32}" --set source.view.size_px="$side" --set train.checkpoint_every=100000 \
        --set train.threads=2 --set train.view_workers=2 > "$cache/run.json"
    sed -n 's/.*"pairs_per_s": *\([0-9.]*\).*/\1/p' "$cache/run.json" | tail -n 1
}

peer_rate() {
    "$python" "$root/benches/peers/loop_lightly.py" "$images" --how "$1" --size "$size" --side "$side" --batch "$batch" \
        --steps "$steps"
}

best() { printf '%s\n%s\n' "$1" "$2" | sort -g | tail -n 1; }

own=0 lightly=0 torchvision=0
for _ in $(seq "${ROUNDS:-2}"); do
    own=$(best "$own" "$(invar_rate)")
    lightly=$(best "$lightly" "$(peer_rate lightly)")
    torchvision=$(best "$torchvision" "$(peer_rate torchvision)")
done
awk -v own="$own" -v lightly="$lightly" -v torchvision="$torchvision" -v what="$size, $side px" 'BEGIN {
    printf "%s\ninvar        %8.1f pairs/s\nlightly      %8.1f pairs/s   ratio %.2f\ntorchvision  %8.1f pairs/s   ratio %.2f\n",
        what, own, lightly, own / lightly, torchvision, own / torchvision
}'
