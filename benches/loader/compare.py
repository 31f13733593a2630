#!/usr/bin/env python3
"""The loader beside torchvision's ImageFolder + DataLoader: the same files, in turns, one worker on one core each.

    cargo build --release -p adamant --example loader
    python3 benches/loader/photographs.py FOLDER
    python3 benches/loader/compare.py FOLDER --out result.json [--rounds 9] [--binary target/release/examples/loader]

Both decode JPEG, cut a random-resized crop to 224, mirror at random and give batches of f32 in [0, 1]; torchvision does it
with Pillow, as its documentation has it (RandomResizedCrop, RandomHorizontalFlip, ToTensor). Both run pinned to one core,
torchvision in the main process (num_workers=0: no copying between processes), Adamant with one decoding thread. The files
are in the page cache after a first, uncounted turn. Written: every sample, medians, their ratio, machine and versions.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

TORCHVISION = """
import json, sys, time
import torch
from torchvision import datasets, transforms
torch.set_num_threads(1)
cut = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()])
images = datasets.ImageFolder(sys.argv[1] + "/train", cut)
loader = torch.utils.data.DataLoader(images, batch_size=50, shuffle=True, num_workers=0)
begin = time.perf_counter()
count = 0
for _ in range(int(sys.argv[2])):
    for batch, labels in loader:
        count += len(batch)
print(json.dumps({"images": count, "seconds": time.perf_counter() - begin}))
"""


def run(command, core):
    out = subprocess.run(["taskset", "-c", str(core), *command], check=True, capture_output=True, text=True)
    result = json.loads(out.stdout)
    return result["images"] / result["seconds"]


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions():
    import PIL
    import PIL.features
    import torch
    import torchvision

    return {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "pillow": PIL.__version__,
        "libjpeg_turbo": PIL.features.version("libjpeg_turbo"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--binary", default="target/release/examples/loader")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--passes", type=int, default=2, help="times all pictures are read in a turn (default: 2)")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--out", type=Path)
    settings = parser.parse_args()
    ours = [settings.binary, settings.folder, "--workers", "1", "--passes", str(settings.passes)]
    theirs = [sys.executable, "-c", TORCHVISION, settings.folder, str(settings.passes)]
    samples = {"adamant": [], "torchvision": []}
    for turn in range(settings.rounds + 1):
        for name, command in (("adamant", ours), ("torchvision", theirs)):
            rate = run(command, settings.core)
            if turn > 0:
                samples[name].append(rate)
    medians = {name: statistics.median(rates) for name, rates in samples.items()}
    paired = [a / b for a, b in zip(samples["adamant"], samples["torchvision"])]
    files = sorted(Path(settings.folder).glob("train/*/*.JPEG"))
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    result = {
        "what": "JPEG decode, random-resized crop to 224, mirror, batches of 50 in f32; images a second on one core",
        "pictures": len(files),
        "bytes_per_picture": sum(file.stat().st_size for file in files) // max(len(files), 1),
        "rounds": settings.rounds,
        "samples": samples,
        "median": medians,
        "ratio_of_medians": medians["adamant"] / medians["torchvision"],
        "lowest_ratio_in_a_round": min(paired),
        "processor": processor(),
        "load": os.getloadavg(),
        "revision": revision,
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d"),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if settings.out:
        settings.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
