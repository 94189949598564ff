#!/bin/sh
# What sharing a batch costs: training in one process of two threads, and in two processes of one thread each.
#
#   benches/processes.sh READS.fastq[.gz] [CACHE]
#
# INVAR (default target/release/invar) is the program under test; STEPS (default 100) are trained ROUNDS times (default 2), the
# two in turns; the best of each counts. Prints pairs per second, and the ratio.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
reads=$1
cache=${2:-$root/target/bench/processes}
invar=${INVAR:-$root/target/release/invar}
mkdir -p "$cache"
"$invar" ingest reads "$reads" --out "$cache/data" --quiet > /dev/null
set_all="--set train.steps=${STEPS:-100} --set train.validation_fraction=0 --set train.checkpoint_every=100000"

rate() {
    sed -n 's/.*"pairs_per_s": *\([0-9.]*\).*/\1/p' "$1" | tail -n 1
}

alone() {
    # shellcheck disable=SC2086
    "$invar" train reads/quickstart --data "$cache/data" --out "$cache/one" --force --json --quiet $set_all \
        --set train.threads=2 --set train.view_workers=2 > "$cache/one.json"
    rate "$cache/one.json"
}

shared() {
    # A port below those that the system gives out by itself.
    port=$((20000 + $$ % 10000))
    pids=
    for rank in 1 0; do
        # shellcheck disable=SC2086
        RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
            "$invar" train reads/quickstart --data "$cache/data" --out "$cache/two" --force --json --quiet $set_all \
            --set train.threads=1 --set train.view_workers=1 > "$cache/two-$rank.json" &
        pids="$pids $!"
    done
    for pid in $pids; do wait "$pid"; done
    rate "$cache/two-0.json"
}

one=0 two=0
for _ in $(seq "${ROUNDS:-2}"); do
    one=$(printf '%s\n%s\n' "$one" "$(alone)" | sort -g | tail -n 1)
    two=$(printf '%s\n%s\n' "$two" "$(shared)" | sort -g | tail -n 1)
done
awk -v one="$one" -v two="$two" 'BEGIN {
    printf "1 process, 2 threads    %8.0f pairs/s\n2 processes, 1 thread   %8.0f pairs/s   ratio %.2f\n", one, two, two / one
}'
