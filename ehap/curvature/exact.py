"""Exact channel curvature from first derivatives alone, image by image.

The logits are, almost everywhere, linear in the weights of one layer while the others are fixed (eval-mode BatchNorm,
piecewise-linear activations). So each layer's diagonal block of the Hessian equals its Gauss–Newton block:
with columns s_k of S Sᵀ = diag(p) − p pᵀ, the Hessian of cross-entropy in the logits,

    H_cc = (1/N) Σ_n Σ_k g gᵀ,  g = ∂(s_kᵀ z(x_n)) / ∂w_c,

and trace, diagonal and quadratic forms of H_cc are sums of squares. No random vector, no second derivative. With the
gradient of each image's loss in the logits, p − e_label, in place of s_k, the same pass gives the empirical scores.
"""

import time
from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ehap.curvature.criteria import SCORES, at_gates, of_hessian
from ehap.curvature.factors import loss_factors, sketch_of_rest
from ehap.curvature.frozen import Frozen, frozen_copy
from ehap.curvature.layer_scores import LayerPass
from ehap.curvature.layers import ExactLayer, check_layers, exact_layer
from ehap.curvature.linearity import check_linear
from ehap.curvature.partial import Partial
from ehap.curvature.samples import Taps, by_position, output_gradients, tapped, wide_type
from ehap.errors import ArchitectureError, NumericsError
from ehap.graph.reading import EXAMPLES, check_reading, check_twin
from ehap.graph.tracing import check_readable, copied
from ehap.graph.verification import Agreement
from ehap.runtime.checkpointing import NO_CHECKPOINTS, Checkpointer
from ehap.runtime.device import precision_context
from ehap.runtime.progress import logger
from ehap.settings import Trace

CPU_CHUNK, GPU_CHUNK = 16, 128
BLOCK_BYTES = (2**29, 2**32)  # of gradients that are held at once, on a CPU and on a GPU
FP16_SCALE, LOWEST_SCALE, BACK_OFF = 2.0**8, 2.0**-16, 4.0


class State(TypedDict):
    """State of a computation: the chunks that are done, and their results."""

    done: int
    rows: dict[str, Tensor]
    sketch: dict[str, Tensor]
    seconds: float


