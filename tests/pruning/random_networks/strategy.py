"""Draw a network, and what is asked of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from ehap.settings import Prune
from tests.pruning.random_networks import blocks, heads, layers
from tests.pruning.random_networks.builder import Builder
from tests.pruning.random_networks.network import Network
from tests.pruning.random_networks.objects import OBJECTS
from tests.pruning.random_networks.twists import STREAM, Twist

Integer = Callable[[int, int], int]
TWISTS: Mapping[str, Twist] = STREAM | OBJECTS
AT_A_GLANCE = tuple(name for name in OBJECTS if name.startswith(("forward replaced", "wrapper", "scripted")))
"""Features that are seen before the forward pass is read, and so hide all others."""


@dataclass(frozen=True)
class Case:
    """A network, the seed of its scores, and how it is pruned."""

    network: Network
    settings: Prune
    scores: int


def case(integer: Integer, twisted: int = 37, only: str = "", simple: bool = False) -> Case:
    """Draw a case.

    Args:
        integer: Draws a whole number from a range, both ends included; the lower end is the simplest.
        twisted: So many of a hundred networks have what may be refused: one such feature, or several.
        only: The one such feature that all networks have.
        simple: Whether to keep to what all readers take.
    """
    b = Builder(integer, simple)
    settings = _settings(b)
    return Case(_network(b, twisted, only), settings, b.integer(0, 2**16))


@st.composite
def cases(draw: Callable, twisted: int = 37) -> Case:
    """Draw a case by hypothesis, which can shrink it."""
    return case(lambda low, high: draw(st.integers(low, high)), twisted)


def _network(b: Builder, twisted: int, only: str) -> Network:
    count = b.integer(1, 3) + b.integer(0, 3)
    twists = [only] if only else _twists(b) if b.chance(twisted) else []
    places = [count if twist in OBJECTS else b.integer(0, count) for twist in twists]
    if b.chance(16):
        b.note("BatchNorm on the images")
        layers.norm(b)
    for number in range(count + 1):
        for twist, place in zip(twists, places, strict=True):
            if place == number:
                b.note(twist)
                TWISTS[twist](b)
        if number < count:
            _first(b) if number == 0 else b.choose(blocks.BLOCKS)(b)
    if "conv" not in b.paths:
        layers.conv(b, blocks.width(b))
    heads.head(b)
    result = b.more.replace("$", b.result) if b.more else b.result
    training = b.chance(20)
    if training:
        b.note("given in train mode")
    return Network(
        source="\n".join([*b.classes, b.scope.source("Net", b.arguments, result)]),
        after="\n".join([*b.after, *([f"net = {b.wrapper}"] if b.wrapper else [])]),
        shape=b.shape,
        features=frozenset(b.features),
        seed=b.integer(0, 2**16),
        training=training,
        calls=b.calls,
        norms={layer: norm for layer, norm in b.norms.items() if norm},
        functional=frozenset(b.functional),
        prefix=b.prefix,
        both_modes=b.both_modes,
    )


def _first(b: Builder) -> None:
    """Write the first block: usually a plain one."""
    if b.chance(60):
        blocks.plain(b)
    else:
        b.choose([blocks.onto_itself, *blocks.BLOCKS, blocks.onto_itself, blocks.residual])(b)


def _twists(b: Builder) -> list[str]:
    """Return one feature that may be refused, or several; half of these without those that are refused at a glance."""
    count = b.choose([1, 1, 18, 40])
    names = [name for name in TWISTS if name not in AT_A_GLANCE]
    names += [*AT_A_GLANCE, "wrapper"] * {1: 7, 18: 0, 40: 2}[count]
    return list(dict.fromkeys(b.choose(names) for _ in range(count)))


def _settings(b: Builder) -> Prune:
    """Return a budget and limits."""
    ratio = b.choose([0.5, 0.3, 0.4, 0.6, 0.7, 0.2, 0.1])
    residual = b.choose(["union", "union", "tied"])
    if residual == "tied":
        b.note("tied residuals")
    return Prune(
        criterion="random",
        prune_ratio=ratio,
        residual=residual,
        round_to=b.choose([1, 1, 1, 1, 1, 1, 2, 3]),
        min_channels=b.choose([1, 1, 1, 1, 2, 3]),
        balance=b.choose(["none", "lamp"]),
    )
