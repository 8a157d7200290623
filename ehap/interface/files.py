"""Networks in files, without pickle and without code."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ehap.artifacts.opened import open_network
from ehap.artifacts.saved import content_of, is_quantized, network_of, write_network
from ehap.errors import ArgumentError
from ehap.graph.reading import check_twin, evaluating, example_images
from ehap.interface.arguments import Images, checked_network, gathered
from ehap.pruning.plan import PruningPlan


def save(network: nn.Module, plan: PruningPlan | None, path: str | Path, *, example: Images | None = None) -> None:
    """Write a network as safetensors with its graph, its plan and its scheme as JSON.

    Before it is written, the network that the file gives is compared with ``network``. Several files of one network are
    the same bytes.

    Args:
        network: A dense, pruned or quantized network in eval mode; not changed.
        plan: The plan by which it was pruned, with which ``load`` builds on the dense network; None without any.
        path: The file; its folder exists.
        example: Images (N, C, H, W) for the comparison; random ones of the plan's shape where left out. A network in
            floating point without a plan needs an example.

    Raises:
        ArgumentError: An argument is of another kind, the network is in train mode, or there is no folder.
        ArchitectureError: The network has an operation that the format does not know; it is named.
        PlanError: The plan leaves another network.
        MismatchError: The file would give another network.
        NumericsError: A weight is NaN or infinite.
        WriteError: The file cannot be written.

    >>> import torch, ehap
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3)).eval()
    >>> ehap.save(model, None, "model.safetensors", example=torch.randn(2, 3, 8, 8))
    >>> images = torch.randn(2, 3, 8, 8)
    >>> bool(torch.equal(ehap.load("model.safetensors")(images), model(images)))
    True
    """
    checked_network(network, "network", "save")
    if plan is not None and not isinstance(plan, PruningPlan):
        raise ArgumentError(f"save: expected a plan of ehap.plan, or None, got {type(plan).__name__}.")
    path = Path(path)
    if not path.parent.is_dir() or path.is_dir():
        raise ArgumentError(f"save: expected the name of a file in an existing folder, got {path}.")
    tensors, metadata = content_of(network, plan)
    shape = metadata["quantized"]["input_shape"] if metadata["quantized"] else plan.input_shape if plan else ()
    if example is None and not shape:
        raise ArgumentError("save: give example images, on which the file is compared with the network.")
    images = example_images(network, shape) if example is None else gathered(example, network, "save")[:8]
    twin = network_of(str(path), {name: each.cpu() for name, each in tensors.items()}, metadata)
    _check(network, twin.to(images.device), images)
    write_network(path, tensors, metadata)


def _check(network: nn.Module, twin: nn.Module, images: Tensor) -> None:
    """Compare a network with what its file gives."""
    if not is_quantized(network):
        check_twin(network, twin, images)
        return
    from ehap.engines.proof import check_engine

    with evaluating(network), torch.no_grad():  # the integers of a trained network round its biases
        check_engine(twin(images), network(images), "the file and the network")


def load(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """Return the network of a file, in eval mode on the CPU.

    Args:
        path: A file of ``save``, or one of a run's stages (``model.safetensors``, ``weights.safetensors`` with its
            record beside it), pulled by DVC or made here.
        model: The dense network. With it the file's plan gives the structure, and a ``train`` of its class's own is
            kept; without it the file's graph does, and the code of the class need not be at hand.

    Returns:
        A network that can be trained, compiled, scripted, exported and pruned again; a quantized one gives the same
        answers bit for bit.

    Raises:
        CheckpointError: The file is missing, damaged or foreign, or belongs to another model.
        ArgumentError: The model is no module.

    >>> import torch, ehap
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
    >>> ehap.save(model, None, "model.safetensors", example=torch.randn(2, 3, 8, 8))
    >>> ehap.load("model.safetensors")[0].weight.shape
    torch.Size([8, 3, 3, 3])
    """
    if not isinstance(path, (str, Path)):
        raise ArgumentError(f"load: expected the path of a file, got {type(path).__name__}.")
    if model is not None:
        checked_network(model, "model", "load", evaluated=False)
    return open_network(Path(path), model)