class Exact:
    """A running computation of exact channel curvature; see the module's text.

    Args:
        model: Any mode; it is not changed.
        images: (N, 3, H, W), normalised.
        labels: (N,) int64; only fisher and taylor depend on them, the Hessian of cross-entropy in the logits does not.
        settings: criteria, precision, micro_batch (images a chunk), eigen_tolerance, approximate.
        seed: Seed of the sketch, where eigen_tolerance leaves something to it.
        shard: Number of the share of chunks to compute, from 0 on, and the number of shares.
        trusted: Whether the network and its traced graph were compared before.
        projection: (Q, K), maps the K logits to those of the loss; the logits themselves where left out.

    Raises:
        ArchitectureError: The network is not linear in each layer's weights, and approximate is "no".
        MismatchError: The traced graph and the network give different outputs.

    Attributes:
        reading: The agreement of the network and its traced graph on the first images, where compared.
        ends: Path of a layer to path of the BatchNorm whose output its gates multiply; of layers with one.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        settings: Trace,
        seed: int,
        shard: tuple[int, int] = (0, 1),
        trusted: bool = False,
        projection: Tensor | None = None,
    ) -> None:
        self._done, self._before, self._began = 0, 0.0, time.perf_counter()
        self._settings, self._seed, self._images, self._labels = settings, seed, images, labels
        self._projection = projection
        self._hessian = of_hessian(settings.criteria)
        self._own_loss = len(self._hessian) < len(settings.criteria)
        self._sketched = self._hessian if settings.eigen_tolerance else []
        frozen, self.reading = self._read(model, trusted)
        self._model, self.ends = frozen.network.requires_grad_(False), frozen.ends
        self._layers = {name: exact_layer(layer) for name, layer in frozen.layers.items()}
        self._size = settings.micro_batch or (CPU_CHUNK if images.device.type == "cpu" else GPU_CHUNK)
        self.chunks = -(-len(images) // self._size)
        bounds = [self.chunks * number // shard[1] for number in (shard[0], shard[0] + 1)]
        self._numbers = range(*bounds)
        self._unused: set[str] = set()
        self._channels, channels = {}, 0
        for name, layer in self._layers.items():
            self._channels[name] = slice(channels, channels + len(layer.factor))
            channels += len(layer.factor)
        empty = torch.zeros(len(self._numbers), channels, device=images.device, dtype=torch.float64)
        self._rows = {criterion: empty.clone() for criterion in settings.criteria}
        self._sketch = {criterion: empty.unsqueeze(1).repeat(1, 2, 1) for criterion in self._sketched}

    def _read(self, model: nn.Module, trusted: bool) -> tuple[Frozen, Agreement | None]:
        """Return a private copy of the network, and how well it agrees with the network."""
        settings, examples = self._settings, self._images[:EXAMPLES]
        check_readable(model)
        quiet = copied(model).eval()
        graph_module = check_linear(quiet) if settings.approximate == "no" else None
        frozen = frozen_copy(quiet, channels_last=False)
        check_layers(quiet)
        gates = at_gates(settings.criteria)
        if gates and frozen.loose_norms:
            raise ArchitectureError(
                f"{frozen.loose_norms[0]}: criterion {gates[0]} expects every BatchNorm directly behind a convolution "
                "of its own, and a plain one of torch.nn; use trace, diagonal or block."
            )
        if trusted:
            return frozen, None
        reading = check_twin(model, frozen.network, examples)
        return frozen, reading if graph_module is None else check_reading(model, examples, graph_module)

    @property
    def chunks_to_do(self) -> int:
        """Chunks of images that are still to do."""
        return len(self._numbers) - self._done

    @property
    def seconds(self) -> float:
        """Time spent, in this process and before it was cut off."""
        return self._before + time.perf_counter() - self._began

    def run(self, checkpointer: Checkpointer = NO_CHECKPOINTS) -> Iterator[None]:
        """Do the chunks that are still to do, one at a time."""
        for row in range(self._done, len(self._numbers)):
            scale = FP16_SCALE if self._settings.precision == "fp16" else 1.0
            # Every chunk finds its own scale, so that sharing chunks out changes nothing.
            while not self._add(row, scale) and scale > LOWEST_SCALE and self._settings.precision == "fp16":
                scale /= BACK_OFF
            self._done += 1
            if checkpointer.due():
                checkpointer.write(self.state())
            yield

    def _add(self, row: int, scale: float) -> bool:
        """Fill a row with the share of a chunk of images in every score; return whether it is finite.

        Args:
            row: Among the rows of this shard.
            scale: Factor on the gradients while they are in half precision.
        """
        settings, number = self._settings, self._numbers[row]
        chunk = slice(number * self._size, (number + 1) * self._size)
        images = self._images[chunk]
        modules = {name: layer.module for name, layer in self._layers.items()}
        with torch.enable_grad(), tapped(modules) as taps, precision_context(settings.precision, images.device):
            logits = self._model(images.clone())  # a network may overwrite its input
        if not logits.isfinite().all():
            raise NumericsError("the logits hold NaN or Inf; use precision bf16 or fp32, or check the network.")
        columns = self._columns(logits.detach().to(wide_type(logits)), self._labels[chunk], number)
        columns = (scale * columns).to(logits.dtype)
        outputs = [output for each in taps.outputs.values() for output in each]
        blocks = self._blocks(columns, outputs)
        for rows in self._rows.values():
            rows[row] = 0  # of a try at a higher scale
        for block in blocks:
            last = block is blocks[-1]
            gradients = output_gradients(logits, outputs, block, keep=not last)
            self._add_columns(row, scale, taps, gradients, images, last)
        return all(bool(rows[row].isfinite().all()) for rows in self._rows.values())

    def _blocks(self, columns: Tensor, outputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the columns in blocks whose gradients fit into memory; a sketch and empirical ones in the last."""
        each = sum(output.numel() * output.element_size() for output in outputs)
        most = BLOCK_BYTES[self._images.device.type == "cuda"]
        size = max(1, most // max(1, each))
        special = bool(self._sketched) + self._own_loss
        count = len(columns) - special
        firsts = list(range(0, max(1, count), size))
        return [columns[first : first + size if first != firsts[-1] else None] for first in firsts]

    def _add_columns(
        self, row: int, scale: float, taps: Taps, found_gradients: list[Sequence[Tensor]], images: Tensor, last: bool
    ) -> None:
        """Add a block of columns to a row; the last block holds the sketch and the column of the own loss."""
        gradients = iter(found_gradients)
        for name, layer in self._layers.items():
            deltas = [next(gradients) for _ in taps.outputs[name]]  # one for each time that the layer is called
            if not deltas:
                self._check_unused(name, layer, images)
                continue
            if any(len(values) != len(images) for values in (*taps.inputs[name], *taps.outputs[name])):
                raise ArchitectureError(f"{name}: expected one input and output for each image, in dimension 0.")
            seen = self._seen(layer, taps.inputs[name], taps.outputs[name], deltas, last)
            channels = self._channels[name]
            for criterion in self._settings.criteria if last else self._hessian:
                each = SCORES[criterion].score(seen) / scale ** SCORES[criterion].degree / len(self._images)
                self._rows[criterion][row, channels] += each.sum((0, 1))
                if last and criterion in self._sketched:
                    moments = torch.stack([each[-1].sum(0), each[-1].square().sum(0)])
                    self._sketch[criterion][row, :, channels] = moments

    def _check_unused(self, name: str, layer: ExactLayer, images: Tensor) -> None:
        """Raise if a layer that is never called has a part in the logits all the same, by its weight alone."""
        if name in self._unused:
            return
        weight = layer.geometry.weight
        with torch.enable_grad():
            weight.requires_grad_()
            logits = self._model(images[:1])
            used = logits.requires_grad and torch.autograd.grad(logits.sum(), weight, allow_unused=True)[0] is not None
            weight.requires_grad_(False)
        if used:
            raise ArchitectureError(f"{name}: its weight is used outside the layer; take estimator hutchinson.")
        self._unused.add(name)

    def _columns(self, logits: Tensor, labels: Tensor, number: int) -> Tensor:
        """Return the directions of the logits to differentiate along, (K, N, C).

        First come columns of the loss's Hessian in the logits; the last one may be a sketch of the rest. Where
        wanted, the gradient of each image's own loss follows.
        """
        found = []
        if self._projection is not None:
            logits = logits @ self._projection.T
        if self._hessian:
            found.append(loss_factors(logits, self._settings.eigen_tolerance))
        if self._sketched:
            words = numpy.random.SeedSequence((self._seed, number)).generate_state(2)
            generator = torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
            signs = torch.randint(2, logits.shape, generator=generator).to(logits) * 2 - 1
            found.append(sketch_of_rest(logits, found[0], signs).unsqueeze(0))
        if self._own_loss:
            found.append((logits.softmax(1) - one_hot(labels, logits.shape[1])).unsqueeze(0))
        columns = torch.cat(found)
        return columns if self._projection is None else columns @ self._projection

    def _seen(
        self, layer: ExactLayer, inputs: list[Tensor], outputs: list[Tensor], deltas: list[Sequence[Tensor]], last: bool
    ) -> LayerPass:
        """Return the tensors behind a layer's scores; the last block of columns ends with that of the own loss."""
        delta = torch.cat([torch.stack([by_position(layer.geometry, one) for one in each]) for each in deltas], dim=3)
        return LayerPass(layer, delta[:-1] if self._own_loss and last else delta, delta[-1:], inputs, outputs)

    def state(self) -> State:
        """Return the state from which the computation can continue."""
        return State(done=self._done, rows=self._rows, sketch=self._sketch, seconds=self.seconds)

    def restore(self, state: State) -> None:
        """Go to where ``state`` was taken."""
        self._done = state["done"]
        self._rows = {name: rows.to(self._images.device) for name, rows in state["rows"].items()}
        self._sketch = {name: sketch.to(self._images.device) for name, sketch in state["sketch"].items()}
        self._before, self._began = state["seconds"], time.perf_counter()
        logger.info("going on after %d chunks of images", self._done)

    def result(self) -> Partial:
        """Return the finished rows."""
        rows = {name: values.cpu() for name, values in self._rows.items()}
        sketch = {name: values.cpu() for name, values in self._sketch.items()}
        return Partial(self._numbers.start, self.chunks, rows, sketch, seconds=self.seconds)
