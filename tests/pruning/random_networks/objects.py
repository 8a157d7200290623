"""What networks have that pruning may refuse: in their modules, arguments and answers."""

from collections.abc import Sequence

from tests.pruning.random_networks import layers
from tests.pruning.random_networks.builder import Builder
from tests.pruning.random_networks.twists import Twist


def _on_a_layer(kinds: Sequence[str], lines: Sequence[str]) -> Twist:
    """Return a twist that changes a module of a kind once the weights are drawn; {0} stands for it."""

    def twist(b: Builder) -> None:
        if kinds == ("norm",):
            layers.conv(b, b.value.channels)
            path = b.path(layers.norm(b, f"nn.BatchNorm2d({b.value.channels})"))
        elif not (paths := [path for kind in kinds for path in b.paths.get(kind, [])]):
            path = b.path(layers.conv(b, b.value.channels))
        else:
            path = b.choose(paths)
        b.after.append(b.choose(lines).format(f"net.get_submodule({path!r})"))

    return twist


def _own_layer(kind: str, classes: Sequence[str], expression: str) -> Twist:
    """Return a twist that writes a layer of a class of one's own into the stream."""

    def twist(b: Builder) -> None:
        channels = b.value.channels
        if kind != "conv":
            layers.conv(b, channels)
        made = f"parts.{b.choose(classes)}({expression.format(channels)})"
        if kind == "norm":
            layers.norm(b, made)
        else:
            name = b.module(kind, made)
            b.line(f"$ = self.{name}($)")
            b.maps(channels, b.value.size, frozenset({b.path(name)}) if kind == "conv" else b.value.writers)

    return twist


def scripted(b: Builder) -> None:
    """Write a scripted or traced part into the stream."""
    inner = b.choose(["nn.ReLU()", f"nn.Sequential(nn.Conv2d({b.value.channels}, {b.value.channels}, 1), nn.ReLU())"])
    b.line(f"$ = self.{b.module('scripted', f'torch.jit.script({inner})')}($)")
    b.same()


def _on_the_end(choices: Sequence[tuple[str, str]]) -> Twist:
    """Return a twist on arguments and answers: arguments, and the line that begins the forward pass with them."""

    def twist(b: Builder) -> None:
        b.arguments, line = b.choose(choices)
        b.scope.body[:0] = line.split("\n")

    return twist


def answers(b: Builder) -> None:
    """Give more than a tensor, some of it feature maps."""
    name = b.name("maps")
    b.line(f"{name} = $")
    b.fresh = False
    b.more = b.choose(
        [
            *("{'logits': $}", "($,)", "[$]", f"{{'logits': $, 'maps': {name}}}", f"($, {name})", f"[$, {name}]"),
            *(f"parts.Answers($, {name})", f"($, {{'maps': ({name}, None)}})", f"($, {name}.mean((2, 3)))"),
            *(f"({name}, $)", "($, $ * 2)", "$.softmax(1)", "F.log_softmax($, dim=1)", "$.argmax(1) + $.mean(1)"),
        ]
    )


def wrapper(b: Builder) -> None:
    """Put the network in a wrapper."""
    b.wrapper = b.choose(["nn.DataParallel(net)", "torch.optim.swa_utils.AveragedModel(net)"])
    b.prefix = "module."


OBJECTS: dict[str, Twist] = {
    "forward replaced on a convolution": _on_a_layer(
        ("conv",),
        [f"parts.replace_({{0}}, parts.{name})" for name in ("standardized", "shifted", "scaled", "swapped", "equal")],
    ),
    "forward replaced on a BatchNorm": _on_a_layer(
        ("norm",), [f"parts.replace_({{0}}, parts.{name})" for name in ("with_relu", "shifted", "scaled", "equal")]
    ),
    "forward replaced on another module": _on_a_layer(
        ("act", "pool", "quiet", "fc"),
        [f"parts.replace_({{0}}, parts.{name})" for name in ("shifted", "scaled", "equal")],
    ),
    "hook on a module": _on_a_layer(
        ("conv", "norm", "act", "pool", "fc"),
        [
            *("{0}.register_forward_hook(parts.double_after)", "{0}.register_forward_hook(parts.shift_after)"),
            *("{0}.register_forward_pre_hook(parts.double_before)", "{0}.register_forward_hook(parts.look)"),
        ],
    ),
    "hook on a module with submodules": _on_a_layer(
        ("block", "stage"),
        [
            *("net.register_forward_hook(parts.double_after)", "net.register_forward_pre_hook(parts.double_before)"),
            *("net.register_forward_hook(parts.look)", "{0}.register_forward_hook(parts.shift_after)"),
        ],
    ),
    "parametrization": _on_a_layer(
        ("conv", "fc"),
        [
            *("nn.utils.parametrizations.weight_norm({0})", "nn.utils.parametrizations.spectral_norm({0})"),
            *("nn.utils.weight_norm({0})", "parts.unstructured({0}, 'weight', 0.3)"),
            *("nn.utils.spectral_norm({0})", "nn.utils.parametrizations.orthogonal({0})"),
        ],
    ),
    "convolution of one's own class": _own_layer(
        "conv", ["PlainConv", "EqualConv", "CallingConv", "StandardizedConv", "ShiftedConv"], "{0}, {0}, 3, padding=1"
    ),
    "BatchNorm of one's own class": _own_layer(
        "norm", ["PlainNorm", "EqualNorm", "NormWithRelu", "NormPlusOne"], "{0}"
    ),
    "activation of one's own class": _own_layer("act", ["ShiftedRelu"], ""),
    "scripted part": scripted,
    "arguments": _on_the_end(
        [
            *(("x, y=None", "if y is not None:\n    x = x + y"), ("x, scale=1.0", "x = x * scale")),
            *(
                ("x, flag=True", "if flag:\n    x = F.relu(x)"),
                ("x, *others", "for other in others:\n    x = x + other"),
            ),
            *(("x, **options", "if options.get('double', True):\n    x = x * 2"), ("x, power=1", "x = x ** power")),
            *(("x, y=None", "x = x if y is None else y"), ("x, y=None, z=0.5", "x = F.relu(x) if y is None else x")),
            *(("*images", "x = images[0]"), ("x, y=torch.ones(1)", "x = x * y")),
        ]
    ),
    "answers": answers,
    "wrapper": wrapper,
}
