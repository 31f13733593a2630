#!/usr/bin/env python3
"""One PGD mixture step of ResNet-638 at 224 pixels, batch 8, within a memory budget, and what it took.

    cargo build --release && python3 benches/memory/step.py [ARCHITECTURE] [MEMORY] [PGD STEPS] > benches/results/memory/step.json

Writes nine generated pictures as class folders (eight to train on, one held out: one step is an epoch), trains one epoch
with `adamant train --memory`, and prints the planned and the measured peak as JSON. Needs Python alone; the peak of
resident memory is the kernel's, over the whole run: loading, attack, step, checkpoint, validation.
"""
import json, os, pathlib, resource, struct, subprocess, sys, tempfile, time, zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIDE, BATCH = 224, 8
RECIPE = """
[data]
source = "folder:pictures"
validation = 1
flip = false
[network]
architecture = "{architecture}"
norm = "mixture"
input_scaling = "symmetric"
[objective]
kind = "mixture"
[attack]
epsilon = "16/255"
steps = {steps}
step_size = "2/255"
goal = "targeted-uniform-other"
[optimizer]
learning_rate = 0.01
learning_rate_scaling = "none"
[training]
epochs = 1
batch_size = {batch}
[evaluation]
select_by = "clean"
attacks = ["clean"]
"""


def picture(path, seed):
    """Waves whose colours and angles the seed decides."""
    rows = bytearray()
    for y in range(SIDE):
        rows.append(0)
        for x in range(SIDE):
            for c in range(3):
                rows.append((x * (3 + seed) + y * (2 * c + 1) + 40 * seed + x * y // (9 + c)) % 256)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows)))
                     + chunk(b"IEND", b""))


def main():
    architecture = sys.argv[1] if len(sys.argv) > 1 else "resnet638"
    memory = sys.argv[2] if len(sys.argv) > 2 else "8GiB"
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    git = lambda *words: subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for part, count in [("train", BATCH + 1), ("test", 2)]:
            for image in range(count):
                target = folder / "pictures" / part / "abc"[image % 3 if part == "train" else image % 2]
                target.mkdir(parents=True, exist_ok=True)
                picture(target / f"{image}.png", image)
        (folder / "step.toml").write_text(RECIPE.format(architecture=architecture, batch=BATCH, steps=steps))
        command = ["adamant", "train", "step.toml", "--out", "run", "--memory", memory]
        start = time.monotonic()
        run = subprocess.run([ROOT / "target/release/adamant", *command[1:]], cwd=folder,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        seconds = time.monotonic() - start
        sys.stderr.write(run.stderr)
        if run.returncode != 0:
            sys.exit(run.returncode)
        step = json.loads((folder / "run/metrics.jsonl").read_text().splitlines()[0])
        identity = json.loads((folder / "run/run.json").read_text())
    # Linux counts in KiB.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    said = next(line for line in run.stderr.splitlines() if line.startswith("memory: "))
    print(json.dumps({
        "command": " ".join(command), "architecture": architecture, "side": SIDE, "batch": BATCH, "steps_of_pgd": steps,
        "memory": memory, "plan": said, "peak_rss_bytes": peak, "peak_rss_gib": round(peak / 2**30, 3),
        "run_seconds": round(seconds, 1), "step_seconds": round(step["seconds"], 1), "loss": step["loss"],
        "gradient_norm": step["gradient_norm"], "machine": identity["machine"],
        "revision": git("rev-parse", "HEAD"), "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }, indent=1))


main()
