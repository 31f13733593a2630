"""AutoAttack, standard, Linf: adamant and the official code by turns on the same weights, images and machine.

python3 benches/autoattack/turns.py MODEL --data bin:IMAGES.bin --eps 1/255 --parts 4 --out RESULT.json

MODEL is a CIFAR ResNet that adamant wrote (a .safetensors file); data are a CIFAR binary file or `fashion-sample`. The images
go through in parts: each part through one program, then the other, who goes first alternating, so that other load on
the machine falls on both; where it is heavy, compare seconds of the processor, with one thread. Of adamant the whole process counts, from start to written files; of the official code the
evaluation alone, compiled and warm in its `fastest` mode. RESULT.json grows part by part, and a second call continues it.
"""
import argparse
import json
import os
import resource
import subprocess
import tempfile
import time

import official

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--data", required=True)
parser.add_argument("--eps", required=True)
parser.add_argument("--parts", type=int, default=4)
parser.add_argument("--only", type=int, help="stop after so many parts")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=250)
parser.add_argument("--mode", default="fastest", choices=official.MODES, help="how the official code runs the network")
parser.add_argument("--adamant", default=os.path.join(official.ROOT, "target/release/adamant"))
parser.add_argument("--out", required=True)
args = parser.parse_args()


def ours(part):
    def processor():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    with tempfile.TemporaryDirectory() as folder:
        command = [args.adamant, "evaluate", args.model, "--data", args.data, "--norm", "Linf", "--eps", args.eps,
                   "--attacks", "autoattack", "--audit", "none", "--part", f"{part}/{args.parts}",
                   "--batch-size", str(args.batch), "--threads", str(args.threads), "--precision", "f32",
                   "--out", folder, "--json", "--quiet"]
        begin = [time.perf_counter(), processor()]
        told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        seconds = [time.perf_counter() - begin[0], processor() - begin[1]]
    robust = lambda attack: round(attack["robust_accuracy"] * told["samples"])
    rows = [{"name": attack["name"], "robust": robust(attack), "seconds": round(attack["seconds"], 2),
             "forward_passes": attack["forward_passes"], "backward_passes": attack["backward_passes"]}
            for attack in told["attacks"]]
    return {"attacks": rows, "clean": round(told["clean_accuracy"] * told["samples"]), "robust": rows[-1]["robust"],
            "seconds": round(seconds[0], 2), "processor_seconds": round(seconds[1], 2)}


def theirs(part):
    x, y = official.images(args.data, part, args.parts)
    return {"images": len(y), **official.run(call, x, y, epsilon, args.batch)}


official.torch.set_num_threads(args.threads)
numerator, denominator = (args.eps.split("/") + ["1"])[:2]
epsilon = float(numerator) / float(denominator)
mode = official.MODES[args.mode]
call = mode(official.network(args.model))
official.warm(call, official.images(args.data, 1, args.parts)[0].shape[1:])
if os.path.exists(args.out):
    result = json.load(open(args.out))
else:
    machine = next((line.split(": ")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    version = subprocess.run([args.adamant, "--version"], capture_output=True, text=True, check=True)
    result = {"what": "AutoAttack standard, Linf: adamant beside pyautoattack 0.2.0, by turns",
              "model": os.path.basename(args.model), "data": os.path.basename(args.data), "epsilon": args.eps,
              "machine": machine, "threads": args.threads, "batch": args.batch, "torch": official.torch.__version__,
              "official_mode": f"{args.mode}: {mode.__doc__}", "adamant": version.stdout.strip(),
              "parts_of": args.parts, "parts": []}
for part in range(len(result["parts"]) + 1, (args.only or args.parts) + 1):
    turn = {"part": part}
    for name, program in [("adamant", ours), ("official", theirs)][:: 1 if part % 2 else -1]:
        turn[name] = program(part)
    result["parts"].append(turn)
    total = lambda name, key: round(sum(turn[name][key] for turn in result["parts"]), 2)
    result["total"] = {"images": sum(turn["official"]["images"] for turn in result["parts"]),
                       "clean": total("adamant", "clean")}
    for name in ("adamant", "official"):
        result["total"][name] = {key: total(name, key) for key in ("robust", "seconds", "processor_seconds")}
        for key in ("forward_passes", "backward_passes"):
            result["total"][name][key] = sum(a[key] for turn in result["parts"] for a in turn[name]["attacks"])
    for key in ("seconds", "processor_seconds"):
        result["total"][f"times_faster_in_{key}"] = round(total("official", key) / total("adamant", key), 2)
    with open(args.out + ".unfinished", "w") as file:
        json.dump(result, file, indent=1)
    os.rename(args.out + ".unfinished", args.out)
    print(part, result["total"], flush=True)
