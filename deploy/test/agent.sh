#!/usr/bin/env bash
# What ssh is to mpirun: runs a command on the host of an address, here in its network namespace.
while [[ $1 == -* ]]; do shift; done
case $1 in 10.77.0.1) host=adamant-a ;; 10.77.0.2) host=adamant-b ;; *) exit 1 ;; esac
shift
exec ip netns exec $host sh -c "$*"
