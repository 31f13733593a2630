#!/usr/bin/env python3
"""How far decoding and cutting differ from Pillow and torchvision, over real photographs.

    cargo build --release -p adamant --example picture_parity
    python3 benches/loader/photographs.py FOLDER
    python3 benches/loader/parity.py FOLDER --out result.json

For every picture: decoded alone, resize 256 and centre crop 224 (torchvision's Resize and CenterCrop, bilinear and
bicubic), and a random-resized crop with the same box (torchvision's functional resized_crop to 224). Differences are in
levels of 255, largest and mean over all values of all pictures.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import PIL
import PIL.features
import torchvision
from PIL import Image
from torchvision.transforms import functional as F
from torchvision.transforms import InterpolationMode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--binary", default="target/release/examples/picture_parity")
    parser.add_argument("--out", type=Path)
    settings = parser.parse_args()
    files = sorted(settings.folder.glob("train/*/*.JPEG"))
    totals = {}
    for index, file in enumerate(files):
        picture = Image.open(file).convert("RGB")
        width, height = picture.size
        # Boxes of all sizes and places, a function of the index alone.
        w, h = 60 + index * 37 % (width - 60), 50 + index * 53 % (height - 50)
        box = (index * 29 % (width - w + 1), index * 31 % (height - h + 1), w, h)
        expected = {
            "decode": picture,
            "centre-bilinear": F.center_crop(F.resize(picture, 256, InterpolationMode.BILINEAR), 224),
            "centre-bicubic": F.center_crop(F.resize(picture, 256, InterpolationMode.BICUBIC), 224),
            "random-resized": F.resized_crop(picture, box[1], box[0], h, w, (224, 224), InterpolationMode.BILINEAR),
        }
        for what, reference in expected.items():
            command = [settings.binary, str(file), what, *map(str, box)]
            found = subprocess.run(command, check=True, capture_output=True).stdout
            reference = np.asarray(reference).astype(int)
            found = np.frombuffer(found, np.uint8).reshape(3, *reference.shape[:2]).transpose(1, 2, 0)
            difference = np.abs(found.astype(int) - reference)
            total = totals.setdefault(what, {"largest": 0, "sum": 0, "values": 0, "different": 0})
            total["largest"] = max(total["largest"], int(difference.max()))
            total["sum"] += int(difference.sum())
            total["values"] += difference.size
            total["different"] += int((difference > 0).sum())
    result = {
        "pictures": len(files),
        "differences": {
            what: {"largest": t["largest"], "mean": t["sum"] / t["values"], "values": t["values"],
                   "different": t["different"]}
            for what, t in totals.items()
        },
        "versions": {"pillow": PIL.__version__, "libjpeg_turbo": PIL.features.version("libjpeg_turbo"),
                     "torchvision": torchvision.__version__},
        "date": time.strftime("%Y-%m-%d"),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if settings.out:
        settings.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
