"""One layer fitted by ridge regression, and put back as weights and BatchNorm."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ehap.errors import NumericsError
from ehap.repair.definite import solve_definite


@dataclass(frozen=True)
class LayerFit:
    """How one layer was fitted.

    layer: Name of the layer. unknowns: Weights of one output, with its bias. equations: Number of equations for one
    output; with fewer equations than unknowns the ridge settles the rest. images: Number of images behind the
    equations. Fewer images than unknowns may not suffice, since positions of one image resemble each other. before,
    after: Mean squared error / mean square of the targets, on the equations.
    """

    layer: str
    unknowns: int
    equations: int
    images: int
    before: float
    after: float


class Fitter:
    """Fits single layers by ridge regression."""

    def __init__(self, ridge: float, positions: int | None, seed: int) -> None:
        self._ridge, self._positions = ridge, positions
        self._generator = torch.Generator().manual_seed(seed)

    def draws(self) -> Tensor:
        """Return the state from which the next positions are drawn."""
        return self._generator.get_state()

    def go_on(self, draws: Tensor) -> None:
        """Draw the next positions from this state on."""
        self._generator.set_state(draws)

    def __call__(
        self,
        name: str,
        module: nn.Conv2d | nn.Linear,
        norm: nn.BatchNorm2d | None,
        pairs: Iterator[tuple[Tensor, Tensor]],
        images: int,
    ) -> LayerFit:
        """Fit a layer, in place, to (inputs, wanted outputs of the layer and its BatchNorm) of so many images.

        The BatchNorm keeps scale and shift only; ``_normalised_`` sets its statistics.
        """
        groups = module.groups if isinstance(module, nn.Conv2d) else 1
        trained, shift = _folded(module, norm)
        biased = norm is not None or module.bias is not None
        sums = _sums(self._rows(module, norm, pairs, groups, biased), biased)
        if not (sums.gram.isfinite().all() and sums.right.isfinite().all()):
            raise NumericsError(f"{name}: its inputs or its wanted outputs hold NaN or Inf; check both networks.")
        pull = _pull(sums.diagonal(), self._ridge, biased)
        found = solve_definite(sums.gram, pull, sums.right, torch.finfo(trained.dtype).eps)
        if found is None:
            raise NumericsError(
                f"{name}: the images leave weights open that a ridge of {self._ridge:g} does not settle: products in "
                f"{str(trained.dtype).removeprefix('torch.')} are not exact enough for a system so close to a singular "
                "one. Raise the ridge (the default is 0.01), or give more images."
            )
        # 2 ΔᵀXᵀE − ΔᵀXᵀXΔ, where XᵀXΔ = XᵀE − DΔ
        fallen = ((found * sums.right).sum() + (pull[:, :, None] * found.square()).sum()).item()
        solution = found.to(trained.dtype)  # (groups, unknowns, outputs of a group)
        if biased:
            moved = (sums.shift[:, 0, :-1, None] * found[:, :-1]).sum(1).to(trained.dtype)
            shift = shift + (solution[:, -1] - moved).flatten()
            solution = solution[:, :-1]
        fitted = trained + solution.mT.reshape(trained.shape)
        _put_back_(module, norm, fitted, shift)
        scale = max(sums.wanted, torch.finfo(torch.float64).tiny)
        errors = sums.squares / scale, max(0.0, sums.squares - fallen) / scale
        return LayerFit(name, sums.gram.shape[1], sums.equations, images, *errors)

    def _rows(
        self,
        module: nn.Conv2d | nn.Linear,
        norm: nn.BatchNorm2d | None,
        pairs: Iterator[tuple[Tensor, Tensor]],
        groups: int,
        biased: bool,
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield inputs (groups, n, unknowns), errors and wanted outputs (groups, n, outputs of a group) of a chunk."""
        for inputs, target in pairs:
            result = module(inputs) if norm is None else norm(module(inputs))
            error = target - result
            if isinstance(module, nn.Linear):
                rows, wanted, missing = inputs[None], target[None], error[None]
            else:
                places = self._places(error.shape[2] * error.shape[3]).to(inputs.device)
                rows = _windows(module, inputs, places, groups)
                wanted, missing = _at(target, places, groups), _at(error, places, groups)
            if biased:
                rows = torch.cat([rows, rows.new_ones(*rows.shape[:2], 1)], 2)
            yield rows, missing, wanted

    def _places(self, count: int) -> Tensor:
        """Return the positions of a map, of ``count``, that give equations."""
        if self._positions is None or self._positions >= count:
            return torch.arange(count)
        return torch.randperm(count, generator=self._generator)[: self._positions]


@dataclass(frozen=True)
class _Sums:
    """A system of equations, in float64.

    gram, right: XᵀX and XᵀE of inputs less ``shift``. shift: (groups, 1, unknowns), of the ones 0. squares, wanted:
    The sums of squares of the errors and of the wanted outputs. equations: Their number.
    """

    gram: Tensor
    right: Tensor
    shift: Tensor
    squares: float
    wanted: float
    equations: int

    def diagonal(self) -> Tensor:
        """Return the diagonal of XᵀX of the unshifted inputs, (groups, unknowns)."""
        moved = self.shift[:, 0]
        sums = self.gram[:, -1]  # with the column of ones; without it nothing is shifted
        return self.gram.diagonal(dim1=1, dim2=2) + 2 * moved * sums + self.equations * moved.square()


