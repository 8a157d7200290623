"""A network as an ONNX file, and a report of what ONNX Runtime executes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ehap.engines.deployable import deployable
from ehap.engines.onnxruntime.engine import OnnxRuntime
from ehap.engines.onnxruntime.export import plain_floats_to_onnx
from ehap.engines.onnxruntime.operators import ENDS, IN_INTEGERS, MOVING, audit, left_in_float
from ehap.engines.onnxruntime.session import OnnxNetwork
from ehap.engines.proof import check_engine
from ehap.errors import ArchitectureError, ArgumentError
from ehap.graph.channels import channel_graph
from ehap.graph.counting import Counter, Size
from ehap.graph.reading import evaluating, output_of
from ehap.graph.tracing import copied
from ehap.graph.verification import FLOAT, Agreement, check_agreement
from ehap.interface.arguments import Images, checked_network, checked_path, gathered
from ehap.pruning.padding import layout
from ehap.quantization import SimulatedNetwork, pack
from ehap.runtime.files import write_atomically

PADDED = 16
"""Widths that ONNX Runtime's integer kernels like are multiples of it."""


@dataclass(frozen=True)
class ExportReport:
    """What an export has written, and what ONNX Runtime does with it on this processor. ``print`` shows it as lines.

    path: The file. engine: ONNX Runtime and its version. file_size: Bytes.
    in_integers, in_float, others: Operator to count, as executed; others move values or convert at both ends.
    agreement: The file beside the network on the example.
    size, padded: Parameters and FLOPs of the network, and of the form in the file.
    round_to: Multiple to which widths were padded.
    """

    path: Path
    engine: str
    file_size: int
    in_integers: Mapping[str, int]
    in_float: Mapping[str, int]
    others: Mapping[str, int]
    agreement: Agreement
    size: Size
    padded: Size
    round_to: int

    def __str__(self) -> str:
        """Return the report in lines."""
        found, grown = self.agreement, self.padded.flops / self.size.flops
        return "\n".join(
            [
                f"{self.path}: {self.file_size / 1e3:,.1f} KB, executed by {self.engine}",
                f"in integers:        {_listed(self.in_integers)}",
                f"in floating point:  {_listed(self.in_float)}",
                f"FLOPs:              {self.size.flops / 1e6:,.2f} M, as executed {self.padded.flops / 1e6:,.2f} M "
                f"({100 * grown:.0f} %): plain sums, widths in multiples of {self.round_to}",
                f"parameters:         {self.size.parameters:,}, as executed {self.padded.parameters:,}",
                f"beside the network: off by {found.difference:.2g} of the largest output, another class for "
                f"{found.mismatches} of {found.images} images",
            ]
        )


