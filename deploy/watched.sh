#!/usr/bin/env bash
# Runs a launcher, and ends it when the ranks on this host have ended and it has not: Open MPI's mpirun waits without end
# for a host that is cut off, although every rank has seen its time limit and gone.
#   watched.sh mpirun ... adamant train ...        GRACE=20 seconds between the two
"$@" &
launcher=$!
trap 'kill -TERM $launcher 2> /dev/null' TERM INT
seen=no gone=0
while kill -0 $launcher 2> /dev/null; do
    if pgrep -P $launcher -f 'adamant (train|evaluate)' > /dev/null; then
        seen=yes gone=0
    elif [ $seen = yes ]; then
        gone=$((gone + 1))
    fi
    if [ $gone -gt "${GRACE:-20}" ]; then
        echo "watched.sh: the ranks here have ended, the launcher has not; ending it" >&2
        kill -KILL $launcher
        exit 1
    fi
    sleep 1
done
wait $launcher
