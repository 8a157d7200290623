"""Exact scores compared with scores by plain autograd, on two images: a proof by example that guards every run.

The reference knows neither a folded BatchNorm nor patches nor eigenvectors. It differentiates the network itself, image
by image, with the columns √p_k (e_k - p) of the loss's Hessian in the logits. Gates are factors on the output of a
layer, or of the last BatchNorm that is part of it. Where the scores are said to be the Hessian's, second derivatives
along one direction in a channel of every layer are compared, too: along the gate itself, and along a random direction
of the weights, since the whole trace would take as many products as a channel has weights.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from ehap.curvature.exact import Exact
from ehap.curvature.frozen import channel_weights
from ehap.errors import MismatchError
from ehap.graph.reading import EXAMPLES
from ehap.settings import Trace
from ehap.settings.trace import Curvature

WIDE, NARROW = 1e-6, 0.05
"""The largest difference, as a share of a layer's largest score: in float64, and of networks that take no float64."""
CHANNELS = 2
"""Channels of each layer that are looked at."""
NEGLIGIBLE = 1e-6
"""Scores of a layer below this share of the largest of all layers are compared with that."""
OF_WEIGHTS: tuple[Curvature, ...] = ("trace", "diagonal", "block")


@dataclass(frozen=True)
class ScoreProof:
    """How exact scores agree with those by plain autograd.

    channels: That were compared. difference: The largest one, as a share of the layer's largest score.
    """

    channels: int
    difference: float


def check_scores(model: nn.Module, images: Tensor, labels: Tensor, settings: Trace, seed: int) -> ScoreProof:
    """Raise unless exact scores of some channels of every layer, drawn by the seed, are those of plain autograd.

    Both are computed on the first two images, in float64 where the network takes it.

    Args:
        model: Any mode; it is not changed.
        images: (N, 3, H, W), normalised.
        labels: (N,) int64.
        settings: Of the run; precision, eigen_tolerance, chunks and shards are those of the proof.
        seed: Of the draw.

    Raises:
        MismatchError: A score is another one; the message names the layer.
    """
    settings = replace(settings, precision="fp32", eigen_tolerance=0.0, shards=1, micro_batch=None)
    images, labels = images[:EXAMPLES], labels[:EXAMPLES]
    try:
        wide = copy.deepcopy(model).double()
        return _Proof(wide, images.double(), labels, settings, seed, WIDE).check()
    except RuntimeError as error:  # of a network that casts, or calls what has no float64
        if isinstance(error, torch.OutOfMemoryError):
            raise
        return _Proof(model, images, labels, settings, seed, NARROW).check()


