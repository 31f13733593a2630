#!/usr/bin/env bash
# Runs every target for SECONDS (default 600), one after the other, and writes a line of results for each.
#   fuzz/run.sh [SECONDS] [TARGET...]
# Needs a nightly compiler and cargo-fuzz (cargo install cargo-fuzz). Seeds are the fixtures and fuzz/seeds.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-600}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(pickle shard parquet idx archive picture cache npz)
fixtures=../fixtures
for target in "${targets[@]}"; do
    corpus=corpus/$target
    mkdir -p "$corpus"
    case $target in
        pickle | archive) cp $fixtures/pickles/*.pickle "$corpus" ;;
        parquet) cp $fixtures/parquet/*.parquet "$corpus" ;;
        npz) cp $fixtures/npz/*.npz "$corpus" ;;
        picture) cp $fixtures/pictures/*.jpg $fixtures/pictures/*.png "$corpus" ;;
    esac
    [ ! -d "seeds/$target" ] || cp "seeds/$target"/* "$corpus"
    log=$(mktemp)
    status=0
    # Inputs up to 64 KiB: every structure fits, and a mutation is quick. The memory limit is what finds bombs.
    cargo +nightly fuzz run --fuzz-dir . "$target" "$corpus" -- \
        -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -timeout=60 -print_final_stats=1 >"$log" 2>&1 || status=$?
    runs=$(grep -oP 'stat::number_of_executed_units: *\K\d+' "$log" || echo 0)
    coverage=$(grep -oP 'cov: \K\d+' "$log" | tail -1 || echo 0)
    peak=$(grep -oP 'stat::peak_rss_mb: *\K\d+' "$log" || echo 0)
    finding=$(grep -m1 -oE '(ERROR|panicked at|SUMMARY).*' "$log" | tr -d '"\\' || true)
    printf '{"target": "%s", "seconds": %s, "runs": %s, "edges": %s, "peak_rss_mb": %s, "status": %s, "finding": "%s"}\n' \
        "$target" "$seconds" "$runs" "${coverage:-0}" "$peak" "$status" "$finding" | tee -a results.jsonl
done
