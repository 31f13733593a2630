#!/usr/bin/env bash
# Measures the table of the README: the quickstart and its ordinarily trained twin, three seeds each, in each precision.
# One folder a run in benches/results/quickstart/PRECISION/, as the runs themselves wrote them: figures, record, recipe; and what
# the whole command took: resources.json, by GNU time.
# bash benches/quickstart.sh                about 20 minutes on two cores with AMX
# bash benches/quickstart.sh bf16           one precision
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ $# -eq 0 ]; then set -- bf16 f32; fi
for precision in "$@"; do
    for seed in 0 1 2; do
        for recipe in quickstart quickstart_standard; do
            run="$scratch/$recipe-seed-$seed"
            rm -rf "$run"
            /usr/bin/time -f '{"seconds": %e, "processor_seconds": %U, "resident_kilobytes": %M}' -o "$scratch/resources.json" \
                target/release/adamant train "$recipe" --precision "$precision" --seed "$seed" --out "$run" --json \
                >"$scratch/result.json"
            kept="benches/results/quickstart/$precision/$recipe-seed-$seed"
            mkdir -p "$kept"
            # The scratch folder's name says nothing about the run.
            sed "s|$scratch/||g" "$scratch/result.json" >"$kept/result.json"
            cp "$run/run.json" "$run/recipe.toml" "$scratch/resources.json" "$kept/"
        done
    done
done
