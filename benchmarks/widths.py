"""Which widths are fast: networks whose layers all keep one share of their channels, in INT8, beside the dense one.

A ranking decides where channels stay, and with that how fast a network of so many parameters is; evenly thinned
networks show what an engine makes of widths alone, and how small a layer it still rewards. ONNX Runtime, each share as
it is and with widths padded to multiples of 16; beside the latency stands what of it convolutions and sums take.
"""

import argparse
import json
import time
import warnings
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
import pandas
import torch
from torch import Tensor, nn

from benchmarks.results import write_benchmark
from ehap.data import DATASETS
from ehap.engines.deployable import deployable, widening
from ehap.engines.exact_sums import how_exact, set_option_
from ehap.engines.onnxruntime import OnnxNetwork, exported, to_onnx
from ehap.evaluation import flops, parameters
from ehap.graph.folding import fuse_norms
from ehap.graph.layers import layer_weights
from ehap.latency.turns import in_turns, noise
from ehap.models import INPUT_SHAPE, build_model
from ehap.pruning import prune
from ehap.quantization import pack_on_noise
from ehap.runtime.device import device_name, instruction_sets, slug
from ehap.settings.names import MODELS

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--models", nargs="+", choices=MODELS, default=["resnet32", "resnet56", "wrn28_8"])
parser.add_argument(
    "--shares", nargs="+", type=float, default=[0.5, 0.316, 0.2, 0.1], help="of the channels of a layer"
)
parser.add_argument("--round-to", nargs="+", type=int, default=[1, 16])
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--rounds", type=int, default=9)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: of one thread, on a busy machine")
parser.add_argument("--folder", type=Path, default=Path("measurements"))
args = parser.parse_args()
torch.set_num_threads(args.threads)
if args.clock == "cpu" and args.threads > 1:
    parser.error(f"--clock cpu adds up the time of all threads, got {args.threads}; say --threads 1.")
clock = time.process_time if args.clock == "cpu" else time.perf_counter
Kept = dict[str, list[int]]


def evenly(dense: nn.Module, share: float) -> Kept:
    """Return the first channels of every layer; all of the classifier's, which are the classes."""
    widths = {name: len(weight) for name, weight in layer_weights(dense).items()}
    return {
        name: list(range(width if name == "fc" else max(1, round(share * width)))) for name, width in widths.items()
    }


def in_integers(dense: nn.Module, kept: Kept, round_to: int) -> bytes:
    """Return a thinned network in INT8 as an ONNX file."""
    packed, settings = pack_on_noise(prune(dense, kept).eval(), INPUT_SHAPE, DATASETS["cifar10"])
    return to_onnx(deployable(packed, widening(dense, kept, round_to), settings, INPUT_SHAPE), INPUT_SHAPE)


def times_by_operator(content: bytes, images: Tensor) -> dict[str, float]:
    """Return operator → share of the time in %, as ONNX Runtime's own profiler has it over three calls."""
    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        set_option_(options)
        options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for _ in range(3):
            session.run(None, {session.get_inputs()[0].name: images.numpy()})
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    return {name: 100 * time / spent.total() for name, time in spent.items()}


def measured(model: str) -> list[dict[str, object]]:
    """Return a row for the dense network in FP32, in INT8 and for every share."""
    dense = build_model(model, 10, seed=0).eval()
    images = noise(args.batch, INPUT_SHAPE)
    files = {
        (share, round_to): in_integers(dense, evenly(dense, share), round_to)
        for share in (1.0, *args.shares)
        for round_to in (args.round_to if share < 1 else [1])
    }
    fp32 = exported(fuse_norms(dense), INPUT_SHAPE).SerializeToString()
    calls = {None: OnnxNetwork(fp32, args.threads)}
    medians = in_turns(
        calls | {key: OnnxNetwork(file, args.threads) for key, file in files.items()}, images, args.rounds, clock
    )
    rows = []
    for key, milliseconds in medians.items():
        share, round_to = key or (1.0, 1)
        small = prune(dense, evenly(dense, share))
        row: dict[str, object] = {
            "model": model,
            "precision": "INT8" if key else "FP32",
            "channels_percent": 100 * share,
        }
        row |= {"round_to": round_to, "parameters_percent": round(100 * parameters(small) / parameters(dense), 2)}
        row["flops_percent"] = round(100 * flops(small, INPUT_SHAPE) / flops(dense, INPUT_SHAPE), 2)
        row["exact_sums"] = how_exact()
        row["latency_ms"] = round(milliseconds, 3)
        row["times_faster_than_dense_FP32"] = round(medians[None] / milliseconds, 2)
        row["times_faster_than_dense_INT8"] = round(medians[1.0, 1] / milliseconds, 2)
        spent = times_by_operator(files[key], images) if key else {}
        for name in ("QLinearConv", "QLinearAdd"):
            row[f"{name}_percent"] = round(spent[name], 1) if key else None
        rows.append(row)
    return rows


rows: list[dict[str, object]] = []
device = device_name(torch.device("cpu"))
folder = args.folder / slug(device)
for number, model in enumerate(args.models, 1):
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows += measured(model)
    about = (
        f"Milliseconds {'of CPU time ' if args.clock == 'cpu' else ''}for {args.batch} images, medians over "
        f"{args.rounds} interleaved rounds, {args.threads} thread(s)"
    )
    about += f", ONNX Runtime, exact sums: {how_exact()}, BatchNorm folded, new weights"
    about += f"; instruction sets: {instruction_sets()}."
    tables = {"bench_widths": pandas.DataFrame(rows)}
    title = f"Latency of evenly thinned networks on {device}"
    page = write_benchmark(folder, tables, title, about, args.models[number:])
print(page)
