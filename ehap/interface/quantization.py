"""A network in integers: calibrated alone, or prepared for training."""

import torch
from torch import Tensor, nn

from ehap.curvature import channel_scores
from ehap.errors import ArgumentError
from ehap.graph.folding import fuse_norms
from ehap.interface.arguments import Images, checked_network, gathered
from ehap.quantization.calibration import BATCH, set_ranges_
from ehap.quantization.mixed import choose_bits, layer_costs
from ehap.quantization.packing import pack, unpack
from ehap.quantization.preparation import RANGE_MOMENTUM
from ehap.quantization.preparation import prepare_qat as prepared
from ehap.quantization.simulation import SimulatedNetwork
from ehap.settings.checks import share
from ehap.settings.scheme import FLOAT, Scheme

FOR_BITS = 512
"""Number of images, at most, whose exact traces choose the bits of each layer."""


def quantize(network: nn.Module, scheme: Scheme, images: Images) -> SimulatedNetwork:
    """Return a network that rounds weights and activations as integers do, calibrated on images without labels.

    The range of each activation is the mean of the ranges of batches of 64 images. The network is ready to be tested,
    saved and exported; ``prepare_qat`` makes one for training.

    Args:
        network: A dense or pruned network in eval mode, in float32: convolutions (BatchNorm directly behind them, or
            none), linear layers, ReLU or ReLU6, adds and pooling; not changed.
        scheme: The bits, e.g. ``ehap.Scheme(bits=8)``. With ``mix`` exact traces on at most 512 of the images choose
            the bits of each layer.
        images: Normalised images (N, C, H, W), some hundred: a tensor or an iterable of batches, on any device.

    Returns:
        The quantized network in eval mode.

    Raises:
        ArgumentError: The network is no module, in train mode or quantized already, or the scheme is of another kind.
        ArchitectureError: The network is in half precision, or has an operation that the scheme does not cover.
        MismatchError: The prepared network computes, before rounding, something else.
        DataError, NumericsError: The images are none, of another shape or type; or something is NaN or infinite.

    Source: Yao et al. 2021, HAWQ-V3, arXiv:2011.10680.

    >>> import torch, ehap
    >>> conv, flat, fc = torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 10)
    >>> model, images = torch.nn.Sequential(conv, torch.nn.ReLU(), flat, fc).eval(), torch.randn(64, 3, 8, 8)
    >>> int8 = ehap.quantize(model, ehap.Scheme(bits=8), images)
    >>> bool((int8(images) - model(images)).abs().max() < 0.1 * model(images).abs().max())
    True
    """
    inputs = _checked(network, scheme, images, "quantize")
    if scheme.norms == "live":
        raise ArgumentError("quantize: norms live are of a training; take norms frozen, or prepare_qat and train.")
    calibrated = _calibrated(network, scheme, inputs, RANGE_MOMENTUM)
    origin = calibrated.origin
    # By its integers, as a file has them: biases, too, lie on their grid.
    return unpack(pack(calibrated, network), network, scheme, origin.input_shape, origin.layer_bits)


def prepare_qat(
    network: nn.Module, scheme: Scheme, images: Images, *, range_momentum: float = RANGE_MOMENTUM
) -> SimulatedNetwork:
    """Return a network that rounds as integers do and can be trained, by a loop of your own.

    Gradients pass the rounding unchanged. In train mode the ranges of activations follow the batches, from those of
    ``images`` on. After the training call ``eval()``; then test, save and export it.

    Args:
        network: See ``quantize``; not changed.
        scheme: See ``quantize``. With ``norms="live"`` BatchNorm takes the statistics of each batch in training.
        images: See ``quantize``.
        range_momentum: Share of an activation range that stays at each training step, in [0, 1).

    Returns:
        The prepared network in train mode.

    Raises:
        ArgumentError, ArchitectureError, MismatchError, DataError, NumericsError: As ``quantize``.
        SettingsError: range_momentum lies outside.

    Source: Yao et al. 2021, HAWQ-V3, arXiv:2011.10680; Jacob et al. 2018, arXiv:1712.05877.

    >>> import torch, ehap
    >>> model, images = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval(), torch.randn(64, 3, 8, 8)
    >>> trained = ehap.prepare_qat(model, ehap.Scheme(bits=8), images)
    >>> trained(images).square().mean().backward()
    >>> trained = trained.eval()
    """
    share("range_momentum", range_momentum, zero=True, one=False)
    inputs = _checked(network, scheme, images, "prepare_qat")
    return _calibrated(network, scheme, inputs, range_momentum)


def _checked(network: nn.Module, scheme: Scheme, images: Images, function: str) -> Tensor:
    checked_network(network, "network", function)
    if isinstance(network, SimulatedNetwork):
        raise ArgumentError(f"{function}: expected a network in floating point, got one that is quantized already.")
    if not isinstance(scheme, Scheme):
        raise ArgumentError(f"{function}: expected an ehap.Scheme, e.g. ehap.Scheme(bits=8), got {scheme!r:.60}.")
    if scheme.bits == FLOAT:
        raise ArgumentError(f"{function}: bits {FLOAT} means no quantization; give bits of 2 to 8.")
    return gathered(images, network, function)


def _calibrated(network: nn.Module, scheme: Scheme, images: Tensor, range_momentum: float) -> SimulatedNetwork:
    channels, rows, columns = images.shape[1:]
    shape = (channels, rows, columns)
    bits = _chosen_bits(network, scheme, images, shape) if scheme.mix else None
    found = prepared(network, scheme, shape, bits, images[:2], range_momentum)
    set_ranges_(found, images.split(BATCH))
    return found


def _chosen_bits(network: nn.Module, scheme: Scheme, images: Tensor, shape: tuple[int, int, int]) -> dict[str, int]:
    """Return layer to bits of its weights; the Hessian of cross-entropy in the logits does not depend on labels."""
    folded, shown = fuse_norms(network), images[:FOR_BITS]
    labels = torch.zeros(len(shown), dtype=torch.int64, device=shown.device)
    traces = channel_scores(folded, shown, labels, "trace")["trace"]
    return choose_bits(layer_costs(folded, traces, scheme.mix, shape), scheme)
