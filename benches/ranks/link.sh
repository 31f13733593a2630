#!/usr/bin/env bash
# Seconds of a PGD-10 step of ResNet-18 on two hosts (network namespaces) over a free and a limited link, and how many of them
# are spent waiting, with gradients behind the backward and after it; beside what `adamant plan` says.
#   sudo benches/ranks/link.sh ADAMANT [NAME...]      ADAMANT is built with --features mpi; NAME as below, all without
# One line of JSON each. SPAN (20) is how long each trains, in seconds; TURNS (1), how often all are measured, one after the
# other. `stolen` is the share of the processors' time that the host of a virtual machine kept for others meanwhile.
set -euo pipefail
adamant=$(realpath "$1") pair=$(realpath "$(dirname "$0")/../../deploy/test/pair.sh") work=$(mktemp -d)
shift
wanted=" $* "
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
is_wanted() { [ "$wanted" = "  " ] || [[ $wanted == *" $1 "* ]]; }
# measure NAME LINK TRAIN_ARGUMENTS...: some seconds of steps, then the end with a checkpoint. The first step is not counted.
measure() {
    local name=$1 link=$2
    shift 2
    is_wanted "$name" || return 0
    rm -rf "$name"
    local start=() before
    if [ "$link" != none ] && [ "$link" != host ]; then
        "$pair" down
        LINK=${link#free} "$pair" up
        start=("$pair" run)
    fi
    [ "$link" != host ] || start=(mpirun --allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1
        --mca btl_vader_single_copy_mechanism none -n 2)
    before=$(head -1 /proc/stat)
    timeout -s TERM "${SPAN:-20}" "${start[@]}" "$adamant" train recipe.toml --quiet --out "$name" "$@" > "$name.log" 2>&1 || true
    python3 - "$name" "$before" "$(head -1 /proc/stat)" <<'PYTHON'
import json, statistics, sys
passed = [int(b) - int(a) for a, b in zip(sys.argv[2].split()[1:], sys.argv[3].split()[1:])]
lines = [json.loads(line) for line in open(sys.argv[1] + "/metrics.jsonl")]
lines = [line for line in lines if "loss" in line]
steps = [round(b["seconds"] - a["seconds"], 3) for a, b in zip(lines, lines[1:])]
found = {"name": sys.argv[1], "n": len(steps), "median": round(statistics.median(steps), 3), "seconds": steps,
    "stolen": round(passed[7] / sum(passed[:8]), 3)}
if "wait_ranks" in lines[0]:
    waits = [round(line["wait_ranks"], 3) for line in lines[1:]]
    shares = [wait / step for wait, step in zip(waits, steps)]
    found |= {"waiting": waits, "median_waiting": round(statistics.median(waits), 3), "median_share": round(statistics.median(shares), 3)}
print(json.dumps(found), flush=True)
PYTHON
}
one=(--threads 1)
for _ in $(seq "${TURNS:-1}"); do
    measure two-hosts-behind free "${one[@]}"
    measure two-hosts-after free "${one[@]}" --set training.overlap=none
    measure 1-gbit-behind 1gbit "${one[@]}"
    measure 1-gbit-after 1gbit "${one[@]}" --set training.overlap=none
    measure 1-gbit-bf16-wire-behind 1gbit "${one[@]}" --set training.wire=bf16
    measure 1-gbit-bf16-wire-after 1gbit "${one[@]}" --set training.wire=bf16 --set training.overlap=none
    measure one-rank-one-thread none "${one[@]}" --set training.workers=1 --set training.batch_size=32
    measure one-host-two-ranks host "${one[@]}"
    measure one-rank-two-threads none --threads 2
done
# What one rank needs, and the prediction from it.
if is_wanted plan; then
    "$adamant" bench --arch resnet18-cifar --image 28 --batch 32 --steps 10 --runs 3 --threads 1 --precision bf16 --json > bench.json
    for overlap in backward none; do
        for wire in f32 bf16; do
            "$adamant" plan --bench bench.json --nodes 1,2 --batch 64 --bandwidth 1Gbit/s --overlap $overlap --wire $wire --json |
                python3 -c 'import json, sys; two = json.load(sys.stdin)["nodes"][1]; print(json.dumps({"name": "plan-" + sys.argv[1] + "-" + sys.argv[2], **two}))' $overlap $wire
        done
    done
fi