@torch.no_grad()
def export(network: nn.Module, path: str | Path, example: Images, *, round_to: int | None = None) -> ExportReport:
    """Write a quantized network, or one in floating point, as an ONNX file, and say what ONNX Runtime executes.

    Unions of residual branches become plain sums: each writer of a stream gets zero rows for what only others write.
    Widths are padded with zeros. ONNX Runtime executes the file once, and its answers are compared with the network's.

    Args:
        network: The result of ``quantize``; or one of ``prepare_qat`` after training, or a network in float32, dense or
            pruned. In eval mode; not changed.
        path: The file to write; its folder exists.
        example: Normalised images (N, C, H, W), for the shape and the comparison: a tensor or an iterable of batches.
        round_to: Widths are raised to multiples of it; 16 for integers and 1 for floats where left out.

    Returns:
        A report; ``print`` shows it.

    Raises:
        ArgumentError: The network is no module or in train mode, the folder is missing, or round_to is below 1.
        ArchitectureError: The network has an operation that the export does not cover, or activations of other than 8
            bits, which engines would not clamp.
        MismatchError: ONNX Runtime gives other answers than the network.
        DataError, NumericsError: The example is empty, has another shape or type, or holds NaN.
        WriteError: The file cannot be written.

    >>> import torch, ehap
    >>> conv, flat, fc = torch.nn.Conv2d(3, 16, 3), torch.nn.Flatten(), torch.nn.Linear(16 * 36, 10)
    >>> model, images = torch.nn.Sequential(conv, torch.nn.ReLU(), flat, fc).eval(), torch.randn(8, 3, 8, 8)
    >>> report = ehap.export(ehap.quantize(model, ehap.Scheme(bits=8), images), "model.onnx", images)
    >>> report.in_float
    {}
    """
    checked_network(network, "network", "export", quantized=True)
    path = checked_path(path, "export")
    if not path.parent.is_dir():
        raise ArgumentError(f"export: expected an existing folder for {path}, but there is none at {path.parent}.")
    if path.is_dir():
        raise ArgumentError(f"export: expected the name of a file, but {path} is a folder.")
    if round_to is not None and (not isinstance(round_to, int) or round_to < 1):
        raise ArgumentError(f"export: expected round_to of at least 1, got {round_to}.")
    if next(network.parameters()).dtype != torch.float32:
        raise ArchitectureError("export: expected a network in float32, as engines execute it; give network.float().")
    images = gathered(example, network, "export")
    with evaluating(network):
        output_of(network, images[:1])  # a clear error for images of another shape
    images = images.cpu()
    multiple = round_to or (PADDED if isinstance(network, SimulatedNetwork) else 1)
    content, floating = _content(network, images, multiple)
    agreement = _agreement(content, network, images, path)
    operators = audit(content)
    moving = {name for name in operators if name in (*MOVING, *ENDS)}
    in_float = left_in_float(operators) if floating is not network else _others(operators, moving)
    in_integers = {name: count for name, count in operators.items() if name in IN_INTEGERS}
    size, padded = _sizes(floating, images, multiple)
    write_atomically(path, content)
    engine = OnnxRuntime()
    return ExportReport(
        path=path,
        engine=f"ONNX Runtime {engine.version()}",
        file_size=len(content),
        in_integers=in_integers,
        in_float=in_float,
        others=_others(operators, {*in_integers, *in_float}),
        agreement=agreement,
        size=size,
        padded=padded,
        round_to=multiple,
    )


def _content(network: nn.Module, images: Tensor, round_to: int) -> tuple[bytes, nn.Module]:
    """Return the file, and the network in floating point of the same architecture."""
    channels, rows, columns = images.shape[1:]
    shape = (channels, rows, columns)
    if not isinstance(network, SimulatedNetwork):
        return plain_floats_to_onnx(copied(network).cpu(), shape, round_to, images), network
    quiet = copied(network).cpu()
    assert isinstance(quiet, SimulatedNetwork)
    floating = quiet.original
    wide = deployable(pack(quiet, floating), floating, quiet.scheme, shape, quiet.layer_bits, round_to)
    return OnnxRuntime().export(wide, images).content, floating


def _agreement(content: bytes, network: nn.Module, images: Tensor, path: Path) -> Agreement:
    """Return how well a file agrees with the network that it stands for."""
    like = next(network.parameters())
    with evaluating(network):
        wanted = output_of(network, images.to(like.device)).cpu()
    found, what = OnnxNetwork(content)(images), f"{path} and the network"
    if isinstance(network, SimulatedNetwork):
        return check_engine(found, wanted, what)
    return check_agreement(found, wanted, FLOAT, what)


def _others(operators: Mapping[str, int], known: Collection[str]) -> dict[str, int]:
    return {name: count for name, count in operators.items() if name not in known}


def _sizes(network: nn.Module, images: Tensor, round_to: int) -> tuple[Size, Size]:
    """Return parameters and FLOPs of a network, and of the wider one in the file."""
    graph, (channels, rows, columns) = channel_graph(network), images.shape[1:]
    count = Counter(network, graph, (channels, rows, columns))
    whole = {layer: range(width) for layer, width in graph.widths().items()}
    return count(whole), count.of_widths(layout(graph, whole, round_to).widths)


def _listed(operators: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(operators.items())) or "nothing"
