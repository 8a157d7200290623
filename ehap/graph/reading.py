"""Comparison of a traced graph with its network, on examples."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from ehap.errors import ArchitectureError, DataError, EhapError, MismatchError, NumericsError
from ehap.graph.reference import Reference, Seen
from ehap.graph.tracing import traced, unchanged
from ehap.graph.verification import Agreement, check_agreement, tolerance_of

EXAMPLES = 2
"""Number of images of an example; a single image would hide mistakes about the batch."""
Call = tuple[Tensor, Tensor]
"""Input and output of a module in one call."""


def example_images(model: nn.Module, shape: Sequence[int], count: int = EXAMPLES) -> Tensor:
    """Return random normal images (count, *shape), always the same, in the type and on the device of a network.

    Use them where no images are at hand.
    """
    like = next((each for each in model.parameters() if each.is_floating_point()), torch.zeros(()))
    images = torch.randn(count, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, device="cpu")
    return images.to(like.device, like.dtype)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Put a network into eval mode in the block, and floating point into FP32; restore both afterwards.

    Attributes and buffers that its forward pass writes are restored, too.
    """
    with unchanged(model), without_tf32():
        yield model.eval()


@contextmanager
def without_tf32() -> Iterator[None]:
    """Let convolutions on a GPU round to 24 bits in the block, not to 11, as torch's default is."""
    usual = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = usual


def answers_of(model: nn.Module, example: Tensor, name: str = "") -> list[Tensor]:
    """Return all that a network gives for an example, in the mode that it is in.

    Args:
        model: Gives a tensor, or a dictionary, tuple or list of tensors, with a row for each image.
        example: (N, ...), in its type and on its device.
        name: The network in messages; its class where left out.

    Returns:
        Tensors (N, ...).

    Raises:
        DataError: It cannot take the images.
        ArchitectureError: It gives something else.
        NumericsError: An output is NaN or infinite.
    """
    name = name or type(model).__name__
    absent = next((key for key, each in model.named_parameters() if each.is_meta), None)
    if absent is not None:
        raise ArchitectureError(f"{absent}: has no values, on the meta device; load the network's weights first.")
    try:
        found = model(example.clone())  # a network may overwrite its input
    except (EhapError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever the network's own code raises
        raise DataError(
            f"{name} cannot take images {tuple(example.shape[1:])} of {example.dtype} on {example.device} "
            f"({type(error).__name__}: {_first_line(error)}); give images of its shape and type, on its device, to a "
            "network of one input."
        ) from error
    answers = _leaves(found, len(example))
    if not all(bool(each.isfinite().all()) for each in answers):
        broken = [key for key, tensor in model.state_dict().items() if not tensor.isfinite().all()]
        where = f"{broken[0]}: the network holds" if broken else "the network's outputs hold"
        raise NumericsError(f"{where} NaN or Inf; check its weights and the images.")
    return answers


def output_of(model: nn.Module, example: Tensor, name: str = "") -> Tensor:
    """Return the one tensor that a network gives for an example, without a graph of gradients.

    Arguments and errors as for ``answers_of``; ArchitectureError, too, where it gives more than one, or one in a tuple.
    """
    (found, *others), given = answers_of(model, example, name), model(example.clone())
    if others or not isinstance(given, Tensor):
        raise ArchitectureError(
            f"{name or type(model).__name__}: expected a network that gives one tensor, a row for each image, got "
            f"{type(given).__name__}; wrap it in a module that gives one."
        )
    return found.detach()


def check_answers(found: Sequence[Tensor], wanted: Sequence[Tensor], what: str, advice: str = "") -> Agreement:
    """Compare all outputs of two forms of one network, each on its own scale; see ``check_agreement``."""
    if len(found) != len(wanted):
        raise MismatchError(f"{what}: expected as many outputs of both, got {len(found)} and {len(wanted)}. {advice}")
    pairs = zip(found, wanted, strict=True)
    return max(
        (check_agreement(one, other, tolerance_of(other), what, advice) for one, other in pairs),
        key=lambda each: each.difference,
    )


def _leaves(found: object, images: int) -> list[Tensor]:
    """Return the outputs of a network, each with a row for each image."""
    leaves: list[Tensor] = tree_leaves(found)
    if not leaves or not all(isinstance(each, Tensor) and each.dim() and len(each) == images for each in leaves):
        shapes = [tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__ for each in leaves]
        raise ArchitectureError(
            f"expected a network that gives tensors with a row for each of {images} images, got {type(found).__name__} "
            f"of {shapes}."
        )
    return leaves


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]


def check_reading(model: nn.Module, example: Tensor, graph_module: fx.GraphModule | None = None) -> Agreement:
    """Raise unless a traced graph gives the outputs of its network, in eval mode.

    The graph is executed by reference operations on the modules' parameters, see ``ehap.graph.reference``. The network
    is called with gradients and without, since it may ask.

    Args:
        model: The network, in any mode; it is not changed.
        example: (N, ...), in its type and on its device.
        graph_module: Its graph in eval mode; traced now where left out.

    Raises:
        MismatchError: They differ; the message names the first layer at which they do.
        ArchitectureError, DataError, NumericsError: The network cannot be read or called, or gives NaN or Inf.
    """
    with evaluating(model):
        graph_module = graph_module or traced(model)
        return max(
            (_checked(model, graph_module, example, gradients) for gradients in (False, True)),
            key=lambda each: each.difference,
        )


