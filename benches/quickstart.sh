#!/usr/bin/env bash
# Measures the table of the README: the quickstart and its ordinarily trained twin, three seeds each.
# One folder a run in benches/results/quickstart/, as the runs themselves wrote them: figures, record, metrics, recipe.
# bash benches/quickstart.sh      about 12 minutes on two cores
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for recipe in quickstart quickstart_standard; do
    for seed in 0 1 2; do
        run="$scratch/$recipe-seed-$seed"
        target/release/adamant train "$recipe" --seed "$seed" --out "$run" --json >"$scratch/result.json"
        kept="benches/results/quickstart/$recipe-seed-$seed"
        mkdir -p "$kept"
        # The scratch folder's name says nothing about the run.
        sed "s|$scratch/||g" "$scratch/result.json" >"$kept/result.json"
        cp "$run/run.json" "$run/recipe.toml" "$kept/"
    done
done
