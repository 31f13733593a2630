#!/usr/bin/env python3
"""Planned and measured memory, and time, of one training pass against depth.

    cargo build --release -p engine --example memory && cargo build --release
    python3 benches/memory/measure.py [DEPTH]...

Writes `benches/results/memory/passes.json`; with depths named, only their entries are measured again. Every line of `passes` is one process: record and backward of 4 images of 224x224 (2 clean, 2 adversarial), twice, all
stored and within the smallest budget that the plan allows. `plans` are `adamant models` for batch 8, which needs no run.
Needs Python alone. Run it on an idle machine: the times are wall-clock.
"""
import json, pathlib, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPTHS = [50, 101, 152, 200, 338, 638]
IMAGES, SIDE, PASSES = 4, 224, 2
OUT = ROOT / "benches/results/memory/passes.json"


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def measure(name, example):
    """Two passes of each kind, and the plan of a mixture step of batch 8."""
    def plan(batch, *more):
        words = ["models", name, "--image", SIDE, "--batch", batch, "--json", *more]
        planned = run(ROOT / "target/release/adamant", *words)
        return json.loads(planned.stdout)["cost"][0]

    least = plan(IMAGES // 2)["memory"]["least"]["peak"] // 2**20 + 2
    passes = []
    for kind, budget in [("stored", 0), ("least", least)]:
        done = run(example, name, IMAGES, SIDE, budget, PASSES)
        if done.returncode != 0:
            sys.exit(done.stderr)
        passes.append({"kind": kind, **json.loads(done.stdout)})
        print(f"{name}, {kind}: {passes[-1]['milliseconds_per_layer']} ms a layer", file=sys.stderr)
    return {"passes": passes, "plan": plan(8, "--memory", "8GiB")}


def main():
    depths = [int(word) for word in sys.argv[1:]] or DEPTHS
    found = json.loads(OUT.read_text()) if OUT.exists() else {"networks": {}}
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    revision = run("git", "-C", ROOT, "rev-parse", "HEAD").stdout.strip()
    found |= {"command": "python3 benches/memory/measure.py", "processor": processor, "revision": revision,
              "date": time.strftime("%Y-%m-%d", time.gmtime()), "images": IMAGES, "side": SIDE, "passes": PASSES}
    for depth in depths:
        found["networks"][str(depth)] = measure(f"resnet{depth}", ROOT / "target/release/examples/memory")
        OUT.write_text(json.dumps(found, indent=1) + "\n")


main()
