"""The other readers of networks on random ones: exact scores against brute force, simulated integers against floats."""

from random import Random

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ehap.curvature import channel_scores
from ehap.errors import EhapError
from ehap.quantization import prepare_qat
from ehap.settings import Scheme
from tests.pruning.random_networks.checks import Verdict, answers_of, spreads, told
from tests.pruning.random_networks.network import Network
from tests.pruning.random_networks.strategy import Case

IMAGES, CALIBRATION = 4, 64
TOLERANCE = 1e-7  # of a score, as a share of the largest of its layer
ERROR = 0.05  # of 8 bits: mean square over the variance of the outputs


def check_scores(case: Case) -> Verdict:
    """Compute gates and traces, and compare those of two channels with second derivatives by autograd."""
    network = case.network
    if isinstance(broken := answers_of(network), Verdict):
        return broken
    images = network.images(IMAGES)
    answers = network.build().eval()(images)
    if not isinstance(answers, Tensor) or answers.dim() != 2 or not spreads([answers.detach()]):
        answers = torch.zeros(IMAGES, 2)  # no logits: to be refused
    labels = torch.arange(IMAGES) % answers.shape[1]
    try:
        found = channel_scores(network.build().eval(), images, labels, "gate", "trace")
    except EhapError as error:
        return Verdict("refused", f"{type(error).__name__}: {error}")
    except Exception as error:
        return Verdict("failed", told(error))
    random = Random(case.scores)
    for _ in range(2):
        layer = random.choice(list(found["trace"]))
        channel = random.randrange(len(found["trace"][layer]))
        for criterion, brute in (("trace", _trace), ("gate", _gate)):
            try:
                wanted = brute(network, layer, channel, images, labels)
            except RuntimeError:  # autograd's: what a backward pass needs was overwritten
                return Verdict("blind")
            scores = found[criterion][layer]
            off = abs(float(scores[channel]) - wanted)
            if not off <= TOLERANCE * max(float(scores.abs().max()), abs(wanted), 1e-6):
                text = f"wrong {criterion}: {float(scores[channel]):.6g}, by autograd {wanted:.6g} ({layer}, {channel})"
                return Verdict("failed", text)
    return Verdict("scored")


def _trace(network: Network, layer: str, channel: int, images: Tensor, labels: Tensor) -> float:
    """Return the sum of the second derivatives in the weights of one channel."""
    model = network.build().eval()
    weight = model.get_submodule(layer).weight
    loss = cross_entropy(model(images), labels)
    (first,) = torch.autograd.grad(loss, weight, create_graph=True, allow_unused=True)
    if first is None or not first.requires_grad:
        return 0.0
    total = 0.0
    for place, value in enumerate(first[channel].flatten()):
        (second,) = torch.autograd.grad(value, weight, retain_graph=True, allow_unused=True)
        total += 0.0 if second is None else float(second[channel].flatten()[place])
    return total


def _gate(network: Network, layer: str, channel: int, images: Tensor, labels: Tensor) -> float:
    """Return half the second derivative in a factor on one channel, behind the BatchNorm that alone reads the layer."""
    model = network.build().eval()
    gate = torch.ones((), dtype=torch.float64, requires_grad=True)
    path = layer.removeprefix(network.prefix)
    module = model.get_submodule(network.prefix + network.norms.get(path, path))

    def multiply(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> Tensor:
        factors = torch.ones(result.shape[1], dtype=torch.float64)
        factors[channel] = gate
        return result * factors.view(1, -1, *[1] * (result.dim() - 2))

    module.register_forward_hook(multiply)
    loss = cross_entropy(model(images), labels)
    (first,) = torch.autograd.grad(loss, gate, create_graph=True, allow_unused=True)
    if first is None or not first.requires_grad:
        return 0.0
    (second,) = torch.autograd.grad(first, gate, allow_unused=True)
    return 0.0 if second is None else float(second) / 2


@torch.no_grad()
def check_simulation(case: Case) -> Verdict:
    """Simulate 8 bits, and compare with the network in single precision."""
    network = case.network
    images = network.images(CALIBRATION).float()
    try:
        wanted = network.build().eval().float()(images.clone())
    except Exception as error:
        return Verdict("broken", told(error))  # some compute in double precision
    model = network.build().eval().float()
    try:
        simulated = prepare_qat(model, Scheme(), network.shape)
        simulated(images.clone())
        simulated.eval()
        found = simulated(images.clone())
    except EhapError as error:
        return Verdict("refused", f"{type(error).__name__}: {error}")
    except Exception as error:
        return Verdict("failed", told(error))
    return _near(found, wanted)


def _near(found: Tensor, wanted: object) -> Verdict:
    """Say whether the answers of a simulated network are near those that are wanted."""
    if not isinstance(wanted, Tensor) or wanted.shape != found.shape:
        return Verdict("failed", "a network with other answers, or answers that are no tensor, was simulated")
    if not spreads([wanted]):
        return Verdict("blind")
    error = float((found - wanted).square().mean() / wanted.var(0).mean())
    return Verdict("simulated") if error < ERROR else Verdict("failed", f"8 bits are off: {error:.2g} of the variance")
