#!/usr/bin/env python3
"""Adamant beside PyTorch: the same network, batch and pass, in turns on the same machine in the same minutes.

    python3 benches/peer/compare.py resnet18-cifar-64x32 --precision bf16 --out result.json

First a short trial of PyTorch's modes; then rounds of the best of them, what users write, and `adamant bench`.
Printed and written: medians, ratios of medians, every sample, machine, revisions and load. See README.md.
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

import torch

import modes
import networks

# architecture, images in a batch, pixels of a side
CONFIGS = {
    "resnet18-cifar-64x32": ("resnet18-cifar", 64, 32),
    "resnet50-16x64": ("resnet50", 16, 64),
    "resnet50-8x224": ("resnet50", 8, 224),
    "wrn-28-10-16x32": ("wrn-28-10", 16, 32),
}

# What is tried before the rounds; the fastest goes on. The steps' modes are attack+training.
CANDIDATES = {
    ("attack", "f32"): ["f32", "f32-channels-last", "f32-folded", "f32-compiled", "f32-folded-compiled"],
    ("attack", "bf16"): [name for name in modes.ATTACK if not name.startswith("f32")],
    ("step", "f32"): ["f32-folded+f32", "f32-folded-compiled+f32-compiled"],
    ("step", "bf16"): [
        "bf16-folded+autocast",
        "bf16-folded-compiled+autocast",
        "bf16-folded-compiled+autocast-apart",
        "bf16-folded-compiled+autocast-compiled",
        "bf16-folded-compiled+autocast-apart-compiled",
    ],
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", choices=CONFIGS)
    parser.add_argument("--what", choices=["attack", "mixture", "adversarial-only"], default="attack",
                        help="the attack pass, or a whole training step of a method (default: attack)")
    parser.add_argument("--steps", type=int, default=10, help="steps of PGD in a training step (default: 10)")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--adamant-precision", help="precision of adamant, if not the same")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (default: 7)")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls in a turn; its median counts (default: 3)")
    parser.add_argument("--trials", type=int, default=2, help="timed calls of each mode in the trial (default: 2)")
    parser.add_argument("--modes", help="PyTorch's modes to try, separated by commas, instead of all")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--adamant", default="target/release/adamant", help="the binary")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    return parser.parse_args()


class Peer:
    """One mode of PyTorch, ready to be timed."""

    def __init__(self, asked, mode):
        arch, batch, side = CONFIGS[asked.config]
        generator = torch.Generator().manual_seed(2)
        images = torch.rand(batch, 3, side, side, generator=generator)
        if asked.what == "attack":
            network = networks.plausible(arch)
            attack = modes.AttackPass(network, mode)
            classes, layout, self.work = network.classes, attack.layout, attack.gradient
        else:
            step = modes.Step(arch, asked.what, asked.steps, batch, *mode.split("+"))
            classes, layout, self.work = step.network.classes, torch.channels_last, step
        self.images = images.contiguous(memory_format=layout)
        self.labels = torch.randint(classes, (batch,), generator=generator)
        # Twice: the first call compiles, the second fills caches.
        self.times(2)

    def times(self, count):
        """Milliseconds of `count` calls."""
        samples = []
        for _ in range(count):
            start = time.perf_counter()
            self.work(self.images, self.labels)
            samples.append(1e3 * (time.perf_counter() - start))
        return samples


def adamant(asked):
    """One process of ours: its whole record."""
    arch, batch, side = CONFIGS[asked.config]
    command = [asked.adamant, "bench", "--json", "--arch", arch, "--image", side, "--batch", batch,
               "--threads", asked.threads, "--precision", asked.adamant_precision or asked.precision,
               "--runs", asked.repeats]
    if asked.what == "attack":
        command += ["--parts", "attack-pass", "--method", "adversarial-only"]
    else:
        command += ["--parts", "step", "--method", asked.what, "--steps", asked.steps]
    return json.loads(subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE).stdout)


def trial(asked):
    """Every mode, briefly: (milliseconds by mode, those that failed). Modes are built one after another."""
    kind = "attack" if asked.what == "attack" else "step"
    user = "+".join(modes.USER[asked.precision][: 1 if kind == "attack" else 2])
    names = asked.modes.split(",") if asked.modes else CANDIDATES[kind, asked.precision]
    names = names if user in names else [user, *names]
    peers, found, failed = {}, {}, {}
    for name in names:
        try:
            peer = Peer(asked, name)
            found[name] = min(peer.times(asked.trials))
        except Exception as error:  # a mode that does not work here is a finding, not the end
            failed[name] = f"{type(error).__name__}: {error}"[:300]
            print(f"  {name:40} failed: {failed[name]}", file=sys.stderr)
            continue
        print(f"  {name:40} {found[name]:9.1f} ms", file=sys.stderr)
        best = min(found, key=found.get)
        # Only those that will be needed stay in memory.
        peers = {kept: value for kept, value in {**peers, name: peer}.items() if kept in (best, user)}
    return peers, found, failed, min(found, key=found.get), user


def main():
    asked = arguments()
    torch.set_num_threads(asked.threads)
    began, load = time.time(), os.getloadavg()
    peers, tried, failed, best, user = trial(asked)
    samples = {name: [] for name in ["adamant", *peers]}
    records = []
    for round_ in range(asked.rounds):
        for name, peer in peers.items():
            samples[name].append(peer.times(asked.repeats))
        records.append(adamant(asked))
        part = "attack_pass" if asked.what == "attack" else "step"
        samples["adamant"].append(records[-1]["samples"][part])
        turn = {name: statistics.median(rounds[-1]) for name, rounds in samples.items()}
        print(f"  round {round_ + 1}: " + ", ".join(f"{n} {t:.1f}" for n, t in turn.items()), file=sys.stderr)
    medians = {name: statistics.median(map(statistics.median, rounds)) for name, rounds in samples.items()}
    ratios = {name: medians[name] / medians["adamant"] for name in peers}
    result = {
        "config": asked.config, "what": asked.what, "precision": asked.precision,
        "steps": None if asked.what == "attack" else asked.steps, "threads": asked.threads,
        "rounds": asked.rounds, "repeats": asked.repeats,
        "medians_milliseconds": medians, "ratios": ratios, "strongest": best, "user": user,
        "trial_milliseconds": tried, "failed_modes": failed, "samples_milliseconds": samples,
        "torch": torch.__version__, "python": platform.python_version(), "began_unix": int(began),
        "load_average_before": load, "load_average_after": os.getloadavg(), "command": sys.argv,
        "machine": records[0]["machine"], "revision": records[0]["revision"], "dirty": records[0]["dirty"],
        "adamant_records": records,
    }
    unit = "attack pass" if asked.what == "attack" else f"{asked.what} step, PGD-{asked.steps}"
    print(f"{asked.config}, {unit}, {asked.precision}, {asked.threads} threads, medians of {asked.rounds} turns")
    print(f"  adamant {medians['adamant']:36.1f} ms")
    for label, name in (("PyTorch's strongest", best), ("what users write", user)):
        print(f"  {name:34} {medians[name]:9.1f} ms  {ratios[name]:5.2f}x  ({label})")
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
