#!/usr/bin/env bash
# Training on two nodes, without Snakemake:
#   sbatch workflows/sbatch/train.sh RECIPE RUN DATA... [-- OPTION...]
#SBATCH --job-name=invar-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --time=4:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
# SIGTERM comes two minutes before the end, and a checkpoint is written; the same command goes on from there. With GPUs add
# --gpus-per-task=1.
set -euo pipefail
recipe=$1 run=$2
shift 2
data=()
while [ $# -gt 0 ] && [ "$1" != "--" ]; do data+=(--data "$1"); shift; done
[ $# -eq 0 ] || shift
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "${INVAR:-invar}" train "$recipe" "${data[@]}" --out "$run" \
  --threads "${SLURM_CPUS_PER_TASK:-1}" "$@"
