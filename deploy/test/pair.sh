#!/usr/bin/env bash
# Two hosts on one machine: network namespaces `adamant-a` and `adamant-b`, joined by a cable (veth), reached by mpirun
# without ssh. Needs root, iproute2, Open MPI.
#   pair.sh up | down | cut | run COMMAND...      LINK=1gbit pair.sh up limits the link in both directions
set -euo pipefail
a=10.77.0.1 b=10.77.0.2
here=$(cd "$(dirname "$0")" && pwd)
case $1 in
up)
    for host in a b; do
        ip netns add adamant-$host
        ip -n adamant-$host link set lo up
    done
    ip link add eth0 netns adamant-a type veth peer name eth0 netns adamant-b
    ip -n adamant-a addr add $a/24 dev eth0
    ip -n adamant-b addr add $b/24 dev eth0
    for host in a b; do
        ip -n adamant-$host link set eth0 up
        if [ -n "${LINK:-}" ]; then
            tc -n adamant-$host qdisc add dev eth0 root tbf rate "$LINK" burst 256kb latency 50ms
        fi
    done
    ;;
down)
    for host in a b; do ip netns del adamant-$host 2>/dev/null || true; done
    ;;
cut)
    ip -n adamant-b link set eth0 down
    ;;
run)
    shift
    # shellcheck disable=SC2086
    exec ip netns exec adamant-a mpirun --allow-run-as-root --host $a,$b -n 2 --bind-to none \
        --mca plm_rsh_agent "$here/agent.sh" --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 \
        --mca oob_tcp_if_include 10.77.0.0/24 --mca mpi_yield_when_idle 1 ${MPIRUN:-} "$@"
    ;;
esac
