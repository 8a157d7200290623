"""Latency side by side: {dense, pruned, plain sums, plain sums of aligned widths} × {FP32, INT8} × engines.

All contenders take turns in one process; ratios are those of medians over the rounds. For each INT8 network stands what
an audit of the executed graph found, and how many bytes a parameter its packed file takes. With --onnx the contenders
are files that the deploy stage has written. With --sums each INT8 network is timed in two sessions of ONNX Runtime: a
plain one, and one with the option for exact sums, which every session had up to commit 8428bc2.
"""

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas
import torch
from torch import Tensor, nn

from benchmarks.results import write_benchmark
from ehap.data import DATASETS
from ehap.engines.deployable import Widening, deployable
from ehap.engines.exact_sums import OPTION, how_exact
from ehap.engines.inductor import InductorNetwork, frozen
from ehap.engines.onnxruntime import OnnxNetwork, audit, exported, left_in_float, to_onnx
from ehap.engines.onnxruntime import in_integers as in_integer_kernels
from ehap.errors import PlanError
from ehap.evaluation import flops, parameters
from ehap.graph.folding import fuse_norms
from ehap.graph.layers import layer_weights
from ehap.latency.turns import each_turn, in_turns, noise
from ehap.models import INPUT_SHAPE, build_model
from ehap.pruning import Planner, magnitude, mask_, prune
from ehap.pruning.padding import expanded
from ehap.quantization import SimulatedNetwork, called_layers, pack_on_noise, to_tensors
from ehap.records import read_record, read_tensors, write_tensors
from ehap.results.figures import svg
from ehap.results.figures.latency import latency_by_batch
from ehap.runtime.device import device_name, instruction_sets, slug
from ehap.runtime.files import write_atomically
from ehap.settings import Prune
from ehap.settings.names import MODELS

ALIGNED = 16
PLANS = {"": 1, f"planned in {ALIGNED}s, ": ALIGNED}
SUMS = {"plain sums": 1, "plain sums, aligned": ALIGNED}
NETWORKS = ("dense", *(plan + form for plan in PLANS for form in ("pruned", *SUMS)))
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--models", nargs="+", choices=MODELS, default=["resnet32", "resnet56", "wrn28_8"])
parser.add_argument("--checkpoint", type=Path, help="a trained network, as pretrain leaves it; else new weights")
parser.add_argument("--onnx", nargs="+", type=Path, default=[], help="deploy/…/model.onnx: time these instead")
parser.add_argument("--sums", type=int, default=0, metavar="IMAGES", help="compare sessions, over so many images")
parser.add_argument("--params", type=float, default=0.1, help="share of the parameters that is kept, by L2 with lamp")
parser.add_argument("--flops", type=float, help="share of the FLOPs that is kept at most, too")
parser.add_argument("--batches", nargs="+", type=int, default=[1, 64])
parser.add_argument(
    "--engines", nargs="+", choices=["eager", "inductor", "onnxruntime"], default=["eager", "inductor", "onnxruntime"]
)
parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="dense is always one of them")
parser.add_argument("--rounds", type=int, default=15)
parser.add_argument("--threads", type=int, default=1, help="0: all")
parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: of one thread, on a busy machine")
parser.add_argument("--folder", type=Path, default=Path("measurements"))
parser.add_argument(
    "--name", help="of the files in the folder; bench_latency, with --onnx bench_deployed, with --sums bench_sums"
)
args = parser.parse_args()
args.name = args.name or ("bench_deployed" if args.onnx else "bench_sums" if args.sums else "bench_latency")
if (args.onnx or args.sums) and args.name.startswith("bench_latency"):
    parser.error("expected another name with --onnx or --sums: the page of results reads bench_latency*.csv.")
if args.onnx and args.sums:
    parser.error("expected --onnx or --sums, got both; --sums makes its networks itself.")
threads = args.threads or len(os.sched_getaffinity(0))
torch.set_num_threads(threads)
if args.clock == "cpu" and threads > 1:
    parser.error(f"--clock cpu adds up the time of all threads, got {threads}; say --threads 1.")
clock = time.process_time if args.clock == "cpu" else time.perf_counter
Call = Callable[[Tensor], Tensor]


