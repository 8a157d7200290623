"""What is asked of a network: pruned, it equals the masked original, or it is refused."""

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ehap.errors import EhapError
from ehap.graph.layers import layer_weights
from ehap.graph.union import UnionAdd
from ehap.pruning import plan, prune, random_scores, widened
from tests.pruning.random_networks.network import IMAGE, Network
from tests.pruning.random_networks.strategy import Case

TOLERANCE = 1e-9  # of the standard deviation of the outputs over images
LEAST_SPREAD = 1e-3  # of the largest output: below, the answers hardly depend on the images
IMAGES = 6


@dataclass(frozen=True)
class Verdict:
    """What has become of a network.

    kind: pruned, refused or failed; what does not count is whole, where the plan removes nothing, blind, where the
    answers hardly depend on the images, or broken, where the network itself does not run. text: The error or the
    difference.
    """

    kind: str
    text: str = ""


def check_pruning(case: Case) -> Verdict:
    """Plan and prune a network, and compare the result with the masked original."""
    network = case.network
    answers = answers_of(network)
    if isinstance(answers, Verdict):
        return answers
    model = network.build()
    try:
        scores = random_scores(layer_weights(model), case.scores)
        chosen = plan(model, scores, network.shape, *case.settings.parts)
        smaller = prune(model, chosen)
    except EhapError as error:
        return Verdict("refused" if spreads(answers) else "blind", f"{type(error).__name__}: {error}")
    except Exception as error:
        return Verdict("failed", told(error))
    return _compare(network, chosen.kept, smaller)


def check_pruning_twice(case: Case) -> Verdict:
    """Prune a network, prune the result, and compare it with the masked original; its form of plain sums as well."""
    network = case.network
    answers = answers_of(network)
    if isinstance(answers, Verdict):
        return answers
    smaller = network.build()
    kept = {name: list(range(len(weight))) for name, weight in layer_weights(smaller).items()}
    try:
        for number in range(2):
            scores = random_scores(layer_weights(smaller), case.scores + number)
            chosen = plan(smaller, scores, network.shape, *case.settings.parts)
            smaller = prune(smaller, chosen)
            both = kept.keys() & chosen.kept.keys()  # a depthwise convolution of one channel is planned like any other
            kept = {name: [kept[name][place] for place in chosen.kept[name]] for name in both}
        wide = widened(smaller.eval(), case.settings.round_to)
    except EhapError as error:
        return Verdict("refused" if spreads(answers) else "blind", f"{type(error).__name__}: {error}")
    except Exception as error:
        return Verdict("failed", told(error))
    if any(isinstance(each, UnionAdd) for each in wide.modules()):
        return Verdict("failed", "a union is left in the form of plain sums")
    first = _compare(network, kept, wide)
    return first if first.kind != "pruned" else _compare(network, kept, smaller)


def answers_of(network: Network) -> list[Tensor] | Verdict:
    """Return the answers of a network itself, or that it does not run."""
    try:
        return outputs(network.build().eval(), network.images(IMAGES))
    except Exception as error:
        return Verdict("broken", told(error))


def _compare(network: Network, kept: dict[str, list[int]], smaller: nn.Module) -> Verdict:
    for name, images, training, grad in _situations(network):
        torch.manual_seed(0)
        with torch.set_grad_enabled(grad):
            wanted = outputs(masked(network, kept).train(training), images)
            if name == "eval" and not spreads(wanted):
                return Verdict("blind")
            try:
                found = outputs(smaller.train(training), images)
            except Exception as error:
                return Verdict("failed", f"the pruned network, {name}: {told(error)}")
        if [one.shape for one in found] != [one.shape for one in wanted]:
            shapes = [[tuple(one.shape) for one in each] for each in (found, wanted)]
            return Verdict("failed", f"{name}: wrong shapes {shapes[0]}, expected {shapes[1]}")
        for one, other in zip(found, wanted, strict=True):
            spread = float(other.std(0).square().mean().sqrt()) if len(other) > 1 else float(other.abs().max())
            off = float((one - other).abs().max())
            if not off <= TOLERANCE * spread:
                return Verdict("failed", f"{name}: a wrong network, off by {off / spread if spread else off:.2g}")
    layers = layer_weights(network.build())
    removed = any(len(kept[name]) < len(weight) for name, weight in layers.items() if name in kept)
    return Verdict("pruned" if removed else "whole")


def _situations(network: Network) -> Iterator[tuple[str, Tensor, bool, bool]]:
    """Yield a name, images, train mode or not, gradients or not."""
    images = network.images(IMAGES)
    yield "eval", images, False, False
    yield "eval with gradients", images, False, True
    yield "one image", images[:1], False, False
    more = network.images(IMAGES, 3)
    if _takes(network.build().eval(), more):
        yield "larger images", more, False, False
    if network.both_modes:  # last: it changes running statistics
        yield "train", images, True, False


def _takes(model: nn.Module, images: Tensor) -> bool:
    try:
        outputs(model, images)
    except (RuntimeError, AssertionError, ValueError):
        return False
    return True


def told(error: Exception) -> str:
    """Return an error that is none of ehap's, and where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {str(error)[:300]} ({Path(last.filename).name}:{last.lineno})"


def outputs(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Return all tensors that a network answers with."""
    found = list(_tensors(model(images.clone())))
    return [each.detach().double() for each in found]


def _tensors(answer: Any) -> Iterator[Tensor]:
    if isinstance(answer, Tensor):
        yield answer
    elif isinstance(answer, dict):
        for each in answer.values():
            yield from _tensors(each)
    elif isinstance(answer, Sequence):
        for each in answer:
            yield from _tensors(each)


def spreads(answers: Sequence[Tensor]) -> bool:
    """Return whether every answer depends on the images."""
    return all(
        bool(each.isfinite().all())
        and float(each.std(0).square().mean().sqrt()) > LEAST_SPREAD * max(1e-12, float(each.abs().max()))
        for each in answers
    )


def masked(network: Network, kept: dict[str, list[int]]) -> nn.Module:
    """Return the original with channels masked where layers write them, without a look at how it was read off.

    A layer's result keeps what the plan keeps. Of a norm and of a depthwise convolution it is what any layer that has
    written its channels keeps: the generator knows these.
    """
    model = network.build()
    kept = {name.removeprefix(network.prefix): channels for name, channels in kept.items()}
    for name, module in model.named_modules():
        path = name.removeprefix(network.prefix)
        if path in network.calls:
            sets = [_union(kept, writers) for writers in network.calls[path]]
        elif path in kept:
            sets = [set(kept[path])]
        else:
            continue
        if path in network.functional:
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter[sorted(set(range(len(parameter))) - set(kept[path]))] = 0
        else:
            module.register_forward_hook(_Mask(sets))
    return model


def _union(kept: dict[str, list[int]], writers: frozenset[str]) -> set[int] | None:
    """Return the channels that any of the writers keeps; None for all."""
    if IMAGE in writers or not writers <= kept.keys():
        return None
    return set().union(*(kept[writer] for writer in writers))


class _Mask:
    """A hook that sets channels to 0: at each call of a forward pass those of the call."""

    def __init__(self, sets: Sequence[set[int] | None]) -> None:
        self._sets, self._called = sets, 0

    def __call__(self, module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> Tensor | None:
        channels = self._sets[self._called % len(self._sets)]
        self._called += 1
        if channels is None:
            return None
        gone = sorted(set(range(result.shape[1])) - channels)
        return result.index_fill(1, torch.tensor(gone, dtype=torch.int64), 0.0)