class _Proof:
    def __init__(
        self, model: nn.Module, images: Tensor, labels: Tensor, settings: Trace, seed: int, tolerance: float
    ) -> None:
        exact = Exact(model, images, labels, settings, seed, trusted=True)
        for _ in exact.run():
            pass
        weights = channel_weights(model)
        self._names = [name.removesuffix(".weight") for name in weights]
        sizes = [len(weight) for weight in weights.values()]
        self._scores = {
            criterion: dict(zip(self._names, rows.sum(0).to(images.device).split(sizes), strict=True))
            for criterion, rows in exact.result().rows.items()
        }
        self._model = copy.deepcopy(model).eval().requires_grad_(False)
        self._images, self._labels, self._settings, self._tolerance = images, labels, settings, tolerance
        self._ends = {name: self._model.get_submodule(exact.ends.get(name, name)) for name in self._names}
        modules = {name: self._model.get_submodule(name) for name in self._names}
        self._weights = {name: _weight(module).requires_grad_() for name, module in modules.items()}
        self._gates = {name: each.detach().new_ones(len(each)) for name, each in self._weights.items()}
        for gate in self._gates.values():
            gate.requires_grad_()
        generator = torch.Generator().manual_seed(seed)
        self._drawn = {
            name: torch.randperm(len(gate), generator=generator)[:CHANNELS].to(images.device)
            for name, gate in self._gates.items()
        }
        self._directions = {
            name: torch.randn(each[0].shape, generator=generator, dtype=torch.float64).to(each) * each.detach().std()
            for name, each in self._weights.items()
        }

    def check(self) -> ScoreProof:
        """Compare, and say how far apart the scores are at most."""
        with torch.enable_grad(), self._gated():
            wanted, along = self._first_order()
            worst = self._compared_scores(wanted)
            if self._settings.approximate == "no":
                worst = max(worst, self._compared_curvature(wanted, along))
        return ScoreProof(sum(map(len, self._drawn.values())), worst)

    @contextmanager
    def _gated(self) -> Iterator[None]:
        """Let each layer's output, its BatchNorm included, be multiplied by its gates in the block."""

        def hook(gate: Tensor):  # type: ignore[no-untyped-def]  # noqa: ANN202 (a hook)
            def multiplied(module: nn.Module, _: object, output: Tensor) -> Tensor:
                return output * (gate if isinstance(module, nn.Linear) else gate.view(-1, *[1] * (output.dim() - 2)))

            return multiplied

        handles = [module.register_forward_hook(hook(self._gates[name])) for name, module in self._ends.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _gradients(self, value: Tensor, column: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the derivatives of columnᵀ value in the weights and in the gates of every layer."""
        inputs = [*self._weights.values(), *self._gates.values()]
        found = torch.autograd.grad(value, inputs, column, retain_graph=True, materialize_grads=True)
        count = len(self._names)
        names = self._names
        return dict(zip(names, found[:count], strict=True)), dict(zip(names, found[count:], strict=True))

    def _first_order(self) -> tuple[dict[Curvature, dict[str, Tensor]], dict[str, float]]:
        """Return the scores of the drawn channels, and vᵀ G v of the first of them, v the layer's direction."""
        scores: dict[Curvature, dict[str, Tensor]] = {
            criterion: {name: torch.zeros_like(self._gates[name][drawn]) for name, drawn in self._drawn.items()}
            for criterion in self._settings.criteria
        }
        along = dict.fromkeys(self._names, 0.0)
        count = len(self._images)
        for image, label in zip(self._images, self._labels, strict=True):
            logits = self._model(image[None].clone())
            probabilities = logits.detach().softmax(1)
            unit = torch.eye(logits.shape[1]).to(probabilities)
            for column in probabilities.T.sqrt() * (unit - probabilities):
                weights, gates = self._gradients(logits, column[None])
                for name, drawn in self._drawn.items():
                    self._add(scores, name, weights[name][drawn], gates[name][drawn], count)
                    along[name] += float((weights[name][drawn[0]] * self._directions[name]).sum().square()) / count
            own = probabilities - one_hot(label[None], logits.shape[1])
            _, gates = self._gradients(logits, own)
            for name, drawn in self._drawn.items():
                if "fisher" in scores:
                    scores["fisher"][name] += gates[name][drawn].square() / 2 / count
                if "taylor" in scores:
                    scores["taylor"][name] += gates[name][drawn].abs() / count
        return scores, along

    def _add(
        self, scores: Mapping[Curvature, dict[str, Tensor]], name: str, weight: Tensor, gate: Tensor, count: int
    ) -> None:
        """Add what one column of one image says about a layer: the derivatives in drawn channels and their gates."""
        gradients, values = weight.flatten(1), self._weights[name].detach()[self._drawn[name]].flatten(1)
        found: dict[Curvature, Tensor] = {
            "trace": gradients.square().sum(1),
            "diagonal": (gradients * values).square().sum(1) / 2,
            "block": (gradients * values).sum(1).square() / 2,
            "gate": gate.square() / 2,
        }
        for criterion in found.keys() & scores.keys():
            scores[criterion][name] += found[criterion] / count

    def _compared_scores(self, wanted: Mapping[Curvature, Mapping[str, Tensor]]) -> float:
        worst = 0.0
        for criterion, by_layer in self._scores.items():
            largest = max(float(each.abs().max()) for each in by_layer.values())
            for name, found in by_layer.items():
                scale = max(float(found.abs().max()), NEGLIGIBLE * largest)
                difference = float((found[self._drawn[name]] - wanted[criterion][name]).abs().max())
                worst = max(worst, self._share(difference, scale, f"{name}: the score {criterion}"))
        return worst

    def _compared_curvature(
        self, wanted: Mapping[Curvature, Mapping[str, Tensor]], along: Mapping[str, float]
    ) -> float:
        """Compare second derivatives of the mean loss with what first ones say of them."""
        of_gates, of_weights = "gate" in wanted, bool(set(OF_WEIGHTS) & set(wanted))
        if not of_gates and not of_weights:
            return 0.0
        loss = cross_entropy(self._model(self._images.clone()), self._labels)
        inputs = [*self._weights.values(), *self._gates.values()]
        first = torch.autograd.grad(loss, inputs, create_graph=True, materialize_grads=True)
        worst, largest = 0.0, max(along.values())
        for index, name in enumerate(self._names):
            channel = self._drawn[name][0]
            if of_weights:
                slope = (first[index][channel] * self._directions[name]).sum()
                found = float((_derivative(slope, self._weights[name])[channel] * self._directions[name]).sum())
                scale = max(abs(found), along[name], NEGLIGIBLE * largest)
                worst = max(
                    worst, self._share(abs(found - along[name]), scale, f"{name}: the curvature of its weights")
                )
            if of_gates:
                slope = first[len(self._names) + index][channel]
                found, expected = float(_derivative(slope, self._gates[name])[channel]) / 2, wanted["gate"][name]
                most = max(float(each.abs().max()) for each in wanted["gate"].values())
                scale = max(float(expected.abs().max()), abs(found), NEGLIGIBLE * most)
                worst = max(
                    worst, self._share(abs(found - float(expected[0])), scale, f"{name}: the curvature of gates")
                )
        return worst

    def _share(self, difference: float, scale: float, what: str) -> float:
        share = difference / scale if scale > 0 else difference
        if not share <= self._tolerance:
            raise MismatchError(
                f"{what} by exact derivatives is not that by plain autograd: off by {share:.2g} of the layer's "
                f"largest, at most {self._tolerance:g} is allowed. A layer may be used elsewhere, too, or compute "
                "something else than its module says; take estimator hutchinson, and tell us."
            )
        return share


def _derivative(value: Tensor, variable: Tensor) -> Tensor:
    """Return the derivatives of a scalar; zeros where it does not depend on the variable."""
    if not value.requires_grad:
        return torch.zeros_like(variable)
    found: Tensor = torch.autograd.grad(value, variable, retain_graph=True, materialize_grads=True)[0]
    return found


def _weight(module: nn.Module) -> Tensor:
    assert isinstance(module.weight, Tensor)
    return module.weight