def networks(model: str) -> dict[str, tuple[nn.Module, dict[str, list[int]], dict[str, list[int]]]]:
    """Return name → (network in FP32, what is kept, what its layers are widened to)."""
    dense = build_model(model, 10, seed=0).eval()
    if args.checkpoint:
        dense.load_state_dict(read_tensors(args.checkpoint)[0])
    weights = layer_weights(dense)
    every = {name: list(range(len(weight))) for name, weight in weights.items()}
    found = {"dense": (dense, every, every)}
    planner = Planner(dense, INPUT_SHAPE)
    for prefix, round_to in PLANS.items():
        if not {f"{prefix}{form}" for form in ("pruned", *SUMS)} & set(args.networks):
            continue
        chosen = Prune(criterion="magnitude", normalise="lamp", params=args.params, flops=args.flops, round_to=round_to)
        try:
            kept = planner(magnitude(weights), chosen).kept
        except PlanError as error:  # thin networks have no such plan
            print(f"{model}, {prefix}left out: {error}", file=sys.stderr)
            left_out.add(f"{model}, {prefix}".strip(", "))
            continue
        found[f"{prefix}pruned"] = prune(dense, kept).eval(), kept, kept
        for label, width in SUMS.items():
            wide = expanded(dense, kept, width)
            masked = build_model(model, 10)
            masked.load_state_dict(dense.state_dict())
            mask_(masked, kept)
            found[f"{prefix}{label}"] = prune(masked, wide).eval(), kept, wide
    return {name: each for name, each in found.items() if name == "dense" or name in args.networks}


def in_float(network: nn.Module, engine: str, images: Tensor) -> Call:
    """Return a network in FP32 on an engine, compiled for such images."""
    fused = fuse_norms(network)
    if engine == "eager":
        return fused
    if engine == "inductor":
        compiled: Call = torch.compile(fused, dynamic=False)
        with frozen():
            compiled(images)
        return compiled
    return OnnxNetwork(exported(fused, INPUT_SHAPE).SerializeToString(), threads)


def quantized(
    dense: nn.Module, kept: dict[str, list[int]], wide: dict[str, list[int]]
) -> tuple[SimulatedNetwork, dict[str, object]]:
    """Return a network in INT8, and the size of its file."""
    small = prune(dense, kept).eval()
    compact, settings = pack_on_noise(small, INPUT_SHAPE, DATASETS["cifar10"])
    with TemporaryDirectory() as scratch:
        bits = dict.fromkeys(called_layers(small), settings.bits)
        write_tensors(Path(scratch) / "packed", to_tensors(compact, bits), {"kept": kept})
        size = (Path(scratch) / "packed").stat().st_size
    about: dict[str, object] = {"packed_bytes_per_parameter": round(size / parameters(small), 3)}
    return deployable(compact, Widening(dense, kept, wide), settings, INPUT_SHAPE), about


def in_integers(
    dense: nn.Module, kept: dict[str, list[int]], wide: dict[str, list[int]], engine: str, images: Tensor
) -> tuple[Call, dict[str, object]]:
    """Return a network in INT8 on an engine, and its audit."""
    network, about = quantized(dense, kept, wide)
    if engine == "inductor":
        compiled = InductorNetwork(network, images)
        return compiled, {**about, "integer_operators": compiled.integer_operators}
    content = to_onnx(network, INPUT_SHAPE)
    operators = audit(content)
    about |= {
        "integer_operators": in_integer_kernels(operators),
        "left_in_float": sum(left_in_float(operators).values()),
    }
    return OnnxNetwork(content, threads), about


def measured_files(batch: int) -> list[dict[str, object]]:
    """Return a row for every ONNX file, with its accuracy from the record beside it."""
    images = noise(batch, INPUT_SHAPE)
    contents = {path: path.read_bytes() for path in args.onnx}
    medians = in_turns(
        {path: OnnxNetwork(content, threads) for path, content in contents.items()}, images, args.rounds, clock
    )
    slowest = max(medians.values())
    rows: list[dict[str, object]] = []
    for path, milliseconds in medians.items():
        record = read_record(path.with_name("record.json"))
        row: dict[str, object] = {"model": record["model"], "batch": batch, "method": record["method"]}
        row |= {"scheme": record["scheme"], "exact_sums": how_exact(), "latency_ms": round(milliseconds, 3)}
        row["times_faster_than_slowest"] = round(slowest / milliseconds, 2)
        row |= {name: record["values"][name]["value"] for name in ("deployed_accuracy", "parameters")}
        rows.append(row)
    return rows


def measured(model: str, batch: int) -> list[dict[str, object]]:
    """Return a row for every contender."""
    found = networks(model)
    dense = found["dense"][0]
    images = noise(batch, INPUT_SHAPE)
    calls: dict[tuple[str, str, str], Call] = {}
    audits: dict[tuple[str, str], dict[str, object]] = {}
    for name, (network, kept, wide) in found.items():
        for engine in args.engines:
            calls[name, "FP32", engine] = in_float(network, engine, images)
            if engine != "eager" and (engine == "inductor" or "sums" in name or name == "dense"):
                calls[name, "INT8", engine], audits[name, engine] = in_integers(dense, kept, wide, engine, images)
    medians = in_turns(calls, images, args.rounds, clock)
    rows = []
    for (name, precision, engine), milliseconds in medians.items():
        network, kept, _ = found[name]
        row: dict[str, object] = {
            "model": model,
            "batch": batch,
            "engine": engine,
            "network": name,
            "precision": precision,
        }
        row |= {"threads": threads, "weights": "trained" if args.checkpoint else "new"}
        row["instructions"] = instruction_sets()
        row["exact_sums"] = how_exact() if (precision, engine) == ("INT8", "onnxruntime") else ""
        row |= {"latency_ms": round(milliseconds, 3)}
        for label, base in (("FP32", "FP32"), ("INT8", "INT8")):
            reference = medians.get(("dense", base, engine))
            row[f"times_faster_than_dense_{label}"] = None if reference is None else round(reference / milliseconds, 2)
        row |= {
            "executed_parameters": parameters(network),
            "executed_mflop": round(flops(network, INPUT_SHAPE) / 1e6, 1),
        }
        count = parameters(prune(dense, kept))
        row |= {"kept_parameters": count, "kept_parameters_percent": round(100 * count / parameters(dense), 2)}
        row |= audits.get((name, engine), {}) if precision == "INT8" else {}
        rows.append(row)
    return rows


