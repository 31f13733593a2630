#!/usr/bin/env python3
"""Kills real runs with SIGKILL at random instants; every one, resumed, must end in the bytes of the undisturbed run.

    cargo build --release
    benches/kill/kill.py --adamant target/release/adamant --kills 50 --out benches/results/kill/kill.json

Each run is killed up to five times. A kill falls at a random moment after the start, or while a checkpoint is being written
(its folder still has its temporary name), or while a model is being judged (its ledger is growing); which of these is
drawn for each kill, and what the run was doing is looked up at the moment it is struck. Needs Python only.
"""
import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

RECIPE = [
    "train", "quickstart", "--quiet",
    "--set", "training.epochs=1", "--set", "training.batch_size=256", "--set", "training.checkpoint_every_steps=2",
    "--set", "network.width=4", "--set", "attack.steps=2", "--set", "attack.step_size=0.05",
    "--set", "evaluation.every_steps=15", "--set", "evaluation.select_by=pgd-2", "--set", "data.validation=200",
    "--set", "evaluation.attacks=['fgsm', 'pgd-10']", "--set", "evaluation.samples=200",
]
KILLS_A_RUN = 5
FOLDERS = ["", "evaluation-clean", "evaluation-last", "evaluation-last-clean"]
CLOCKS = ("seconds", "images_per_second", "wait")


def start(adamant, folder):
    resume = ["--resume"] if os.path.exists(os.path.join(folder, "recipe.toml")) else []
    command = [adamant, *RECIPE, "--out", folder, *resume]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process):
    _, errors = process.communicate()
    if process.returncode != 0:
        sys.exit(f"a run failed with {process.returncode}: {errors.decode()}")


def without_clocks(value):
    if isinstance(value, dict):
        return {key: without_clocks(item) for key, item in value.items() if key not in CLOCKS}
    if isinstance(value, list):
        return [without_clocks(item) for item in value]
    return value


def conclusions(folder):
    """SHA-256 of everything a run concludes, without what a clock says and where it lies."""
    sums = {}
    for name in ["last.safetensors", "best.safetensors"] + [os.path.join(f, "verdicts.jsonl") for f in FOLDERS]:
        with open(os.path.join(folder, name), "rb") as file:
            sums[name] = hashlib.sha256(file.read()).hexdigest()
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        lines = [json.dumps(without_clocks(json.loads(line)), sort_keys=True) for line in file]
    sums["metrics.jsonl"] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    for name in [os.path.join(f, "evaluation.json") for f in FOLDERS]:
        with open(os.path.join(folder, name)) as file:
            text = json.dumps(without_clocks({**json.load(file), "model": ""}), sort_keys=True)
        sums[name] = hashlib.sha256(text.encode()).hexdigest()
    return sums


def doing(folder):
    """What a run is doing, by what lies in its folder, and how many lines of metrics there are."""
    try:
        checkpoints = os.listdir(os.path.join(folder, "checkpoints"))
    except FileNotFoundError:
        checkpoints = []
    try:
        with open(os.path.join(folder, "metrics.jsonl")) as file:
            lines = sum(1 for _ in file)
    except FileNotFoundError:
        lines = 0
    if any(name.endswith(".partial") for name in checkpoints):
        return "checkpoint", lines
    if os.path.exists(os.path.join(folder, "last.safetensors")):
        return "evaluation", lines
    return "training", lines


def strike(adamant, folder, draw, whole):
    """One life of a run; None if it ended before it could be killed."""
    wanted = draw.choice(["any", "any", "checkpoint", "evaluation"])
    delay = draw.uniform(0.0, 0.6 * whole) if wanted == "any" else draw.uniform(0.0, 0.3 * whole)
    process = start(adamant, folder)
    began = time.monotonic()
    while process.poll() is None:
        now = time.monotonic() - began
        phase, _ = doing(folder)
        if now >= delay and wanted in ("any", phase):
            process.send_signal(signal.SIGKILL)
            phase, lines = doing(folder)
            process.wait()
            return {"wanted": wanted, "phase": phase, "after_seconds": round(now, 3), "metrics_lines": lines}
        time.sleep(0.0002)
    finish(process)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adamant", required=True)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    adamant, draw = os.path.abspath(arguments.adamant), random.Random(arguments.seed)
    scratch = tempfile.mkdtemp(prefix="kill-")
    undisturbed = os.path.join(scratch, "undisturbed")
    began = time.monotonic()
    finish(start(adamant, undisturbed))
    whole = time.monotonic() - began
    expected = conclusions(undisturbed)
    with open(os.path.join(undisturbed, "run.json")) as file:
        record = json.load(file)
    kills, runs, ended_before = [], [], 0
    while len(kills) < arguments.kills:
        folder = os.path.join(scratch, f"run-{len(runs)}")
        struck = 0
        while struck < KILLS_A_RUN and len(kills) < arguments.kills:
            kill = strike(adamant, folder, draw, whole)
            if kill is None:
                ended_before += 1
                break
            kills.append({"run": len(runs), **kill})
            struck += 1
        finish(start(adamant, folder))
        found = conclusions(folder)
        differs = [name for name in expected if found[name] != expected[name]]
        runs.append({"kills": struck, "differs": differs})
        print(f"run {len(runs)}: {struck} kills, {len(kills)} in all, differs in {differs or 'nothing'}", flush=True)
        if differs:
            print(f"kept: {folder} and {undisturbed}")
            break
        shutil.rmtree(folder)
    phases = {phase: sum(k["phase"] == phase for k in kills) for phase in ("training", "checkpoint", "evaluation")}
    result = {
        "command": "adamant " + " ".join(RECIPE),
        "machine": {**record["machine"], "kernel_of_system": platform.release()},
        "revision": record["revision"], "dirty": record["dirty"], "seed": arguments.seed,
        "undisturbed_seconds": round(whole, 2), "kills": len(kills), "kills_by_phase": phases,
        "lives_that_ended_before_their_kill": ended_before,
        "runs": len(runs), "runs_that_differ": sum(bool(run["differs"]) for run in runs),
        "sums_of_the_undisturbed_run": expected, "each_run": runs, "each_kill": kills,
    }
    os.makedirs(os.path.dirname(os.path.abspath(arguments.out)), exist_ok=True)
    with open(arguments.out, "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    if any(run["differs"] for run in runs):
        sys.exit("a resumed run differs")
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
