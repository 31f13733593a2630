#!/usr/bin/env python3
"""Memory of a mixture step against depth, as `adamant models` plans it.

    cargo build --release && python3 benches/memory/plans.py > benches/results/memory/plans.json

Batch 8 (8 clean and 8 adversarial images in one recording) at 224x224, f32. Nothing is run; needs Python alone.
"""
import json, pathlib, subprocess, sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADAMANT = sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/adamant"


def plan(depth):
    words = ["models", f"resnet{depth}", "--image", "224", "--batch", "8", "--memory", "8GiB", "--json"]
    model = json.loads(subprocess.run([ADAMANT, *words], capture_output=True, text=True, check=True).stdout)
    return {"arch": model["name"], "layers": model["layers"], **model["cost"][0]}


revision = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
plans = [plan(depth) for depth in [50, 101, 152, 200, 338, 638]]
print(json.dumps({"command": "python3 benches/memory/plans.py", "revision": revision, "plans": plans}, indent=1))
