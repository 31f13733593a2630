"""What the products of an attack pass alone would take at the machine's peak.

    python3 benches/products.py benches/results/layers/resnet18-cifar-64x32-8b4cc53-zen4.json ...

Reads what `adamant bench --layers --json` wrote. As frozen bf16 passes without AMX multiply: 3x3 layers of stride 1 take 24 products for two
rows of four results where that is at most three quarters of the plain ones (crates/kernels, HalfPass::on), others all of them but taps
that fall outside the map. No transform, no result written, no weight fetched: a bound, not a goal.
"""

import json
import re
import sys


def up(number, multiple):
    return -(-number // multiple) * multiple


def share(operation, first, height, width):
    """Products that are taken, of those that the layer's FLOPs count (taps outside the map included)."""
    window = operation.split()[0]
    if window not in ("3x3", "3x3/2"):
        return 1.0
    outside = 2 if window == "3x3" else 1
    plain = (3 * height - outside) * (3 * width - outside)
    filtered = 24 * (up(width, 4) // 4) * (up(height, 2) // 2)
    chosen = window == "3x3" and not first and 4 * filtered <= 3 * 3 * width * (3 * height - 2)
    return (filtered if chosen else plain) / (9 * height * width)


for path in sys.argv[1:]:
    with open(path) as file:
        bench = json.load(file)
    peak = bench["peaks"]["bf16_pairs"]["gflops"]
    milliseconds = 0.0
    for index, layer in enumerate(bench["layers"]):
        shape = [int(number) for number in re.findall(r"\d+", str(layer["shape"]))]
        for side in ("forward", "backward"):
            gflop = layer[f"{side}_gflops"] * layer[f"{side}_milliseconds"] / 1e3
            if gflop:
                milliseconds += 1e3 * gflop / peak * share(layer["operation"], index == 0, *shape[1:])
    measured = bench["milliseconds"]["attack_pass"]
    print(f"{path}: products {milliseconds:.1f} ms at {peak:.0f} GFLOP/s, the pass {measured:.1f} ms, {measured / milliseconds:.2f} times")
