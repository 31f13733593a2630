#!/usr/bin/env bash
# Seconds of a PGD-10 step of ResNet-18 on two hosts (network namespaces) over a free and a limited link.
#   sudo benches/ranks/link.sh ADAMANT      ADAMANT is built with --features mpi
set -euo pipefail
adamant=$(realpath "$1") pair=$(realpath "$(dirname "$0")/../../deploy/test/pair.sh") work=$(mktemp -d)
trap '"$pair" down; rm -rf "$work"' EXIT
cd "$work"
cat > recipe.toml <<'RECIPE'
[data]
source = "fashion-sample"
[network]
architecture = "resnet18-cifar"
[attack]
steps = 10
[training]
epochs = 1
batch_size = 64
workers = 2
RECIPE
# measure NAME LINK TRAIN_ARGUMENTS...: some twenty seconds of steps, then the end with a checkpoint.
measure() {
    local name=$1 link=$2
    shift 2
    local start=()
    if [ "$link" != none ]; then
        "$pair" down
        LINK=${link#free} "$pair" up
        start=("$pair" run)
    fi
    timeout -s TERM 20 "${start[@]}" "$adamant" train recipe.toml --quiet --out "$name" "$@" > "$name.log" 2>&1 || true
    python3 - "$name" <<'PYTHON'
import json, statistics, sys
at = [json.loads(line)["seconds"] for line in open(sys.argv[1] + "/metrics.jsonl")]
steps = [round(b - a, 3) for a, b in zip(at, at[1:])]
print(json.dumps({"name": sys.argv[1], "n": len(steps), "median": statistics.median(steps), "seconds": steps}))
PYTHON
}
measure two-hosts free --threads 1
measure two-hosts-1-gbit 1gbit --threads 1
measure two-hosts-1-gbit-bf16-wire 1gbit --threads 1 --set training.wire=bf16
measure one-rank-two-threads none --threads 2
measure one-rank-one-thread none --threads 1 --set training.workers=1 --set training.batch_size=32
