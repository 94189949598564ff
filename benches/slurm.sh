#!/usr/bin/env bash
# Embedding by an array of one and of two tasks of one core, on a Slurm of two emulated nodes (as root, with slurm-wlm and munge of
# Debian). Needs two idle cores.
#   benches/slurm.sh RUN DATA...      INVAR (default target/release/invar)
set -euo pipefail
cd "$(dirname "$0")/.."
run=$(realpath "$1")
shift
mapfile -t data < <(realpath "$@")
INVAR=$(realpath "${INVAR:-target/release/invar}")
export INVAR OMP_NUM_THREADS=1
work=$(mktemp -d)
trap 'workflows/tests/cluster.sh stop "$work/cluster"; sleep 1; rm -rf "$work"' EXIT
workflows/tests/cluster.sh start "$work/cluster"
echo "tasks  from sbatch to its end, s  longest task, s"
for tasks in 1 2 1 2 1 2; do
  begin=$(date +%s.%N)
  sbatch --quiet --wait --array=1-"$tasks" --cpus-per-task=1 --nodes=1 --exclusive --output "$work/%A_%a.txt" \
    workflows/sbatch/embed.sh "$run" "$work/embeddings" "${data[@]}"
  end=$(date +%s.%N)
  # Of the file of finished jobs: when each started and ended.
  longest=$(tail -n "$tasks" "$work/cluster/jobcomp.txt" | tr ' ' '\n' | sed -n 's/^StartTime=//p; s/^EndTime=//p' |
    while read -r start && read -r stop; do echo $(($(date -d "$stop" +%s) - $(date -d "$start" +%s))); done | sort -n | tail -1)
  awk -v t="$tasks" -v a="$begin" -v b="$end" -v l="$longest" 'BEGIN { printf "%5d  %25.1f  %15d\n", t, b - a, l }'
  rm -r "$work/embeddings"
done
