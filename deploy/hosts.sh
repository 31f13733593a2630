#!/usr/bin/env bash
# Trains on a list of hosts, and goes on after a failure, at most RETRIES times (10).
#   hosts.sh HOSTFILE RECIPE RUN_FOLDER [more arguments of `adamant train`]
# HOSTFILE has a line `name slots=1` a host. Every host has the same adamant, recipe and images at the same paths; the run
# folder has to be seen by the first host only.
set -u
hosts=$1 recipe=$2 out=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)
for try in $(seq 0 "${RETRIES:-10}"); do
    if [ -e "$out/recipe.toml" ]; then what=(--resume); else what=("$recipe"); fi
    # A rank takes all cores of its host.
    "$here/watched.sh" mpirun --hostfile "$hosts" --map-by ppr:1:node --bind-to none --mca mpi_yield_when_idle 1 \
        adamant train "${what[@]}" --out "$out" --rank-timeout 600 "$@"
    status=$?
    # Done, wrong usage, or asked to end: trying again would not help.
    case $status in 0 | 2 | 130 | 143) exit $status ;; esac
    echo "hosts.sh: try $try ended with status $status; going on in 30 s" >&2
    sleep 30
done
exit 1
