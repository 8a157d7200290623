"""One random network: its source, and what is known of its structure without reading it off."""

import warnings
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from tests.pruning.random_networks import parts

IMAGE = "image"
"""Who writes the channels of the images: all of them stay."""


@dataclass(frozen=True)
class Network:
    """Source text that builds a network, and what its generator knows.

    source: Classes, of which ``Net`` is the network. after: Lines that change ``net``, run once its weights are drawn.
    shape: (C, H, W) of an image. features: What occurs in it. seed: Of weights and images. training: Given in train
    mode. calls: Path of a norm or a depthwise convolution to the layers that have written its channels, call by call.
    norms: Path of a layer to that of the BatchNorm which alone reads it. functional: Paths of layers whose weights are
    used, but which are not called. prefix: Of the paths of modules in what ``build`` returns. both_modes: Whether
    train mode draws nothing at random.
    """

    source: str
    after: str
    shape: tuple[int, int, int]
    features: frozenset[str]
    seed: int
    training: bool
    calls: dict[str, list[frozenset[str]]]
    norms: dict[str, str]
    functional: frozenset[str] = frozenset()
    prefix: str = ""
    both_modes: bool = True

    def build(self) -> nn.Module:
        """Return the network, in double precision, the same one at every call."""
        namespace = {"torch": torch, "nn": nn, "F": functional, "parts": parts, "Tensor": torch.Tensor}
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, of what it deprecates: scripts, weight_norm
            torch.manual_seed(self.seed)
            exec(compile(self.source, "<random network>", "exec"), namespace)
            net = namespace["Net"]().double()
            enliven_(net, self.seed)
            namespace["net"] = net.eval()
            exec(compile(self.after, "<after>", "exec"), namespace)
            built: nn.Module = namespace["net"]
        return built.train(self.training)

    def images(self, count: int, more: int = 0) -> torch.Tensor:
        """Return (count, C, H + more, W + more), always the same ones."""
        channels, height, width = self.shape
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.randn(count, channels, height + more, width + more, generator=generator, dtype=torch.float64)

    def __str__(self) -> str:
        mode = "train" if self.training else "eval"
        return f"{self.source}\n# after its weights are drawn, images {self.shape}, {mode} mode\n{self.after}"


@dataclass
class Scope:
    """A module whose code is being written: a path prefix, lines of __init__ and of forward."""

    prefix: str
    layers: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)

    def source(self, name: str, arguments: str = "x", result: str = "x") -> str:
        """Return the class."""
        lines = [f"class {name}(nn.Module):", "    def __init__(self):", "        super().__init__()"]
        lines += [f"        {line}" for line in self.layers]
        lines += ["", f"    def forward(self, {arguments}):"]
        lines += [f"        {line}" for line in [*self.body, f"return {result}"]]
        return "\n".join(lines) + "\n"


@torch.no_grad()
def enliven_(model: nn.Module, seed: int) -> None:
    """Give every parameter and BatchNorm statistic a value that no formula may take for granted."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        norm = isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d, nn.GroupNorm, nn.InstanceNorm2d, nn.LayerNorm))
        if norm and module.weight is not None:
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.bias.normal_(0, 0.3, generator=generator)
        if norm and getattr(module, "running_mean", None) is not None:
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)):
            module.weight.normal_(0, module.weight[0].numel() ** -0.5, generator=generator)
            if module.bias is not None:
                module.bias.normal_(0, 0.3, generator=generator)
