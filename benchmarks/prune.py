"""Pruning beside other libraries: the same trained network, the same number of parameters, the same fine-tuning."""

import argparse
import copy
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas
import torch
from torch import nn

from benchmarks.peers import PEERS, Pruner
from benchmarks.results import write_benchmark
from ehap.curvature import channel_scores
from ehap.data import DATASETS, hessian_batch, normalise
from ehap.errors import PlanError
from ehap.evaluation import accuracy, flops, parameters
from ehap.graph.channels import Kept
from ehap.graph.layers import layer_weights
from ehap.graph.layout import channels_last_
from ehap.graph.union import unions_by_matrix
from ehap.models import INPUT_SHAPE, build_model
from ehap.pruning import Planner, magnitude, prune, random_scores
from ehap.pruning.criteria import scores_from
from ehap.records import read_tensors
from ehap.repair.distillation import distill
from ehap.repair.reconstruction import reconstruct
from ehap.runtime.device import choose_device, device_name, slug, synchronize
from ehap.settings import Finetune, Prune, Reconstruct
from ehap.training import RECALIBRATION_IMAGES, fit, recalibrate_

OURS = {
    "ours, trace": {"criterion": "trace"},
    "ours, gate + lamp": {"criterion": "gate", "normalise": "lamp"},
    "ours, gate + lamp, tied": {"criterion": "gate", "normalise": "lamp", "residual": "tied"},
    "ours, L2 + lamp": {"criterion": "magnitude", "normalise": "lamp"},
    "ours, random + lamp": {"criterion": "random", "normalise": "lamp"},
}
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--checkpoint", type=Path, required=True, help="a trained network, as pretrain leaves it")
parser.add_argument("--data", type=Path, required=True, help="its images, as prepare leaves them")
parser.add_argument("--params", type=float, nargs="+", default=[0.1, 0.75], help="shares of the parameters to keep")
parser.add_argument("--pruners", nargs="+", default=[""], help="those whose names begin so; all where left out")
parser.add_argument(
    "--match", nargs="*", metavar="OURS", help="ours (whose names begin so), using up each library's budgets, too"
)
parser.add_argument("--images", type=int, default=512, help="that scores are computed on")
parser.add_argument("--epochs", type=int, default=3, help="of fine-tuning; 0: none")
parser.add_argument("--repair-images", type=int, default=0, help="repair on so many images without labels, too")
parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32", help="of fine-tuning")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
parser.add_argument("--threads", type=int, default=0, help="0: all")
parser.add_argument("--folder", type=Path, default=Path("measurements"))
parser.add_argument("--peers", type=Path, default=Path(".peers"), help="where `make bench-prune` puts the libraries")
parser.add_argument("--name", default="bench_prune")
args = parser.parse_args()
sys.path.insert(0, str(args.peers.resolve()))
device = choose_device(args.device, args.threads or len(os.sched_getaffinity(0)))
settings = Finetune(epochs=args.epochs, learning_rate=0.05, weight_decay=1e-3, precision=args.precision)

weights, metadata = read_tensors(args.checkpoint)
tensors, _ = read_tensors(args.data)
info = DATASETS[metadata["dataset"]]
dense = build_model(metadata["model"], info.classes)
dense.load_state_dict(weights)
train = tensors["train_images"].to(device), tensors["train_labels"].to(device)
test = tensors["test_images"].to(device), tensors["test_labels"].to(device)
seen = train[0][torch.randperm(len(train[0]), generator=torch.Generator().manual_seed(args.seed))[: args.repair_images]]
repair = Reconstruct(images=args.repair_images, precision=args.precision)
batch = hessian_batch(tensors["train_images"], tensors["train_labels"], info, args.images, args.seed)
teacher = copy.deepcopy(dense).to(device).eval()
dense_accuracy = accuracy(teacher, test, info)
planner, whole = Planner(dense, INPUT_SHAPE), (parameters(dense), flops(dense, INPUT_SHAPE))


def ours(name: str, share: float, of_flops: float | None = None) -> tuple[nn.Module, Kept]:
    """Return what one of our methods leaves, and its plan."""
    fill = "both" if of_flops else "first"
    chosen = Prune(params=share, flops=of_flops, fill=fill, **OURS[name])  # type: ignore[arg-type]
    if chosen.criterion == "magnitude":
        kept = planner(magnitude(layer_weights(dense)), chosen).kept
    elif chosen.criterion == "random":
        kept = planner(random_scores(layer_weights(dense), args.seed), chosen).kept
    else:
        found = channel_scores(dense, *batch, chosen.criterion)[chosen.criterion]
        kept = planner(scores_from(dense, chosen.criterion, found), chosen).kept
    return prune(dense, kept), kept


