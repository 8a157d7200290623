"""``python -m ehap.session.costs``: time and memory of Hessian-vector products of one model (Tables III and IV).

Three forms are measured in each precision: the published one, ours, and ours with regular convolutions in the double
backward. Each has a profile of its double backward.
"""

import argparse
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from benchmarks import trace_ways as benchmark
from ehap.curvature.hutchinson import Hutchinson
from ehap.curvature.regular import regular_samples
from ehap.data import DATASETS, hessian_batch, read_dataset
from ehap.errors import DataError
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.records import Identity, Value, write_record
from ehap.runtime.device import choose_device
from ehap.runtime.files import write_atomically
from ehap.session.profiles import profiled
from ehap.settings import Trace
from ehap.settings.checks import Precision

FORMS = ("ours", "published", "regular")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
DATASET = "cifar100"
SCALE = 256.0  # of the loss, in the paper's Algorithm 2


@dataclass(frozen=True)
class Case:
    """A network with its Hessian batch on a device, and the number of products to measure."""

    model: str
    network: nn.Module
    images: Tensor
    labels: Tensor
    products: int
    pictures: str

    @property
    def device(self) -> torch.device:
        """Device of the images and the network."""
        return self.images.device


def case(model: str, batch: int, products: int, device: torch.device, data: Path | None) -> Case:
    """Return a network with new weights and BatchNorm statistics of its own, and a Hessian batch.

    Without these statistics activations would grow from block to block. The images come from CIFAR-100 if ``data``
    holds it; else they are random ones of the same shape, with the same time and memory.
    """
    info = DATASETS[DATASET]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, *info.input_shape, generator=generator)
    labels = torch.randint(info.classes, (batch,), generator=generator)
    pictures = "random"
    if data is not None:
        try:
            images, labels = hessian_batch(*read_dataset(DATASET, data, download=False)[0], info, batch, seed=0)
            pictures = DATASET
        except DataError as error:
            print(f"random images: {error}", flush=True)
    network = build_model(model, info.classes, seed=0).to(device)
    images = images.to(device)
    update_bn([images], network)
    return Case(model, network.eval(), images, labels.to(device), products, pictures)


def settings_of(precision: Precision, samples: int) -> dict[str, object]:
    """Return fields of Trace for our traces: Algorithm 1 in FP32, Algorithm 2 in half precision."""
    return {"samples": samples, "precision": precision, "scale": 1.0 if precision == "fp32" else SCALE}


def measure(what: Case, form: str, precision: Precision, record: Path, code: str) -> None:
    """Write the record of one form in one precision."""
    identity = Identity(
        stage="cost", dataset=what.pictures, model=what.model, method=form, curvature=precision, code=code
    )
    batch = what.network, what.images, what.labels
    settings = settings_of(precision, what.products)
    if form == "ours":
        cost = benchmark.ours(*batch, settings, perf_counter)
    else:
        contender = benchmark.published if form == "published" else benchmark.regular
        cost = contender(*batch, what.products, perf_counter, precision)
    each = cost.seconds / cost.samples if cost.each is None else cost.each
    values = {
        "time_per_product": Value(each, "s"),
        "seconds": Value(cost.seconds, "s"),
        "products": Value(cost.samples, "products"),
        "hessian_batch": Value(len(what.images), "images"),
        "peak_memory": Value(cost.peak_memory_bytes, "bytes"),
    }
    write_record(record, identity, values, Trace(batch_size=len(what.images), **settings), what.device)  # type: ignore[arg-type]
    print(f"{what.model} {precision} {form}: {1e3 * each:.1f} ms, {cost.peak_memory_bytes / 1e6:.0f} MB", flush=True)


def products_of(what: Case, form: str, precision: Precision, samples: int) -> Iterator[None]:
    """Return steps of one form; from the second on, each is exactly one product."""
    if form != "ours":
        sampler = benchmark.published_samples if form == "published" else regular_samples
        weights = layer_weights(what.network)
        totals = {name: torch.zeros(len(weight), dtype=torch.float64) for name, weight in weights.items()}
        return sampler(what.network, what.images, what.labels, totals, samples - 1, precision=precision)
    settings = Trace(
        batch_size=len(what.images),
        micro_batch=len(what.images),
        **settings_of(precision, samples),  # type: ignore[arg-type]
    )
    return Hutchinson(what.network, what.images, what.labels, settings, seed=0).run()


def profile(what: Case, form: str, precision: Precision, folder: Path) -> None:
    """Write the profile of a product, by operator and by kernel."""
    found = profiled(lambda samples: products_of(what, form, precision, samples), what.device)
    for ending, text in found.items():
        write_atomically(folder / f"{form}_{ending}", text.encode())


def run(what: Case, precisions: Sequence[Precision], folder: Path, code: str) -> list[str]:
    """Measure, then profile; return the failed parts. A failure leaves its traceback beside the records."""
    failed = []
    for task in (measure, profile):
        for precision in precisions:
            for form in FORMS:
                place = folder / what.model / precision
                try:
                    if task is measure:
                        measure(what, form, precision, place / f"{form}.json", code)
                    else:
                        profile(what, form, precision, place)
                except Exception as error:  # the other measurements go on
                    failed.append(f"{task.__name__} {precision} {form}: {error}")
                    write_atomically(place / f"{form}_{task.__name__}_failed.txt", traceback.format_exc().encode())
                if what.device.type == "cuda":
                    torch.cuda.empty_cache()
    return failed


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--products", type=int, required=True)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--code", default="")
    args = parser.parse_args()
    what = case(args.model, args.batch, args.products, choose_device(args.device, args.threads), args.data)
    failed = run(what, args.precisions, args.folder, args.code)
    if failed:
        sys.exit(
            f"{len(failed)} of {2 * len(FORMS) * len(args.precisions)} failed, the first: {' '.join(failed[0].split())}"
        )


if __name__ == "__main__":
    main()
