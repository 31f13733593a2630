"""The official AutoAttack on a CIFAR ResNet: the networks, the images and the run that `turns.py` compares adamant with.

Needs torch, numpy, safetensors and pyautoattack 0.2.0, whose attack code is that of github.com/fra31/auto-attack.
"""
import copy
import gzip
import os
import resource
import sys
import time

import numpy as np
import torch
from safetensors import safe_open
from torch.nn.utils.fusion import fuse_conv_bn_eval

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "../..")
sys.path.insert(0, os.path.join(ROOT, "fixtures/golden/scripts"))
import common  # noqa: E402

torch.use_deterministic_algorithms(False)

# What batch norm is called whose images are adversarial, in files of networks with mixture batch norm.
ADVERSARIAL = ".aux_bn.0"


def network(path):
    """The CIFAR ResNet of a safetensors file, its adversarial branch where it has two, and its scaling of pixels."""
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    if any(ADVERSARIAL in key for key in tensors):
        own = {key.replace(ADVERSARIAL, "") for key in tensors if ADVERSARIAL in key}
        tensors = {key.replace(ADVERSARIAL, ""): value for key, value in tensors.items()
                   if ADVERSARIAL in key or key not in own}
    channels = tensors["conv1.weight"].shape[1]
    blocks = 1 + max(int(key.split(".")[1]) for key in tensors if key.startswith("layer1."))
    model = common.CifarResNet(blocks)
    if channels == 1:
        model.conv1 = torch.nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        # Our quickstart scales by 2x - 1.
        model.mean, model.std = torch.tensor(0.5), torch.tensor(0.5)
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected and all("num_batches_tracked" in key for key in missing), (missing, unexpected)
    return model.eval().requires_grad_(False)


def fastest(model):
    """Norms folded, channels last, compiled: the fastest of six modes tried on the machine measured."""
    model = copy.deepcopy(model)
    pairs = [(model, "conv1", "bn1")]
    for layer in (model.layer1, model.layer2, model.layer3):
        pairs += [(block, f"conv{n}", f"bn{n}") for block in layer for n in (1, 2)]
    for owner, conv, norm in pairs:
        setattr(owner, conv, fuse_conv_bn_eval(getattr(owner, conv), getattr(owner, norm)))
        setattr(owner, norm, torch.nn.Identity())
    model = model.requires_grad_(False).to(memory_format=torch.channels_last)
    compiled = torch.compile(model, dynamic=True)
    return lambda x: compiled(x.to(memory_format=torch.channels_last))


def plain(model):
    """As its users run it: eager, norms in eval mode."""
    return model


MODES = {"fastest": fastest, "plain": plain}


def warm(call, shape):
    """Compiles for every kind of call before anything is measured."""
    for count in (7, 100, 33, 1, 250):
        x = torch.rand(count, *shape)
        with torch.no_grad():
            call(x)
        x.requires_grad_()
        torch.autograd.grad(call(x).sum(), x)


def images(source, part, parts):
    """Pixels and labels of one part: of a CIFAR binary file, or of the embedded sample's test images."""
    if source == "fashion-sample":
        folder = os.path.join(ROOT, "fixtures/fashion-sample")
        read = lambda name, head: np.frombuffer(gzip.open(os.path.join(folder, name)).read(), np.uint8)[head:]
        pixels = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
        labels = read("t10k-labels-idx1-ubyte.gz", 8)
    else:
        raw = np.fromfile(source.removeprefix("bin:"), dtype=np.uint8).reshape(-1, 3073)
        pixels, labels = raw[:, 1:].reshape(-1, 3, 32, 32), raw[:, 0]
    border = lambda number: len(labels) * number // parts
    own = slice(border(part - 1), border(part))
    return torch.from_numpy(pixels[own].astype(np.float32)) / 255, torch.from_numpy(labels[own].astype(np.int64))


def processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def run(call, x, y, epsilon, batch, seed=0):
    """The standard version: after each attack the robust images, the passes of one image and the seconds."""
    from pyautoattack import AutoAttack
    from pyautoattack.state import EvaluationState

    passes = {"forward": 0, "backward": 0}

    def counted(x):
        passes["forward"] += len(x)
        # In every attack of AutoAttack one backward follows each forward of images that ask for a gradient.
        passes["backward"] += len(x) if torch.is_grad_enabled() and x.requires_grad else 0
        return call(x)

    adversary = AutoAttack(counted, norm="Linf", eps=epsilon, seed=seed, version="standard", device="cpu")
    rows = []
    last = [time.perf_counter(), processor_seconds(), 0, 0]
    begin = list(last)
    original = EvaluationState.add_run_attack

    def add_run_attack(self, attack):
        now = [time.perf_counter(), processor_seconds(), passes["forward"], passes["backward"]]
        spent = [b - a for a, b in zip(last, now)]
        rows.append({"name": attack, "robust": int(self.robust_flags.sum()), "seconds": round(spent[0], 2),
                     "processor_seconds": round(spent[1], 2), "forward_passes": spent[2], "backward_passes": spent[3]})
        last[:] = now
        return original(self, attack)

    EvaluationState.add_run_attack = add_run_attack
    try:
        adversary.run_standard_evaluation(x, y, batch_size=batch)
    finally:
        EvaluationState.add_run_attack = original
    return {"attacks": rows, "robust": rows[-1]["robust"], "seconds": round(time.perf_counter() - begin[0], 2),
            "processor_seconds": round(processor_seconds() - begin[1], 2)}
