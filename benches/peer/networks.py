"""The networks of `adamant bench` in plain PyTorch: ResNets (basic and bottleneck) and wide ResNets.

A normalisation may have two branches (mixture batch norm). `Folded` is the copy that an attack runs on: running
statistics in the convolutions before them, weights without gradients.
"""

import copy

import torch
from torch import nn
from torch.nn import functional as F

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class Norm(nn.Module):
    """Batch norm with one or two branches.

    `branch` says which normalises: 0 (clean), 1 (adversarial), or "halves": the first half of the batch is clean.
    """

    def __init__(self, channels, branches):
        super().__init__()
        self.branches = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(branches))
        self.branch = 0

    def forward(self, x):
        if self.branch == "halves":
            clean, adversarial = x.chunk(2)
            return torch.cat([self.branches[0](clean), self.branches[1](adversarial)])
        return self.branches[self.branch](x)

    def factor_and_summand(self):
        norm = self.branches[self.branch]
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return factor, norm.bias - norm.running_mean * factor


class Convolution(nn.Module):
    """A convolution and the norm after it, if there is one."""

    def __init__(self, inputs, outputs, kernel, stride, branches):
        super().__init__()
        self.weights = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = Norm(outputs, branches) if branches else None

    def forward(self, x):
        x = self.weights(x)
        return x if self.norm is None else self.norm(x)

    def fold(self, source):
        """Takes over the weights of `source` with its norm inside."""
        self.norm = None
        if source.norm is None:
            self.weights.weight.copy_(source.weights.weight)
            return
        factor, summand = source.norm.factor_and_summand()
        self.weights.weight.copy_(source.weights.weight * factor.view(-1, 1, 1, 1))
        if self.weights.bias is None:
            self.weights.bias = nn.Parameter(summand.clone())
        self.weights.bias.copy_(summand)


class LoneNorm(nn.Module):
    """A norm that no convolution precedes; folded it is one multiply-add a value."""

    def __init__(self, channels, branches):
        super().__init__()
        self.norm = Norm(channels, branches)
        self.register_buffer("factor", None)
        self.register_buffer("summand", None)

    def forward(self, x):
        if self.norm is None:
            return torch.addcmul(self.summand, x, self.factor)
        return self.norm(x)

    def fold(self, source):
        factor, summand = (value.view(1, -1, 1, 1) for value in source.norm.factor_and_summand())
        if self.norm is not None:
            self.norm, self.factor, self.summand = None, factor.clone(), summand.clone()
        self.factor.copy_(factor)
        self.summand.copy_(summand)


class Residual(nn.Module):
    """A basic or a bottleneck block; the stride is in the 3x3."""

    def __init__(self, inputs, channels, stride, bottleneck, branches):
        super().__init__()
        outputs = channels * (4 if bottleneck else 1)
        if bottleneck:
            windows = [(inputs, channels, 1, 1), (channels, channels, 3, stride), (channels, outputs, 1, 1)]
        else:
            windows = [(inputs, channels, 3, stride), (channels, outputs, 3, 1)]
        self.convolutions = nn.ModuleList(Convolution(*window, branches) for window in windows)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else Convolution(inputs, outputs, 1, stride, branches)

    def forward(self, x):
        y = x
        for position, convolution in enumerate(self.convolutions):
            y = convolution(F.relu(y) if position else y)
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Wide(nn.Module):
    """A pre-activation block; where channels change the shortcut reads the activated value."""

    def __init__(self, inputs, channels, stride, branches):
        super().__init__()
        self.norm = LoneNorm(inputs, branches)
        self.first = Convolution(inputs, channels, 3, stride, branches)
        self.second = Convolution(channels, channels, 3, 1, 0)
        same = stride == 1 and inputs == channels
        self.shortcut = None if same else Convolution(inputs, channels, 1, stride, 0)

    def forward(self, x):
        activated = F.relu(self.norm(x))
        y = self.second(F.relu(self.first(activated)))
        return y + (x if self.shortcut is None else self.shortcut(activated))


class Network(nn.Module):
    """Pixels in [0, 1] to logits."""

    def __init__(self, name, branches=1):
        super().__init__()
        kind, *numbers = name.removesuffix("-cifar").split("-")
        self.wide = kind == "wrn"
        self.pools = not self.wide and not name.endswith("-cifar")
        blocks = []
        if self.wide:
            depth, width = map(int, numbers)
            inputs = 16
            self.stem = Convolution(3, inputs, 3, 1, 0)
            for stage in range(3):
                for position in range((depth - 4) // 6):
                    channels, stride = 16 * width << stage, 2 if stage and not position else 1
                    blocks.append(Wide(inputs, channels, stride, branches))
                    inputs = channels
            self.last_norm = LoneNorm(inputs, branches)
        else:
            depth, inputs = int(kind.removeprefix("resnet")), 64
            self.stem = Convolution(3, inputs, 7 if self.pools else 3, 2 if self.pools else 1, branches)
            for stage, count in enumerate(STAGES[depth]):
                for position in range(count):
                    channels, stride = 64 << stage, 2 if stage and not position else 1
                    blocks.append(Residual(inputs, channels, stride, depth >= 50, branches))
                    inputs = channels * (4 if depth >= 50 else 1)
        self.blocks = nn.Sequential(*blocks)
        self.classes = 1000 if self.pools else 10
        self.classifier = nn.Linear(inputs, self.classes)

    def forward(self, x):
        x = self.stem(2 * x - 1)
        if not self.wide:
            x = F.relu(x)
        if self.pools:
            x = F.max_pool2d(x, 3, 2, 1)
        x = self.blocks(x)
        if self.wide:
            x = F.relu(self.last_norm(x))
        return self.classifier(x.mean((2, 3)))

    def select(self, branch):
        """Chooses the branch of every norm."""
        for module in self.modules():
            if isinstance(module, Norm):
                module.branch = branch
        return self


class Folded:
    """The selected branch of `source` with running statistics folded in; `refresh` follows its training."""

    def __init__(self, source):
        self.source = source
        self.network = copy.deepcopy(source).eval().requires_grad_(False)
        self.refresh()
        self.network.requires_grad_(False)

    @torch.no_grad()
    def refresh(self):
        foldable = (Convolution, LoneNorm)
        sources = [module for module in self.source.modules() if isinstance(module, foldable)]
        targets = [module for module in self.network.modules() if isinstance(module, foldable)]
        for source, target in zip(sources, targets, strict=True):
            target.fold(source)
        self.network.classifier.weight.copy_(self.source.classifier.weight)
        self.network.classifier.bias.copy_(self.source.classifier.bias)


def plausible(name, branches=1, seed=1):
    """Random weights and running statistics as after some training: every value dense, none zero."""
    torch.manual_seed(seed)
    network = Network(name, branches)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.4, 0.6)
                module.bias.uniform_(-0.2, 0.2)
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.8, 1.2)
    return network
