#!/usr/bin/env bash
# Embedding by an array job, without Snakemake: as many tasks as shards, each given nothing but its number.
#   sbatch --array=1-16 workflows/sbatch/embed.sh RUN EMB DATA...
#SBATCH --job-name=invar-embed
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --time=2:00:00
#SBATCH --requeue
# A task that failed is given again alone: sbatch --array=7 with SHARDS=16 in the environment.
set -euo pipefail
model=$1 embeddings=$2
shift 2
data=()
for directory in "$@"; do data+=(--data "$directory"); done
# In place of the shell, which a signal would end before the program has finished what it began.
exec "${INVAR:-invar}" embed --model "$model" "${data[@]}" --out "$embeddings" \
  --shard "$SLURM_ARRAY_TASK_ID/${SHARDS:-$SLURM_ARRAY_TASK_COUNT}" --threads "${SLURM_CPUS_PER_TASK:-1}"