def _checked(model: nn.Module, graph_module: fx.GraphModule, example: Tensor, gradients: bool) -> Agreement:
    """Compare a graph and its network, called with gradients or without."""
    with torch.set_grad_enabled(gradients):
        wanted = answers_of(model, example)
        try:
            return check_answers(_executed(graph_module, example), wanted, _WHAT)
        except MismatchError as error:
            where = first_difference(model, graph_module, example)
            raise MismatchError(
                f"the graph that torch.fx traced of {type(model).__name__} computes something else: {error} {where} "
                f"{_ADVICE}"
            ) from None


def check_twin(model: nn.Module, twin: nn.Module, example: Tensor) -> Agreement:
    """Raise unless a copy of a network, read off it or written anew, gives its outputs in eval mode.

    Both are called with gradients and without.

    Args:
        model: The network, in any mode; it is not changed.
        twin: The copy, in eval mode.
        example: (N, ...), in their type and on their device.

    Raises:
        MismatchError: They differ.
        ArchitectureError, DataError, NumericsError: As ``answers_of``.
    """
    found = []
    with evaluating(model):
        for gradients in (False, True):
            with torch.set_grad_enabled(gradients):
                wanted, given = answers_of(model, example), answers_of(twin, example)
            found.append(check_answers(given, wanted, _TWIN, _ADVICE))
    return max(found, key=lambda each: each.difference)


_WHAT = "the graph and the network"
_TWIN = "the network and its copy"
_ADVICE = (
    "Such a network may ask for types, attributes, gradients or tracing, have hooks, replaced or random operations, or "
    "overwrite a tensor that is read later; write it without."
)


def _executed(graph_module: fx.GraphModule, example: Tensor, seen: Seen | None = None) -> list[Tensor]:
    """Return the outputs of a graph by reference operations."""
    try:
        found = Reference(graph_module, seen).run(example.clone())
        return _leaves(found, len(example))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever an operation raises that the network does not meet
        name = type(error).__name__
        raise MismatchError(f"the graph cannot be executed ({name}: {_first_line(error)}).") from None


def first_difference(model: nn.Module, graph_module: fx.GraphModule, example: Tensor) -> str:
    """Return, as a sentence, at which module a network first computes something else than its graph.

    Args:
        model: The network, in the mode in which it was read.
        graph_module: Its graph.
        example: (N, ...).
    """
    twice = answers_of(model, example), answers_of(model, example)
    if not all(_same(*pair) for pair in zip(*twice, strict=True)):
        return "It gives other outputs for the same images each time that it is called."
    calls: dict[str, list[Call]] = {}
    with _recorded(model, calls):
        answers_of(model, example)
    told: list[str] = []

    def seen(path: str, inputs: Tensor, output: Tensor) -> None:
        if told:
            return
        if not calls.get(path):
            told.append(f"{path} is called more often in the graph than in the network.")
            return
        reads, gives = calls[path].pop(0)
        if not _same(reads, inputs):
            told.append(f"They differ somewhere before {path}.")
        elif not _same(gives, output):
            told.append(f"They differ from {path} ({type(graph_module.get_submodule(path)).__name__}) on.")

    with suppress(MismatchError):  # the calls before the mismatch count
        _executed(graph_module, example, seen)
    operations = {str(node.target) for node in graph_module.graph.nodes if node.op == "call_module"}
    left = [path for path, each in calls.items() if each and not list(model.get_submodule(path).children())]
    if not told and left:
        often = "more often in the network than in the graph" if left[0] in operations else "in the network only"
        return f"{left[0]} is called {often}."
    return told[0] if told else "They differ behind the last module."


@contextmanager
def _recorded(model: nn.Module, calls: dict[str, list[Call]]) -> Iterator[None]:
    """Note input and output of each module in the block, where both are tensors."""
    handles = []

    def note(path: str, module: nn.Module) -> None:
        waiting: list[Tensor | None] = []

        def before(_: nn.Module, inputs: tuple[object, ...]) -> None:
            waiting.append(inputs[0].clone() if inputs and isinstance(inputs[0], Tensor) else None)

        def after(_: nn.Module, __: object, output: object) -> None:
            read = waiting.pop()
            if read is not None and isinstance(output, Tensor):
                calls.setdefault(path, []).append((read, output.clone()))

        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after))

    for path, module in model.named_modules():
        if path:
            note(path, module)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _same(first: Tensor, second: Tensor) -> bool:
    """Return whether two results agree to the tolerance of their type."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if not first.is_floating_point():
        return bool(first.equal(second))
    largest = float(second.abs().max()) if second.numel() else 0.0
    return bool(torch.allclose(first, second, rtol=0, atol=tolerance_of(second) * largest))
