#!/usr/bin/env python3
"""Makes a folder of JPEG photographs of ImageNet's usual size, 500 x 375, as class folders: nothing of it is committed.

    python3 benches/loader/photographs.py FOLDER [--count 200]

The pictures are crops of photographs that scikit-image and scikit-learn bring along (pip install pillow scikit-image
scikit-learn), each of at least 70 % of its original's width, mirrored or not, saved with quality 95 and shared chroma
(4:2:0), which gives about the 110 kB that an ImageNet file has. One class per photograph; the same bytes every time for
the same versions of Pillow and the two packages.
"""

import argparse
import random
from pathlib import Path

import skimage.data
import sklearn.datasets
from PIL import Image, ImageOps

WIDTH, HEIGHT = 500, 375


def photographs():
    folder = Path(skimage.data.__file__).parent
    names = ["astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "motorcycle_right.png", "retina.jpg",
             "rocket.jpg", "hubble_deep_field.jpg"]
    files = [folder / name for name in names]
    files += [Path(name) for name in sklearn.datasets.load_sample_images().filenames]
    return sorted(files, key=lambda file: file.name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--quality", type=int, default=95)
    settings = parser.parse_args()
    draw = random.Random(0)
    originals = [(file.stem, Image.open(file).convert("RGB")) for file in photographs()]
    written = 0
    for index in range(settings.count):
        name, original = originals[index % len(originals)]
        most = min(original.width, original.height * WIDTH // HEIGHT)
        width = draw.randint(most * 7 // 10, most)
        height = width * HEIGHT // WIDTH
        left, top = draw.randint(0, original.width - width), draw.randint(0, original.height - height)
        picture = original.crop((left, top, left + width, top + height))
        picture = picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        if draw.random() < 0.5:
            picture = ImageOps.mirror(picture)
        file = settings.folder / "train" / name / f"{index:05}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file, quality=settings.quality, subsampling=2)
        written += file.stat().st_size
    print(f"{settings.count} pictures, {written / settings.count / 1000:.1f} kB each")


if __name__ == "__main__":
    main()
