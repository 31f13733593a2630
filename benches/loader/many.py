#!/usr/bin/env python3
"""Class folders of the size of ImageNet out of a few photographs: hard links, which take names and no space.

    python3 benches/loader/many.py PHOTOGRAPHS FOLDER [--files 1281167] [--classes 1000]
    cargo run --release -p adamant --example loader -- FOLDER --what start --batch 64 --workers 2

The second command, run twice, says how long listing and the first batch take without and with the list on disk, and what
the process then holds. Names are as ImageNet has them, so that they take as much memory.
"""

import argparse
import os
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=1_281_167)
    parser.add_argument("--classes", type=int, default=1000)
    settings = parser.parse_args()
    photographs = sorted(settings.photographs.glob("train/*/*.JPEG"))
    for label in range(settings.classes):
        name = f"n{1440000 + label * 997:08}"
        folder = settings.folder / "train" / name
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(label, settings.files, settings.classes):
            number = index // settings.classes
            os.link(photographs[index % len(photographs)], folder / f"{name}_{number}.JPEG")


if __name__ == "__main__":
    main()
