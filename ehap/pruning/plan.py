"""A pruning plan: the channels of each layer that stay."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from ehap.errors import PlanError

Order = Literal["sorted", "set"]
"""Order of the channels in a union. The published code uses "set", the order of a Python set. Readers of the stream
expect sorted channels, so they get wrong ones where the two orders differ."""
NAMES_WIDTH = 40
"""Longest name of a layer in the table of a plan; of longer ones the end is shown."""


@dataclass(frozen=True)
class PruningPlan:
    """The channels that stay. ``print`` shows a table of the layers.

    kept: Layer name to its sorted kept output channels, for every convolution and linear layer.
    widths: Layer name to the output channels of the original, by which a plan for another network is known.
    parameters, flops: Size of the layers of the pruned network's forward pass; FLOPs for one image, 2 a multiply-add.
    dense_parameters, dense_flops: The same of the original network.
    input_shape: (C, H, W) of an image, on which FLOPs depend; empty where a plan does not say it.
    order: Order of the channels in a union.
    reasons: Layer name to why it stays whole, for those that do.
    sizes: Layer name to its parameters, BatchNorm included, and its FLOPs in the pruned network. Convolutions of each
        channel by itself have sizes, but keep what they read, so that ``kept`` does not name them.
    padded_to, padded_parameters, padded_flops: Size in an engine that knows no unions: each writer of a residual stream
        has rows for all its channels, and widths are multiples of ``padded_to``. 0 where a plan does not say it.

    >>> import ehap
    >>> plan = ehap.PruningPlan({"conv": [0, 2]}, {"conv": 3}, 20, 30, 200, 300)
    >>> ehap.PruningPlan.from_json(plan.to_json()) == plan
    True
    """

    kept: dict[str, list[int]]
    widths: dict[str, int]
    parameters: int
    dense_parameters: int
    flops: int
    dense_flops: int
    input_shape: Sequence[int] = ()
    order: Order = "sorted"
    reasons: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, list[int]] = field(default_factory=dict)
    padded_to: int = 0
    padded_parameters: int = 0
    padded_flops: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", tuple(self.input_shape))

    def to_json(self) -> str:
        """Return the plan as JSON: an object of its fields."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "PruningPlan":
        """Return the plan that ``to_json`` has written.

        Raises:
            PlanError: The text is no plan.
        """
        try:
            found = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise PlanError(f"expected a plan in JSON, as to_json writes it, got other text ({error}).") from None
        return cls.from_fields(found)

    @classmethod
    def from_fields(cls, found: Any) -> "PruningPlan":
        """Return the plan with these fields, as they come out of JSON.

        Raises:
            PlanError: They are not those of a plan.
        """
        known = {each.name: each for each in fields(cls)}
        if not isinstance(found, dict) or not set(found) <= set(known) or not set(list(known)[:6]) <= set(found):
            odd = sorted(set(found) ^ (set(known) & {*found, *list(known)[:6]})) if isinstance(found, dict) else []
            what = f"one that differs in {', '.join(odd)[:80]!r}" if odd else type(found).__name__
            raise PlanError(f"expected a plan, an object with the fields {', '.join(list(known)[:6])}, got {what}.")
        for name, value in found.items():
            if not _FITS[name](value):
                raise PlanError(f"a plan's {name}: expected {_EXPECTED[name]}, got {repr(value)[:60]}.")
        if found["kept"].keys() != found["widths"].keys():
            odd = sorted(found["kept"].keys() ^ found["widths"].keys())
            raise PlanError(f"a plan's kept and widths name other layers: {', '.join(odd)[:80]!r}.")
        for layer, channels in found["kept"].items():
            width = found["widths"][layer]
            if not channels or channels != sorted(set(channels)) or channels[-1] >= width:
                raise PlanError(
                    f"a plan's kept: {layer!r:.40}: expected sorted channels out of 0 to {width - 1}, at least one, "
                    f"got {channels!s:.60}."
                )
        return cls(**found)

    def __str__(self) -> str:
        """Return a table of the layers, and the sums."""
        rows: list[tuple[str, ...]] = [("layer", "channels", "kept", "params %", "FLOPs %", "why whole")]
        rows += [self._row(layer) for layer in self.sizes or self.kept]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(row[at].rjust(widths[at]) for at in range(1, 5)), row[5]]).rstrip()
            for row in rows
        ]
        whole = (
            f"parameters {_part(self.parameters, self.dense_parameters)}, FLOPs {_part(self.flops, self.dense_flops)}"
        )
        lines += ["", f"kept: {whole}"]
        if self.padded_to:
            parameters = _percent(self.padded_parameters, self.dense_parameters)
            flops = _percent(self.padded_flops, self.dense_flops)
            lines.append(
                f"padded to multiples of {self.padded_to} for an engine: {parameters} % of the parameters, "
                f"{flops} % of the FLOPs"
            )
        return "\n".join(lines)

    def _row(self, layer: str) -> tuple[str, ...]:
        name = layer if len(layer) <= NAMES_WIDTH else f"…{layer[1 - NAMES_WIDTH :]}"
        sizes = [_percent(part, whole) for part, whole in self._shares(layer)] or ["", ""]
        if layer not in self.kept:
            return (name, "", "", *sizes, "keeps what it reads")
        return (name, str(self.widths.get(layer, "")), str(len(self.kept[layer])), *sizes, self.reasons.get(layer, ""))

    def _shares(self, layer: str) -> list[tuple[int, int]]:
        """Return each size of a layer with that of the pruned network."""
        return list(zip(self.sizes.get(layer, ()), (self.parameters, self.flops), strict=False))


def _part(kept: int, dense: int) -> str:
    return f"{kept:,} of {dense:,} ({_percent(kept, dense)} %)"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}" if whole else "?"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _counts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_count, value))


def _of(fits: Any) -> Any:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


_NUMBER, _NUMBERS = (_is_count, "a whole number"), (_of(_counts), "layer to whole numbers")
_RULES: Mapping[str, tuple[Any, str]] = {
    "kept": _NUMBERS,
    "widths": (_of(_is_count), "layer to a whole number"),
    "parameters": _NUMBER,
    "dense_parameters": _NUMBER,
    "flops": _NUMBER,
    "dense_flops": _NUMBER,
    "input_shape": (_counts, "(C, H, W)"),
    "order": (lambda value: value in ("sorted", "set"), "sorted or set"),
    "reasons": (_of(lambda value: isinstance(value, str)), "layer to text"),
    "sizes": _NUMBERS,
    "padded_to": _NUMBER,
    "padded_parameters": _NUMBER,
    "padded_flops": _NUMBER,
}
_FITS = {name: fits for name, (fits, _) in _RULES.items()}
_EXPECTED = {name: expected for name, (_, expected) in _RULES.items()}
