"""Blocks of networks as people write them, of operations that pruning takes."""

from collections.abc import Callable
from contextlib import contextmanager, nullcontext

from tests.pruning.random_networks import layers
from tests.pruning.random_networks.builder import Builder, Value

SUMS = ["$ = $ + {0}", "$ = torch.add($, {0})", "$ = {0} + $", "$ = $.add({0})", "$ = torch.add({0}, $)"]
INPLACE_SUMS = ["$ += {0}", "$ = $.add_({0})"]


def width(b: Builder) -> int:
    """Return a number of channels."""
    return b.choose([4, 3, 6, 5, 7, 8, 2])


@contextmanager
def branch(b: Builder, start: str, value: Value):
    """Work in a variable of its own, which begins as ``start``; yield its name."""
    kept = b.var, b.value, b.fresh, b.alone
    b.var = b.name("side")
    b.line(f"$ = {start}")
    b.value, b.fresh, b.alone = value, False, ""
    yield b.var
    b.var, b.value, b.fresh, b.alone = kept


def add(b: Builder, other: str, value: Value) -> None:
    """Add another variable to the stream."""
    form = b.choose(SUMS + (INPLACE_SUMS if b.fresh else []))
    names = {"$ += {0}": "+=", "$ = $.add_({0})": "add_", "$ = $.add({0})": "add"}
    b.note(f"sum: {names.get(form, 'torch.add' if 'torch' in form else '+')}")
    if "image" in value.writers or "image" in b.value.writers:
        b.note("sum with the images")
    b.line(form.format(other))
    b.maps(b.value.channels, b.value.size, b.value.writers | value.writers)


def plain(b: Builder) -> None:
    """Convolution, perhaps BatchNorm, perhaps activation: in a row, in an nn.Sequential or in either order."""
    stride = b.choose([1, 1, 2, 3]) if min(b.value.size) > 4 else 1
    with b.submodule("stage") if b.chance(15) else nullcontext():
        layers.conv(b, width(b), stride, same=False)
        order = b.choose(["norm act", "act", "norm", "act norm", "norm norm act", ""])
        for each in order.split():
            layers.norm(b) if each == "norm" else layers.activation(b)
        if order == "norm norm act":
            b.note("two BatchNorms in a row")
        if order == "act norm":
            b.note("BatchNorm behind an activation")
        if not order.startswith("norm"):
            b.note("convolution without BatchNorm")