def _sums(rows: Iterator[tuple[Tensor, Tensor, Tensor]], biased: bool) -> _Sums:
    """Return the sums over all chunks of rows.

    Where a bias is fitted, the means over the first chunk are subtracted from the inputs; the bias makes up for that.
    Products of numbers about 0 are exact, while those of nearly constant inputs would cancel.
    """
    gram = right = shift = torch.zeros(())
    squares = wanted = torch.zeros(())
    equations = 0
    for inputs, error, target in rows:
        if not equations:
            shift = inputs.mean(1, keepdim=True) if biased else torch.zeros_like(inputs[:, :1])
            shift[:, :, -1] = 0
        moved = inputs - shift if biased else inputs
        products = moved.mT @ moved, moved.mT @ error
        if equations:  # in place: of a wide layer the matrices are large
            gram += products[0]
            right += products[1]
        else:
            gram, right = (product.double() for product in products)
        squares = squares + error.square().sum().double()
        wanted = wanted + target.square().sum().double()
        equations += inputs.shape[1]
    return _Sums(gram, right, shift.double(), squares.item(), wanted.item(), equations)


def _pull(diagonal: Tensor, ridge: float, biased: bool) -> Tensor:
    """Return the diagonal of D, (groups, unknowns): how strongly each weight is pulled towards the trained one."""
    free = diagonal[:, :-1] if biased else diagonal
    mean = free.mean(1, keepdim=True)
    pull = torch.where(mean > 0, ridge * mean, 1.0).expand_as(free)  # no input at all: the bias alone is fitted
    return torch.cat([pull, pull.new_zeros(len(pull), 1)], 1) if biased else pull


def _windows(module: nn.Conv2d, inputs: Tensor, places: Tensor, groups: int) -> Tensor:
    """Return the inputs of a convolution for some places of its output: (groups, N · places, inputs of one output)."""
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = pad(inputs, module._reversed_padding_repeated_twice, mode=mode)  # in the order that pad expects
    across = (padded.shape[3] - module.dilation[1] * (module.kernel_size[1] - 1) - 1) // module.stride[1] + 1
    offsets = [
        torch.arange(size, device=inputs.device) * step
        for size, step in zip(module.kernel_size, module.dilation, strict=True)
    ]
    down = (places // across * module.stride[0])[:, None, None] + offsets[0][:, None]
    right = (places % across * module.stride[1])[:, None, None] + offsets[1]
    windows = padded[:, :, down, right]  # (N, C_in, places, k, k)
    count, channels = inputs.shape[:2]
    split = windows.reshape(count, groups, channels // groups, len(places), -1)
    return split.permute(1, 0, 3, 2, 4).reshape(groups, count * len(places), -1)


def _at(values: Tensor, places: Tensor, groups: int) -> Tensor:
    """Return a map (N, C, H, W) at some places, as (groups, N · places, C / groups)."""
    found = values.flatten(2)[:, :, places]
    count, channels = values.shape[:2]
    split = found.reshape(count, groups, channels // groups, len(places))
    return split.permute(1, 0, 3, 2).reshape(groups, count * len(places), -1)


def _folded(module: nn.Conv2d | nn.Linear, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Return weight and bias that equal a layer and its BatchNorm in eval mode."""
    bias = module.weight.new_zeros(len(module.weight)) if module.bias is None else module.bias.detach()
    if norm is None:
        return module.weight.detach(), bias
    assert norm.running_mean is not None
    assert norm.running_var is not None
    statistics = norm.running_mean, norm.running_var, norm.eps
    folded = fuse_conv_bn_weights(module.weight, module.bias, *statistics, norm.weight, norm.bias)
    return folded[0].detach(), folded[1].detach()


def _put_back_(module: nn.Conv2d | nn.Linear, norm: nn.BatchNorm2d | None, weight: Tensor, bias: Tensor) -> None:
    """Make a layer and its BatchNorm equal ``weight`` and ``bias``, with rows of their former norms.

    BatchNorm keeps a factor γ and a shift β, from which ``_normalised_`` computes its own.
    """
    if norm is None:
        module.weight.copy_(weight)
        if module.bias is not None:
            module.bias.copy_(bias)
        return
    old, new = module.weight.flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1)
    factor = torch.where(new > 0, new / old.where(old > 0, new), 0)
    rows = weight / factor.where(factor > 0, 1).view(-1, *[1] * (weight.ndim - 1))
    module.weight.copy_(torch.where((factor > 0).view(-1, *[1] * (weight.ndim - 1)), rows, module.weight))
    if module.bias is not None:
        module.bias.zero_()
    norm.weight.copy_(factor)
    norm.bias.copy_(bias)
