"""The official AutoAttack on a CIFAR ResNet, timed: what `examples/autoattack.rs` is compared with.

python3 benches/autoattack_official.py --images IMAGES.bin --count 1000 --eps 1/255 [--threads 2] [--attacks apgd-ce,apgd-t]

IMAGES.bin holds CIFAR binary records (label, 3072 bytes); the first COUNT are taken. Needs torch, numpy, safetensors and
pyautoattack 0.2.0, whose attack code is that of github.com/fra31/auto-attack. Writes JSON: after each attack the robust
images, the passes made so far (a forward or a backward of one image each) and the seconds it took, by the clock and of the
processor.
"""
import argparse
import json
import os
import sys
import time

import numpy as np
import torch
from safetensors.torch import load_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../fixtures/golden/scripts"))
import common  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--images", required=True)
parser.add_argument("--count", type=int, default=1000)
parser.add_argument("--eps", default="1/255")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=250)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--attacks", default="apgd-ce,apgd-t,fab-t,square")
args = parser.parse_args()
torch.set_num_threads(args.threads)
torch.use_deterministic_algorithms(False)

model = common.CifarResNet(3)
weights = load_file(os.path.join(HERE, "../fixtures/golden/cifar_resnet20.safetensors"))
model.load_state_dict(weights, strict=False)
model.eval()
for parameter in model.parameters():
    parameter.requires_grad_(False)

passes = {"forward": 0, "backward": 0}


def counted(x):
    passes["forward"] += len(x)
    # In every attack of AutoAttack one backward follows each forward of images that ask for a gradient.
    passes["backward"] += len(x) if torch.is_grad_enabled() and x.requires_grad else 0
    return model(x)


raw = np.fromfile(args.images, dtype=np.uint8, count=args.count * 3073).reshape(-1, 3073)
y = torch.from_numpy(raw[:, 0].astype(np.int64))
x = torch.from_numpy(raw[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32)) / 255

from pyautoattack import AutoAttack  # noqa: E402

numerator, denominator = (args.eps.split("/") + ["1"])[:2]
adversary = AutoAttack(counted, norm="Linf", eps=float(numerator) / float(denominator), seed=args.seed,
                       version="standard", device="cpu")
# The order of the standard version, possibly cut short.
adversary.attacks_to_run = args.attacks.split(",")

rows = []
from pyautoattack.state import EvaluationState  # noqa: E402

original = EvaluationState.add_run_attack
clock = [time.perf_counter(), time.process_time()]
before = dict(passes)


def add_run_attack(self, attack):
    global before
    now = [time.perf_counter(), time.process_time()]
    rows.append({"name": attack, "robust": int(self.robust_flags.sum()),
                 "forward_passes": passes["forward"] - before["forward"],
                 "backward_passes": passes["backward"] - before["backward"],
                 "seconds": round(now[0] - clock[0], 2), "processor_seconds": round(now[1] - clock[1], 2)})
    print(rows[-1], file=sys.stderr, flush=True)
    before = dict(passes)
    clock[:] = [time.perf_counter(), time.process_time()]
    return original(self, attack)


EvaluationState.add_run_attack = add_run_attack
adversary.run_standard_evaluation(x, y, batch_size=args.batch)
machine = next((line.split(": ")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
print(json.dumps({"what": "pyautoattack 0.2.0, standard, Linf, CIFAR ResNet-20", "torch": torch.__version__,
                  "machine": machine, "threads": args.threads, "images": args.count, "epsilon": args.eps,
                  "batch": args.batch, "seed": args.seed, "attacks": rows}, indent=1))