def sequential(b: Builder) -> None:
    """Convolution, BatchNorm and activation in an nn.Sequential, called whole or in a loop."""
    channels, name = width(b), b.name("features")
    loop = b.chance(50)
    parts = [f"nn.Conv2d({b.value.channels}, {channels}, 3, padding=1)", f"nn.BatchNorm2d({channels})"]
    parts += (
        [f"nn.{'ReLU' if b.simple else b.choose(layers.MODULES)}()"]
        + ["nn.MaxPool2d(2)"] * b.chance(30)
        + ["nn.Dropout(0.2)"] * b.chance(15)
    )
    parts += ["nn.Identity()"] * b.chance(20)
    group = f"nn.ModuleList([{', '.join(parts)}])" if loop else f"nn.Sequential({', '.join(parts)})"
    b.scope.layers.append(f"self.{name} = {group}")
    b.line(f"for layer in self.{name}:\n    $ = layer($)" if loop else f"$ = self.{name}($)")
    b.note("loop over a ModuleList" if loop else "nn.Sequential")
    path = b.path(f"{name}.0")
    b.maps(channels, b.value.size, frozenset({path}))
    b.read_by(b.path(f"{name}.1"))
    b.norms[path] = b.path(f"{name}.1")
    size = tuple(side // 2 for side in b.value.size) if any("MaxPool" in part for part in parts) else b.value.size
    if min(size) < 1:
        size = b.value.size
        b.scope.layers[-1] = b.scope.layers[-1].replace("nn.MaxPool2d(2)", "nn.Identity()")
    if any("Dropout" in part for part in parts):
        b.both_modes = False
        b.note("dropout, module")
    b.maps(channels, size, b.value.writers)


def residual(b: Builder) -> None:
    """Two convolutions beside an identity or a shortcut."""
    stride = b.choose([1, 1, 2]) if min(b.value.size) > 4 else 1
    channels = b.value.channels if b.chance(50) and stride == 1 else width(b)
    identity = stride == 1 and channels == b.value.channels
    with b.submodule("block") if b.chance(40) else nullcontext():
        skip, value = b.save()
        if b.chance(30):
            b.note("block that begins with BatchNorm")
            layers.norm(b)
            layers.activation(b)
        layers.conv(b, width(b), stride)
        layers.norm(b)
        layers.activation(b)
        layers.conv(b, channels)
        if b.chance(70):
            layers.norm(b)
        if not identity:
            with branch(b, skip, value) as side:
                layers.conv(b, channels, stride)
                if b.chance(80):
                    layers.norm(b)
                value = b.value
            skip = side
        b.note("residual block, identity" if identity else "residual block, shortcut")
        add(b, skip, value)
        if b.chance(80):
            layers.activation(b)


def branches(b: Builder) -> None:
    """Two or three convolutions that read one tensor, summed."""
    skip, value = b.save()
    channels, three = width(b), b.chance(40)
    b.note("sum of three" if three else "two convolutions that read one tensor")
    sides = []
    for _ in range(2 if three else 1):
        with branch(b, skip, value) as side:
            layers.conv(b, channels)
            if b.chance(50):
                layers.norm(b)
            if b.chance(50):
                layers.activation(b)
            sides.append((side, b.value))
    layers.conv(b, channels)
    if b.chance(50):
        layers.norm(b)
    if three and b.chance(50):
        b.line(f"$ = $ + {sides[0][0]} + {sides[1][0]}")
        b.maps(channels, b.value.size, b.value.writers | sides[0][1].writers | sides[1][1].writers)
    else:
        for side, of in sides:
            add(b, side, of)
    if b.chance(50):
        layers.activation(b)


def onto_itself(b: Builder) -> None:
    """Add the stream to what one convolution, or an activation, makes of it."""
    skip, value = b.save()
    if b.chance(30):
        layers.activation(b)
        b.note("sum of a tensor and its activation")
    else:
        layers.conv(b, b.value.channels)
    add(b, skip, value)


def separable(b: Builder) -> None:
    """A depthwise and a pointwise convolution."""
    stride = b.choose([1, 2]) if min(b.value.size) > 4 else 1
    if b.value.channels < 2:
        layers.conv(b, width(b))
    layers.depthwise(b, stride)
    for part in (layers.norm, layers.activation):
        if b.chance(70):
            part(b)
    layers.conv(b, width(b))
    if b.chance(70):
        layers.norm(b)


def in_groups(b: Builder) -> None:
    """A convolution in groups of several channels."""
    groups = b.choose([2, 3, 4])
    layers.conv(b, groups * b.choose([2, 3]))
    if b.chance(50):
        layers.norm(b)
    b.note("grouped convolution")
    layers.grouped(b, groups)
    for part in (layers.norm, layers.activation):
        if b.chance(60):
            part(b)


def quiet(b: Builder) -> None:
    """What does nothing in eval mode, or copies."""
    text, feature = b.choose(
        [
            ("nn.Identity()", "nn.Identity"),
            ("nn.Dropout(0.3)", "dropout, module"),
            ("nn.Dropout2d(0.3)", "dropout, module"),
            ("nn.Dropout(0.0)", "dropout, module"),
            ("$ = $.contiguous()", "contiguous"),
            ("nn.Identity()", "nn.Identity"),
            ("$ = $.contiguous()", "contiguous"),
        ]
    )
    if text.startswith("nn"):
        b.line(f"$ = self.{b.module('quiet', text)}($)")
        b.both_modes = b.both_modes and feature == "nn.Identity"
    else:
        b.line(text)
    b.alone = ""
    b.note(feature)


BLOCKS: list[Callable[[Builder], None]] = [
    *(plain, residual, layers.pool, branches, separable, sequential, in_groups, onto_itself, quiet, layers.pool),
    *(residual, layers.pool, branches, sequential, onto_itself, quiet, layers.pool, separable, quiet),
]
"""Blocks to draw from; what stands twice is drawn more often."""
