"""The ways in which PyTorch can run an attack pass, a training pass and a whole training step.

An attack pass is a forward and the gradient by the input, with norms in eval mode and weights without gradients.
`USER` names what most attack code does; the other modes are what a reader of PyTorch's tuning guides would try.
"""

import contextlib
import copy

import torch
from torch.nn import functional as F

import networks

# name: (folded, element type of the weights, autocast, channels last, mode of torch.compile)
ATTACK = {
    "f32": (False, torch.float32, False, False, None),
    "f32-channels-last": (False, torch.float32, False, True, None),
    "f32-folded": (True, torch.float32, False, True, None),
    "f32-compiled": (False, torch.float32, False, True, "default"),
    "f32-folded-compiled": (True, torch.float32, False, True, "default"),
    "autocast": (False, torch.float32, True, True, None),
    "autocast-compiled": (False, torch.float32, True, True, "default"),
    "autocast-folded": (True, torch.float32, True, True, None),
    "autocast-folded-compiled": (True, torch.float32, True, True, "default"),
    "bf16-folded": (True, torch.bfloat16, False, True, None),
    "bf16-folded-compiled": (True, torch.bfloat16, False, True, "default"),
    "bf16-folded-max-autotune": (True, torch.bfloat16, False, True, "max-autotune"),
}

# name: (autocast, mode of torch.compile, one forward for clean and adversarial images)
TRAINING = {
    "f32": (False, None, True),
    "f32-compiled": (False, "default", True),
    "autocast": (True, None, True),
    "autocast-apart": (True, None, False),
    "autocast-compiled": (True, "default", True),
    "autocast-apart-compiled": (True, "default", False),
}

USER = {"f32": ("f32-channels-last", "f32"), "bf16": ("autocast", "autocast")}


def context(autocast):
    return torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext()


class AttackPass:
    """One mode over one network; `gradient` is what PGD calls K times a step."""

    def __init__(self, network, mode):
        folded, self.kind, self.autocast, channels_last, compiled = ATTACK[mode]
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.source = network
        self.folded = networks.Folded(network) if folded else None
        self.network = self.folded.network if folded else copy.deepcopy(network).eval().requires_grad_(False)
        self.network.to(dtype=self.kind, memory_format=self.layout)
        self.call = self.network if compiled is None else torch.compile(self.network, mode=compiled)

    def refresh(self):
        """Follows the network in training."""
        if self.folded is not None:
            self.folded.refresh()
        else:
            self.network.load_state_dict(self.source.state_dict())

    def gradient(self, images, labels):
        images = images.detach().requires_grad_(True)
        with context(self.autocast):
            logits = self.call(images.to(self.kind)).float()
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), images)
        return gradient


class Step:
    """A training step on adversarial images crafted by PGD with a random start, L-infinity, epsilon 8/255."""

    EPSILON, STEP_SIZE = 8 / 255, 2 / 255

    def __init__(self, arch, method, steps, batch, attack_mode, training_mode):
        self.autocast, compiled, self.joint = TRAINING[training_mode]
        self.mixture, self.steps = method == "mixture", steps
        self.network = networks.plausible(arch, 2 if self.mixture else 1)
        self.network.select(1 if self.mixture else 0).to(memory_format=torch.channels_last)
        self.attack = AttackPass(self.network, attack_mode)
        self.network.train()
        self.call = self.network if compiled is None else torch.compile(self.network, mode=compiled)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=0.1 * batch / 256, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
        )

    def perturb(self, images, labels):
        self.network.select(1 if self.mixture else 0)
        self.attack.refresh()
        low = (images - self.EPSILON).clamp_(min=0)
        high = (images + self.EPSILON).clamp_(max=1)
        adversarial = torch.lerp(low, high, torch.rand_like(images))
        for _ in range(self.steps):
            gradient = self.attack.gradient(adversarial, labels)
            adversarial = torch.clamp(adversarial + self.STEP_SIZE * gradient.sign(), low, high)
        return adversarial

    def loss(self, images, labels, branch):
        self.network.select(branch)
        with context(self.autocast):
            return F.cross_entropy(self.call(images).float(), labels)

    def __call__(self, images, labels):
        adversarial = self.perturb(images, labels)
        self.optimizer.zero_grad()
        if not self.mixture:
            self.loss(adversarial, labels, 0).backward()
        elif self.joint:
            self.loss(torch.cat([images, adversarial]), torch.cat([labels, labels]), "halves").backward()
        else:
            (self.loss(images, labels, 0) / 2).backward()
            (self.loss(adversarial, labels, 1) / 2).backward()
        self.optimizer.step()
