"""Networks in files, to be read without the code of their class."""

from pathlib import Path

from torch import nn

from ehap.artifacts.networks import load_network, plan_of, save_any
from ehap.errors import ArgumentError
from ehap.graph.reading import EXAMPLES, answers_of, evaluating
from ehap.interface.arguments import Images, checked_network, checked_path, gathered, is_quantized
from ehap.pruning.plan import PruningPlan


def save(network: nn.Module, plan: PruningPlan | None, path: str | Path, *, example: Images | None = None) -> None:
    """Write a network with its graph and its plan as one safetensors file, without pickle.

    The file is read back first, and the reading's outputs are compared with the network's; those of integers with the
    network that packing leaves: it rounds the biases of a network that was trained.

    Args:
        network: Dense, pruned, repaired or trained on, or quantized, in any mode; not changed.
        plan: The plan by which it was pruned; None for a dense network, or where there is no plan.
        path: The file to write; its folder exists.
        example: Normalised images (N, C, H, W) for the comparison, two are enough: a tensor or an iterable of batches.
            Where left out, random ones of the plan's input_shape.

    Raises:
        ArgumentError: An argument is of another kind, the folder is missing, or the shape of an image is unknown.
        ArchitectureError: The network has an operation that a file cannot name, or is in half precision.
        PlanError: The plan is for another network.
        NumericsError: A weight is NaN or infinite.
        MismatchError: The reading gives other outputs; nothing is written.
        DataError: The example has another shape or type.
        WriteError: The file cannot be written.

    >>> import torch, ehap
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    >>> images = torch.randn(2, 3, 8, 8)
    >>> ehap.save(model, None, "model.safetensors", example=images)
    >>> torch.equal(ehap.load("model.safetensors")(images), model(images))
    True
    """
    checked_network(network, "network", "save", evaluated=False, quantized=True)
    if plan is not None and not isinstance(plan, PruningPlan):
        raise ArgumentError(f"save: expected a plan of ehap.plan or None as plan, got {type(plan).__name__}.")
    found = checked_path(path, "save")
    if not found.parent.is_dir():
        raise ArgumentError(f"save: expected an existing folder for {found}, but there is none at {found.parent}.")
    if found.is_dir():
        raise ArgumentError(f"save: expected the name of a file, but {found} is a folder.")
    images = None if example is None else gathered(example, network, "save")[:EXAMPLES]
    if images is not None and not is_quantized(network):
        with evaluating(network):
            answers_of(network, images)  # a clear error for images of another shape
    save_any(found, network, plan, images)


def load(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """Return the network of a file: of ``save``, or of a stage of the workflow.

    It needs no code of the network's class. Its modules have the paths that they had; a ``train`` of its class's own
    needs ``model``. A quantized network comes back as one that simulates integers: the result of ``quantize`` with the
    same answers bit for bit, one of ``prepare_qat`` after training with its biases rounded, as engines have them.

    Args:
        path: A file of ``save``; or the weights of pretrain, prune, reconstruct, finetune or quantize. Integers of
            quantize need the record beside them.
        model: The dense network, in any mode; not changed. Where given, the network is made of its modules, so that
            it keeps what their class adds to plain modules. Its weights do not matter.

    Returns:
        The network in eval mode, on the CPU, in the type in which it was saved. All its parameters can be
            trained; with ``model``, those that can be in ``model``.

    Raises:
        ArgumentError: An argument is of another kind.
        CheckpointError: The file is missing, damaged or something else, or ``model`` is another network.
        ArchitectureError: ``model`` has no values, on the meta device, or is in half precision.
        ReadError: The file cannot be read now.

    >>> import torch, ehap
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 3)).eval()
    >>> images = torch.randn(2, 3, 8, 8)
    >>> scores = ehap.channel_scores(model, criterion="magnitude")
    >>> plan = ehap.plan(model, scores, ehap.Budget(params=0.5), example=images)
    >>> small = ehap.prune(model, plan)
    >>> ehap.save(small, plan, "small.safetensors")
    >>> torch.equal(ehap.load("small.safetensors")(images), small(images))
    True
    """
    if model is not None:
        checked_network(model, "model", "load", evaluated=False)
    return load_network(checked_path(path, "load"), model)


def load_plan(path: str | Path) -> PruningPlan:
    """Return the plan in a file of ``save``.

    That of a run lies in its plan.json, which ``PruningPlan.from_json`` reads.

    Args:
        path: The file.

    Raises:
        ArgumentError: The path is none.
        CheckpointError: The file is missing, damaged or something else, or was saved without a plan.
        ReadError: The file cannot be read now.

    >>> import torch, ehap
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 3)).eval()
    >>> scores = ehap.channel_scores(model, criterion="magnitude")
    >>> plan = ehap.plan(model, scores, ehap.Budget(params=0.5), example=torch.randn(2, 3, 8, 8))
    >>> ehap.save(ehap.prune(model, plan), plan, "small.safetensors")
    >>> ehap.load_plan("small.safetensors") == plan
    True
    """
    return plan_of(checked_path(path, "load_plan"))
