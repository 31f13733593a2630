#!/usr/bin/env bash
# sbatch deploy/slurm.sh RECIPE RUN_FOLDER        one rank a node; the run folder on a file system that node 0 sees
#SBATCH --job-name=adamant
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# Two minutes before the time is over: a checkpoint, then the end with status 143.
#SBATCH --signal=TERM@120
set -u
recipe=$1 out=$2
if [ -e "$out/recipe.toml" ]; then what=(--resume); else what=("$recipe"); fi
srun --mpi=pmix --kill-on-bad-exit=1 --wait=30 adamant train "${what[@]}" --out "$out" --rank-timeout 600
status=$?
# Anything but done and wrong usage goes back to the queue and continues from the last checkpoint.
case $status in
0 | 2) ;;
*) scontrol requeue "$SLURM_JOB_ID" ;;
esac
exit $status
