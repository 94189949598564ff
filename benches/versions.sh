#!/bin/sh
# Whether training became slower: two versions of Invar, on reads and micrographs, in f32 and bf16, in one and two processes.
#
#   benches/versions.sh OLD NEW READS MICROGRAPHS [CACHE]
#
# OLD and NEW are directories with the programs invar and invar-learn of each version (READS and MICROGRAPHS: datasets that both
# read). STEPS (default 60) are trained; the versions take turns, ROUNDS times (default 3). On a busy machine CPU seconds count.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
old=$1 new=$2 reads=$3 micrographs=$4
cache=${5:-$here/../target/bench/versions}
mkdir -p "$cache"
steps=${STEPS:-60}

# train VERSION RECIPE DATA PRECISION PROCESSES: the command, on one line.
train() {
    set_all="--set train.steps=$steps --set train.checkpoint_every=100000 --set encoder.precision=$4 --seed 5 -q"
    if [ "$5" = 1 ]; then
        echo "rm -rf $cache/run; $1/invar train $2 --data $3 --out $cache/run $set_all"
    else
        # A port below those that the system gives out by itself.
        port=$((20000 + $$ % 10000))
        both="WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port $1/invar train $2 --data $3 --out $cache/run $set_all"
        both="$both --set train.threads=1 --set train.view_workers=1"
        echo "rm -rf $cache/run; RANK=1 LOCAL_RANK=1 $both & RANK=0 LOCAL_RANK=0 $both; wait"
    fi
}

for processes in 1 2; do
    for precision in f32 bf16; do
        for domain in reads micrographs; do
            case $domain in reads) data=$reads ;; *) data=$micrographs ;; esac
            recipe=$domain/quickstart
            {
                printf 'new\t\t%s\n' "$(train "$new" "$recipe" "$data" $precision $processes)"
                printf 'old\t\t%s\n' "$(train "$old" "$recipe" "$data" $precision $processes)"
            } | python3 "$here/measure.py" --rounds "${ROUNDS:-3}" --title "$recipe, $precision, processes: $processes"
        done
    done
done
