"""Whether two forms of one network give the same answers."""

from pathlib import Path

import torch
from torch import nn

from ehap.errors import ArgumentError
from ehap.graph.channels import channel_graph
from ehap.graph.reading import answers_of, check_answers, evaluating, output_of
from ehap.graph.verification import Agreement, check_agreement
from ehap.interface.arguments import Images, checked_network, gathered
from ehap.pruning.plan import PruningPlan
from ehap.pruning.proof import check_pruned
from ehap.pruning.surgery import checked_kept
from ehap.runtime.extras import packages_named
from ehap.settings.checks import positive


def verify(
    found: nn.Module | str | Path,
    wanted: nn.Module,
    images: Images,
    *,
    plan: PruningPlan | None = None,
    tolerance: float | None = None,
) -> Agreement:
    """Raise unless two forms of one network give the same answers for images.

    Args:
        found: The form to check: a network in eval mode, or the path of an ONNX file.
        wanted: The form that it stands for, in eval mode.
        images: Normalised images (N, C, H, W), in the type of ``wanted``: a tensor or an iterable of batches.
        plan: Where given, ``found`` is compared with ``wanted`` with the channels that the plan removes set to 0; the
            error names the first layer that differs. A network that was trained on or repaired differs, of course.
        tolerance: Largest difference, as a share of the largest output. Left out, it is 1e-4 for networks in floating
            point, and for a quantized one and its ONNX file 0.02 for half of the images and 0.1 for all: an engine may
            round a sum between two integers to the other one.

    Returns:
        The largest difference, as a share of the largest output, and in how many images the largest output is another.

    Raises:
        MismatchError: They differ.
        ArgumentError, DataError, NumericsError: A network or the images cannot be used as they are.
        PlanError: The plan is for another network, or orders unions as the published code does.
        MissingPackageError: A file is given, and ONNX Runtime is not installed.

    >>> import copy, torch, ehap
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    >>> ehap.verify(copy.deepcopy(model), model, torch.randn(2, 3, 8, 8)).difference
    0.0
    """
    checked_network(wanted, "wanted", "verify", quantized=True)
    if tolerance is not None:
        positive("tolerance", tolerance)
    example = gathered(images, wanted, "verify")
    if isinstance(found, (str, Path)):
        return _verified_file(Path(found), wanted, example, plan, tolerance)
    checked_network(found, "found", "verify", quantized=True)
    if next(found.parameters()).device != example.device:
        raise ArgumentError(
            f"verify: expected both networks on one device, got {next(found.parameters()).device} and {example.device}."
        )
    if plan is not None:
        return _verified_surgery(found, wanted, example, plan)
    with evaluating(wanted), evaluating(found), torch.no_grad():
        first, second = answers_of(found, example, "found"), answers_of(wanted, example, "wanted")
    if tolerance is None:
        return check_answers(first, second, "the networks")
    return max(
        (check_agreement(one, other, tolerance, "the networks") for one, other in zip(first, second, strict=True)),
        key=lambda each: each.difference,
    )


def _verified_surgery(found: nn.Module, wanted: nn.Module, example: torch.Tensor, plan: PruningPlan) -> Agreement:
    if plan.order != "sorted":
        raise ArgumentError("verify: this plan orders unions as the published code does, which scrambles channels.")
    graph = channel_graph(wanted)
    return check_pruned(wanted, found, graph, checked_kept(graph, plan), example)


def _verified_file(
    path: Path, wanted: nn.Module, example: torch.Tensor, plan: PruningPlan | None, tolerance: float | None
) -> Agreement:
    with packages_named():
        from ehap.engines.onnxruntime.session import OnnxNetwork
        from ehap.engines.proof import check_engine
        from ehap.quantization.simulation import SimulatedNetwork

    if plan is not None:
        raise ArgumentError("verify: a plan is for networks; compare the file with the pruned network, without plan.")
    if not path.is_file():
        raise ArgumentError(f"verify: expected an ONNX file, but there is none at {path}.")
    with evaluating(wanted), torch.no_grad():
        answers = output_of(wanted, example, "wanted")
    given = OnnxNetwork(path.read_bytes())(example)
    what = f"{path} and the network"
    if tolerance is None and isinstance(wanted, SimulatedNetwork):
        return check_engine(given, answers, what)
    return check_agreement(given, answers, 1e-4 if tolerance is None else tolerance, what)
