"""From maps to answers."""

from tests.pruning.random_networks import layers
from tests.pruning.random_networks.builder import Builder

FLATTENINGS = [
    *("torch.flatten($, 1)", "$.flatten(1)", "$.view($.size(0), -1)", "$.reshape($.shape[0], -1)"),
    *("$.view($.shape[0], -1)", "torch.reshape($, ($.size(0), -1))", "$.flatten(start_dim=1)", "torch.flatten($, -3)"),
]
MEANS = [("$.mean((2, 3))", "method"), ("torch.mean($, dim=(2, 3))", "function"), ("$.mean([-1, -2])", "method")]
KEEPING_MEANS = [("$.mean((2, 3), keepdim=True)", "method"), ("torch.mean($, [2, 3], True)", "function")]


def head(b: Builder) -> None:
    """Pool or not, flatten, and one or two linear layers; or a convolution whose answers are pooled."""
    classes = b.choose([3, 4, 5])
    if b.chance(12):
        layers.conv(b, classes)
        b.note("head without linear layers")
        b.line(f"$ = {b.choose(MEANS)[0]}")
        b.result = b.var
        return
    features = _flat(b)
    b.value = type(b.value)(features, (1, 1), b.value.writers)
    if b.chance(30):
        hidden = b.choose([4, 6])
        _linear(b, hidden)
        if b.chance(80):
            layers.activation(b)
        if b.chance(20):
            b.line(f"$ = self.{b.module('drop', 'nn.Dropout(0.5)')}($)")
            b.both_modes = False
            b.note("dropout, module")
        b.note("head of two linear layers")
    else:
        b.note("head of one linear layer")
    _linear(b, classes)
    b.result = b.var


def _flat(b: Builder) -> int:
    """Turn maps into vectors; return their length."""
    kind = b.choose(["mean", "adaptive", "flatten", "keeping mean", "adaptive"])
    height, width = b.value.size
    if kind == "mean":
        text, form = b.choose(MEANS)
        b.note(f"mean, {form}")
        b.line(f"$ = {text}")
        return b.value.channels
    if kind == "keeping mean":
        text, form = b.choose(KEEPING_MEANS)
        b.note(f"mean, {form}")
        b.line(f"$ = {text}")
        height = width = 1
    elif kind == "adaptive":
        height, width = b.choose([(1, 1), (2, 2), (2, 1), (2, 3)])
        size = height if height == width else (height, width)
        form = b.choose(["module", "function"])
        b.note(f"adaptive pooling, {form}")
        module = f"self.{b.module('pool', f'nn.AdaptiveAvgPool2d({size})')}" if form == "module" else ""
        b.line(f"$ = {module}($)" if module else f"$ = F.adaptive_avg_pool2d($, {size})")
    else:
        b.flexible = False
        b.note("flattened maps")
    text = b.choose([*FLATTENINGS, "nn.Flatten"])
    b.note("flatten by " + ("view" if "view" in text else "reshape" if "reshape" in text else "flatten"))
    b.line(f"$ = self.{b.module('flat', 'nn.Flatten()')}($)" if text == "nn.Flatten" else f"$ = {text}")
    b.fresh = b.fresh and kind == "flatten"
    return b.value.channels * height * width


def _linear(b: Builder, features: int) -> None:
    bias = "" if b.chance(70) else ", bias=False"
    name = b.module("fc", f"nn.Linear({b.value.channels}, {features}{bias})")
    b.line(f"$ = self.{name}($)")
    b.maps(features, (1, 1), frozenset({b.path(name)}))
