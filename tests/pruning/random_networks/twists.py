"""What networks have that pruning may refuse: written into the stream, between blocks."""

from collections.abc import Callable

from tests.pruning.random_networks import layers
from tests.pruning.random_networks.builder import Builder, Value
from tests.pruning.random_networks.operations import CONDITIONS, OPERATIONS

Twist = Callable[[Builder], None]


def operation(feature: str) -> Twist:
    """Return a twist that writes one of the operations of a feature."""

    def twist(b: Builder) -> None:
        if not b.fresh and "in place" in feature:
            layers.conv(b, b.value.channels)  # nobody overwrites the images
        text = b.choose(OPERATIONS[feature])
        for key, number in zip("CHW", (b.value.channels, *b.value.size), strict=True):
            text = text.replace(f"%{key}", str(number))
        if "@" in text:
            text = _with_module(b, text)
        b.line(text)
        b.value, b.fresh, b.alone = Value(b.value.channels, _size(b, text), b.value.writers), False, ""
        if "raining" in text or "Dropout" in text:
            b.both_modes = False
        layers.conv(b, b.value.channels)

    return twist


def _with_module(b: Builder, text: str) -> str:
    """Make a module of what stands behind @, up to the bracket before the stream."""
    before, rest = text.split("@")
    layer, after = rest.split("($)")
    return f"{before}self.{b.module('other', layer)}($){after}"


def _size(b: Builder, text: str) -> tuple[int, int]:
    """Return the size of maps behind an operation: some pad."""
    height, width = b.value.size
    made = b.scope.layers[-1] if "self.other" in text else text
    if any(kind in made for kind in ("ZeroPad", "ConstantPad", "ReflectionPad", "(1, 1, 1, 1)")):
        return height + 2, width + 2
    return height, width + ("(1, 0, 0, 0)" in made)


def branch_on_type(b: Builder) -> None:
    """Leave out a convolution where the stream is no tensor."""
    condition, channels = b.choose(CONDITIONS), b.value.channels
    name = b.module("conv", f"nn.Conv2d({channels}, {channels}, 3, padding=1)")
    b.line(f"if {condition}:\n    $ = self.{name}($)")
    b.maps(channels, b.value.size, frozenset({b.path(name)}))
    layers.activation(b)


def functional_convolution(b: Builder) -> None:
    """Use the weights of a module without calling it."""
    channels = b.value.channels
    name = b.module("used", f"nn.Conv2d({channels}, {channels}, 3, padding=1)")
    form = b.choose(
        ["F.conv2d($, self.{0}.weight, self.{0}.bias, padding=1)", "self.{0}._conv_forward($, self.{0}.weight, None)"]
    )
    b.line("$ = " + form.format(name))
    b.functional.add(b.path(name))
    b.maps(channels, b.value.size, frozenset({b.path(name)}))


def convolution_called_twice(b: Builder) -> None:
    """Call one convolution twice, behind it a norm or not."""
    name = layers.conv(b, b.value.channels)
    layers.activation(b)
    b.line(f"$ = self.{name}($)")
    b.maps(b.value.channels, b.value.size, frozenset({b.path(name)}))
    b.norms[b.path(name)] = ""


def norm_shared(b: Builder) -> None:
    """Put one BatchNorm behind two convolutions."""
    channels = b.choose([4, 6])
    first = layers.conv(b, channels)
    name = layers.norm(b, f"nn.BatchNorm2d({channels})")
    layers.activation(b)
    second = layers.conv(b, channels)
    b.norms |= {b.path(first): "", b.path(second): ""}
    b.read_by(b.path(name))
    b.line(f"$ = self.{name}($)")
    b.same()


def shared_weights(b: Builder) -> None:
    """Give two convolutions one weight."""
    channels = b.choose([4, 6])
    layers.conv(b, channels)
    names = []
    for _ in range(2):
        names.append(b.module("conv", f"nn.Conv2d({channels}, {channels}, 3, padding=1)"))
        b.line(f"$ = self.{names[-1]}($)")
        b.maps(channels, b.value.size, frozenset({b.path(names[-1])}))
        layers.activation(b)
    one, two = (f"net.get_submodule({b.path(name)!r})" for name in names)
    b.after.append(f"{two}.weight = {one}.weight")


def read_after_overwritten(b: Builder) -> None:
    """Let an activation in place change what is added later."""
    layers.conv(b, b.value.channels)
    skip, value = b.save()
    act = b.module("act", f"nn.{b.choose(layers.INPLACE)}(inplace=True)")
    b.line(
        b.choose(
            [
                f"$ = self.{act}($)",
                "$ = F.relu_($)",
                "$ = $.relu_()",
                f"self.{act}($)",
                f"$ += {skip}",
                f"$.add_({skip})",
            ]
        )
    )
    layers.conv(b, b.value.channels)
    b.line(f"$ = $ + {skip}")
    b.maps(b.value.channels, b.value.size, b.value.writers | value.writers)


STREAM: dict[str, Twist] = {feature: operation(feature) for feature in OPERATIONS} | {
    "branch on types": branch_on_type,
    "functional convolution": functional_convolution,
    "convolution called twice": convolution_called_twice,
    "BatchNorm behind two convolutions": norm_shared,
    "shared weights": shared_weights,
    "read after overwritten": read_after_overwritten,
}
