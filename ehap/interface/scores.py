"""Scores of all channels of a network, by any criterion."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ehap.curvature import channel_scores as curvature_scores
from ehap.errors import ArgumentError, DataError, SettingsError
from ehap.graph.layers import layer_weights
from ehap.graph.reading import evaluating, output_of
from ehap.interface.arguments import Images, checked_network, gathered, gathered_with_labels
from ehap.pruning.criteria import OF_CURVATURE, OF_NETWORK, scores_from, scores_of
from ehap.pruning.scores import Scores, geometric_mean, magnitude
from ehap.settings.checks import count
from ehap.settings.criteria import CRITERIA

Approximate = Literal["no", "gauss-newton"]
FROM_LABELS = ("fisher", "taylor")
"""Criteria of each image's own loss; the Hessian of cross-entropy in the logits does not depend on labels."""


def channel_scores(
    model: nn.Module,
    images: Images | None = None,
    labels: Tensor | None = None,
    *,
    criterion: str = "gate",
    with_magnitude: bool = False,
    approximate: Approximate = "no",
    seed: int = 0,
) -> Scores:
    """Return how much each channel matters: the higher its score, the later it is removed.

    Args:
        model: A trained network in eval mode, in float32 or float64; not changed.
        images: Normalised images (N, C, H, W) in the network's type, on any device: a tensor or an iterable of batches,
            such as a DataLoader. Some hundred do. Criteria without derivatives (magnitude, bn-scale, random) need none.
        labels: (N,) whole numbers; only fisher and taylor need them. Batches may bring their own.
        criterion: gate, trace, diagonal and block come from the exact Hessian of the cross-entropy, without labels and
            without randomness; fisher and taylor from first derivatives of each image's own loss; magnitude is the mean
            squared weight, bn-scale is |γ|, random a uniform draw. trace is the paper's sensitivity, trace · ‖w‖² / 2p.
        with_magnitude: Whether to return the geometric mean of the score and the mean squared weight.
        approximate: gauss-newton computes Gauss–Newton scores where the network is not piecewise linear, as with SiLU.
        seed: Seed of ``random``.

    Returns:
        Path of each convolution and linear layer to (C_out,) float64, on the CPU, in units of the loss.

    Raises:
        SettingsError: There is no such criterion.
        ArgumentError: The model is no module or in train mode; images or labels are no tensors or left out.
        DataError: There are no images, or images or labels have another shape, type or length.
        ArchitectureError: The network has an operation that the criterion does not cover; it is named.
        MismatchError: The network computes something else than its traced graph.
        NumericsError: A pixel or an output is NaN or infinite.

    Source: Chong et al. 2023, arXiv:2306.07030; Yu et al. 2021, arXiv:2101.08940. The exact form is this package's.

    >>> import torch, ehap
    >>> conv, flat, fc = torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 10)
    >>> model = torch.nn.Sequential(conv, torch.nn.ReLU(), flat, fc).eval()
    >>> scores = ehap.channel_scores(model, torch.randn(8, 3, 8, 8))
    >>> {layer: tuple(each.shape) for layer, each in scores.items()}
    {'0': (4,), '3': (10,)}
    """
    checked_network(model, "model", "channel_scores")
    count("seed", seed, 0)
    if approximate not in get_args(Approximate):
        raise SettingsError(f"approximate: expected one of {', '.join(get_args(Approximate))}, got {approximate!r}.")
    if not isinstance(criterion, str):
        raise ArgumentError(f"channel_scores: expected the name of one criterion, got {type(criterion).__name__}.")
    if criterion in OF_NETWORK:
        found = scores_of(model, criterion, seed)
    elif criterion in OF_CURVATURE:
        found = _from_images(model, images, labels, criterion, approximate)
    else:
        raise SettingsError(f"criterion: expected one of {', '.join(CRITERIA)}, got {criterion!r}.")
    if with_magnitude and criterion == "magnitude":
        raise SettingsError("with_magnitude needs another criterion than magnitude itself.")
    return geometric_mean(found, magnitude(layer_weights(model))) if with_magnitude else found


def _from_images(
    model: nn.Module,
    images: Images | None,
    labels: Tensor | None,
    criterion: str,
    approximate: Approximate,
) -> Scores:
    if images is None:
        raise ArgumentError(f"channel_scores: criterion {criterion} needs images; give some, or take magnitude.")
    if criterion not in FROM_LABELS:
        inputs = gathered(images, model, "channel_scores")
        unused = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
        return scores_from(model, criterion, _computed(model, inputs, unused, criterion, approximate))
    inputs, classes = gathered_with_labels(images, labels, model, "channel_scores")
    if classes is None:
        raise ArgumentError(
            f"channel_scores: criterion {criterion} needs labels, the class of each image; give labels, or take gate."
        )
    with evaluating(model), torch.no_grad():
        outputs = output_of(model, inputs[:1]).shape[1:].numel()
    if not 0 <= int(classes.min()) <= int(classes.max()) < outputs:
        raise DataError(
            f"channel_scores: expected labels of 0 to {outputs - 1}, the network's classes, got "
            f"{int(classes.min())} to {int(classes.max())}."
        )
    return scores_from(model, criterion, _computed(model, inputs, classes, criterion, approximate))


def _computed(
    model: nn.Module, images: Tensor, labels: Tensor, criterion: str, approximate: Approximate
) -> dict[str, Tensor]:
    return curvature_scores(model, images, labels, criterion, approximate=approximate)[criterion]
