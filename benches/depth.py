#!/usr/bin/env python3
"""Time per layer against depth: attack pass and training pass of bottleneck ResNets, in turns.

    python3 benches/depth.py --adamant target/release/adamant --out result.json

Every round times every depth once, so that a machine whose speed drifts meets all of them alike. Layers are the weighted
ones that the name counts. Blocks of deeper networks lie more in the third stage, where a layer has as many operations as
elsewhere, so milliseconds per layer are compared as they are; operations per layer stand beside.
"""
import argparse, json, statistics, subprocess, time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--adamant", default="target/release/adamant")
parser.add_argument("--depths", default="50,101,152,200,338,638")
parser.add_argument("--image", type=int, default=224)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--parts", default="attack-pass,training-pass")
parser.add_argument("--precision", default="bf16")
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--runs", type=int, default=1, help="timed calls in a turn")
parser.add_argument("--out", required=True)
settings = parser.parse_args()

depths = [int(depth) for depth in settings.depths.split(",")]
samples = {depth: {} for depth in depths}
records = {}
began = time.time()
for turn in range(settings.rounds):
    for depth in depths if turn % 2 == 0 else depths[::-1]:
        command = [settings.adamant, "bench", "--arch", f"resnet{depth}", "--image", str(settings.image), "--batch",
                   str(settings.batch), "--precision", settings.precision, "--parts", settings.parts, "--runs",
                   str(settings.runs), "--method", "adversarial-only", "--json"]
        record = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        records[depth] = record
        for part, milliseconds in record["milliseconds"].items():
            samples[depth].setdefault(part, []).append(milliseconds)
        said = ", ".join(f"{part} {value / depth:.2f}" for part, value in record["milliseconds"].items())
        print(f"round {turn + 1}: resnet{depth}: ms a layer: {said}", flush=True)

summary = {}
for part in samples[depths[0]]:
    layer = {depth: statistics.median(samples[depth][part]) / depth for depth in depths}
    summary[part] = {"milliseconds_a_layer": layer, "spread": max(layer.values()) / min(layer.values()) - 1}
    print(part, {depth: round(value, 3) for depth, value in layer.items()}, f"spread {summary[part]['spread']:.1%}")
with open(settings.out, "w") as file:
    json.dump({"settings": vars(settings), "began_unix": began, "summary": summary, "samples_milliseconds": samples,
               "last_records": records}, file, indent=1)
    file.write("\n")