def theirs(peer: Pruner, share: float) -> tuple[nn.Module, None]:
    """Return what another library leaves."""
    images = normalise(seen, info).cpu() if args.repair_images else batch[0]
    return peer(dense, share, images), None


def without_labels(network: nn.Module, kept: Kept | None) -> dict[str, object]:
    """Return accuracy after distillation alone, and for our networks after reconstruction and after both."""
    fresh = copy.deepcopy(network)
    found: dict[str, object] = {}
    if kept is not None:
        began = time.perf_counter()
        fitted = reconstruct(teacher, network, kept, normalise(seen, info), seed=args.seed, held_out=0).network
        synchronize(device)
        seconds = time.perf_counter() - began
        found["reconstructed"] = round(accuracy(fitted, test, info), 2)
        began = time.perf_counter()
        distilled(fitted)
        synchronize(device)
        found["seconds_to_repair"] = round(seconds + time.perf_counter() - began, 1)
        found["reconstructed_and_distilled"] = round(accuracy(fitted, test, info), 2)
    distilled(fresh)
    return found | {"distilled": round(accuracy(fresh, test, info), 2)}


def distilled(network: nn.Module) -> None:
    """Train a network, in place, towards the dense one's answers on the images that a repair sees."""
    channels_last_(network)
    with unions_by_matrix(network):
        distill(teacher, network, seen, info, repair, args.seed)


def measured(share: float, name: str, pruned: Callable[[], tuple[nn.Module, Kept | None]]) -> dict[str, object]:
    """Prune, recalibrate and fine-tune; return the row of a contender."""
    began = time.perf_counter()
    try:
        network, kept = pruned()
    except PlanError as error:
        print(f"{name}, {share:g}: left out ({error})", file=sys.stderr)
        return {"params": share, "pruner": name, "note": str(error)}
    seconds = time.perf_counter() - began
    size = parameters(network), flops(network, INPUT_SHAPE)
    channels_last_(network.to(device))
    with unions_by_matrix(network):
        as_it_is = accuracy(network, test, info)
        before = {key: value.clone() for key, value in network.state_dict().items()}
        recalibrate_(network, train[0], info, RECALIBRATION_IMAGES, args.seed)
        recalibrated = accuracy(network, test, info)
        network.load_state_dict(before)
        repaired = without_labels(network, kept) if args.repair_images else {}
        network.load_state_dict(before)
        history = fit(network, train, info, settings, args.seed, partial(accuracy, test=test, info=info))
    row = {
        "params": share,
        "pruner": name,
        "parameters": size[0],
        "parameters_kept_percent": round(100 * size[0] / whole[0], 2),
        "flops": size[1],
        "flops_kept_percent": round(100 * size[1] / whole[1], 2),
        "right_after_pruning": round(as_it_is, 2),
        "recalibrated": round(recalibrated, 2),
        **repaired,
        **({"fine_tuned": round(history[-1].test_accuracy, 2)} if history else {}),
        "seconds_to_prune": round(seconds, 1),
        "note": "",
    }
    return row


folder = args.folder / slug(device_name(device))
title = f"Pruning beside other libraries: {metadata['model']} on {metadata['dataset']}, {device_name(device)}"
about = f"Dense: {dense_accuracy:.2f} %. Accuracy in % on all test images; {args.epochs} epochs of fine-tuning."
rivals = [] if args.match is None else [name for name in OURS if name.startswith(tuple(args.match or [""]))]
if args.match and not rivals:
    parser.error(f"--match: expected beginnings of {', '.join(OURS)}, got {args.match}")
if rivals:
    about += ' Rows with "as" use up the parameters and the FLOPs of that library\'s network (`fill: both`).'
rows: list[dict[str, object]] = []
pruners = [label for label in (*PEERS, *OURS) if label.startswith(tuple(args.pruners))]
plan = [(share, label) for share in args.params for label in pruners]


def add(row: dict[str, object], left: list[str]) -> None:
    """Add a row and write what there is."""
    rows.append(row)
    print(write_benchmark(folder, {args.name: pandas.DataFrame(rows)}, title, about, left))


for number, (share, label) in enumerate(plan, 1):
    pruner = partial(theirs, PEERS[label], share) if label in PEERS else partial(ours, label, share)
    row = measured(share, label, pruner)
    left = [f"{later} at {of:g}" for of, later in plan[number:]]
    to_match = rivals if label in PEERS and not row["note"] else []
    matched = [f"{name}, as {label}" for name in to_match]
    add(row, [*matched, *left])
    for done, name in enumerate(to_match, 1):
        shares = [int(str(row[size])) / of for size, of in zip(("parameters", "flops"), whole, strict=True)]
        add(measured(share, f"{name}, as {label}", partial(ours, name, *shares)), [*matched[done:], *left])
