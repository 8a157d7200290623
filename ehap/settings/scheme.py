"""The scheme of a quantized network: widths of weights and activations, and BatchNorm."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ehap.errors import SettingsError
from ehap.settings.checks import share

FEWEST_BITS, HALF_BYTE, BYTE, FLOAT = 2, 4, 8, 32
NORMS = ("frozen", "live")


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """Weights have a symmetric scale for each output channel, activations one for each tensor (arXiv:2011.10680).

    bits: Width of weights and activations, 2 to 8.
    activation_bits: Width of activations if it differs from ``bits``.
    mix: Widths for the weights of a layer, e.g. [4, 8]. An integer linear program chooses one for each layer by exact
        traces; ``bits`` is the width of the activations. Empty: all layers have ``bits``.
    size: A budget for ``mix``: the weights' bytes, as a share of those with 8 bits throughout.
    bit_operations: The other budget, in place of ``size``: the sum over layers of multiply-adds times bits of weights
        times bits of activations, as a share of that with 8 bits throughout.
    norms: BatchNorm's statistics. frozen: Those of the given network, folded into the convolutions from the start, as
        in the paper's scheme. live: Those of each batch in training; the running ones are folded at the end.

    Raises:
        SettingsError: A width or a budget is out of its range, or a budget is missing or cannot be met.

    >>> import ehap
    >>> ehap.Scheme(bits=4, activation_bits=8).width_of_activations
    8
    """

    bits: int = BYTE
    activation_bits: int | None = None
    mix: tuple[int, ...] = ()
    size: float | None = None
    bit_operations: float | None = None
    norms: Literal["frozen", "live"] = "frozen"

    MAY_BE_FLOAT: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.mix, (tuple, list)):
            raise SettingsError(f"mix must be a list of widths, e.g. [4, 8], got {self.mix!r}.")
        object.__setattr__(self, "mix", tuple(self.mix))
        activation = () if self.activation_bits is None else (self.activation_bits,)
        for name, widths in (("bits", (self.bits,)), ("activation_bits", activation), ("mix", self.mix)):
            for width in widths:
                self._check_width(name, width)
        if self.norms not in NORMS:
            raise SettingsError(f"norms must be one of {', '.join(NORMS)}, got {self.norms!r}.")
        self._check_mix()

    @property
    def budget(self) -> float:
        """The budget of ``mix``: a share of the costs with 8 bits throughout."""
        budget = self.size if self.size is not None else self.bit_operations
        return 1.0 if budget is None else budget

    def cost_of(self, bits: int) -> float:
        """Return bytes (``size``) or bit operations of weights with ``bits``, as a share of those with 8 bits."""
        if self.size is not None:
            return (HALF_BYTE if bits <= HALF_BYTE else BYTE) / BYTE  # as they are stored
        return bits / BYTE * self.width_of_activations / BYTE

    @property
    def width_of_activations(self) -> int:
        """Bits of every activation."""
        return self.activation_bits or self.bits

    def _check_width(self, name: str, width: int) -> None:
        float_too = name == "bits" and self.MAY_BE_FLOAT
        whole = isinstance(width, int) and not isinstance(width, bool)
        if not whole or not (FEWEST_BITS <= width <= BYTE or (float_too and width == FLOAT)):
            also = f", or {FLOAT} for none at all" if float_too else ""
            raise SettingsError(f"{name} must be {FEWEST_BITS} to {BYTE}{also}, got {width!r}.")

    def _check_mix(self) -> None:
        budgets = [name for name in ("size", "bit_operations") if getattr(self, name) is not None]
        if not self.mix:
            if budgets:
                raise SettingsError(f"{budgets[0]} is a budget for mix; give mix, e.g. [4, 8].")
            return
        if len(set(self.mix)) < max(2, len(self.mix)):
            raise SettingsError(f"mix: expected at least two widths, each once, got {list(self.mix)}.")
        if len(budgets) != 1:
            raise SettingsError("mix needs one budget: size or bit_operations, a share of that of 8 bits throughout.")
        share(budgets[0], getattr(self, budgets[0]), zero=False, one=True)
        least = min(map(self.cost_of, self.mix))
        if self.budget < least:
            raise SettingsError(
                f"{budgets[0]} {self.budget:g} cannot be met: {min(self.mix)} bits throughout take {least:g}."
            )