@torch.no_grad()
def sessions(model: str, batch: int) -> list[dict[str, object]]:
    """Return a row for every INT8 network: in a plain session, in one with the option, and in FP32, all in turns."""
    found = {name: each for name, each in networks(model).items() if name == "dense" or "sums" in name}
    dense, generator = found["dense"][0], torch.Generator().manual_seed(0)
    images = torch.randn(batch, *INPUT_SHAPE, generator=generator)
    many = torch.randn(args.sums, *INPUT_SHAPE, generator=generator)
    calls: dict[tuple[str, str], Call] = {}
    for name, (network, kept, wide) in found.items():
        content = to_onnx(quantized(dense, kept, wide)[0], INPUT_SHAPE)
        calls[name, "FP32"] = in_float(network, "onnxruntime", images)
        calls[name, "plain"] = OnnxNetwork(content, threads, option=False)
        calls[name, "option"] = OnnxNetwork(content, threads, option=True)
    times = each_turn(calls, images, args.rounds, clock)
    rows = []
    for name in found:
        fp32, plain, option = (times[name, form] for form in ("FP32", "plain", "option"))
        row: dict[str, object] = {"model": model, "batch": batch, "network": name, "threads": threads}
        row |= {"instructions": instruction_sets(), "exact_sums": how_exact()}
        row |= {f"{form}_ms": round(statistics.median(times[name, form]), 3) for form in ("FP32", "plain", "option")}
        row["plain_times_as_fast_as_option"] = _ratio(option, plain)
        row["plain_times_as_fast_as_FP32"] = _ratio(fp32, plain)
        row["option_times_as_fast_as_FP32"] = _ratio(fp32, option)
        parts = [(calls[name, "plain"](part), calls[name, "option"](part)) for part in many.split(64)]
        logits = torch.cat([one for one, _ in parts])
        other = (logits != torch.cat([two for _, two in parts])).any(1)
        row |= {"images_compared": len(many), "images_with_other_bits": int(other.sum())}
        row["answers_that_differ_among_images"] = len(torch.unique(logits, dim=0))
        rows.append(row)
    return rows


def _ratio(slow: list[float], fast: list[float]) -> float:
    """Return the median over rounds of how many times as fast a call is as another."""
    return round(statistics.median(one / other for one, other in zip(slow, fast, strict=True)), 2)


rows: list[dict[str, object]] = []
left_out: set[str] = set()
folder = args.folder / slug(device_name(torch.device("cpu")))
plan = [(model, batch) for model in (["files"] if args.onnx else args.models) for batch in args.batches]
for number, (model, batch) in enumerate(plan, 1):
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows += measured_files(batch) if args.onnx else (sessions if args.sums else measured)(model, batch)
    table = pandas.DataFrame(rows)
    about = f"Milliseconds {'of CPU time ' if args.clock == 'cpu' else ''}a batch"
    about += f", medians over {args.rounds} interleaved rounds, {threads} thread(s)"
    about += f", instruction sets: {instruction_sets()}"
    if args.sums:
        about += (
            ", ratios medians over the rounds, ONNX Runtime; plain and option: INT8 in a plain session, and in one with"
        )
        about += f" {OPTION}."
    elif args.onnx:
        about += ", ONNX Runtime, accuracy (%) of all test images."
    else:
        shares = f"{100 * args.params:g} % of parameters"
        shares += f" and {100 * args.flops:g} % of FLOPs" if args.flops else ""
        about += f", BatchNorm folded, {'trained' if args.checkpoint else 'new'} weights, at most {shares} kept."
    if left_out:
        about += f" Left out, for too few parameters are to be kept: {'; '.join(sorted(left_out))}."
    left = [f"{model} with batch {batch}" for model, batch in plan[number:]]
    title = f"Latency on {device_name(torch.device('cpu'))}"
    page = write_benchmark(folder, {args.name: table}, title, about, left)
    if not (args.onnx or args.sums):
        write_atomically(folder / f"{args.name}.svg", svg(latency_by_batch(table)))
print(page)
