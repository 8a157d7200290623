"""The published code's estimate of traces: weights of the samples, batch, and timed region."""

from itertools import count

from ehap.report.blocks import Cell, Finding, Row, Table
from ehap.report.cells import sourced
from ehap.report.material import Material
from ehap.results.format import network_name

FALL, SCALE = 2.0**-8, 2.0**8
SMALLEST_HALF, SMALLEST_SINGLE = 2.0**-24, 2.0**-149
"""The smallest numbers above zero that FP16 and FP32 hold."""
SAMPLES = 300
CIFAR_IMAGES = 50_000
RESNET32_CHANNELS = 1242


def sample_weights(samples: int) -> list[float]:
    """Return the share that each sample has in the published mean: sample i weighs 2^(8 − 8i)."""
    weights = [FALL**number for number in range(samples)]
    return [weight / sum(weights) for weight in weights]


def sample_weights_finding(material: Material) -> Finding:
    """Return the weights of the samples in the published estimate."""
    shares = sample_weights(SAMPLES)
    worth = 1 / sum(share**2 for share in shares)
    lost = next(number for number in count(1) if SCALE * FALL**number <= SMALLEST_HALF)
    gone = next(number for number in count(1) if SCALE * FALL**number < SMALLEST_SINGLE)
    said = (
        "The scale of the second backward pass is divided by 2⁸ inside the sampling loop, and samples are never "
        "divided by it. So sample i weighs 2^(8 − 8i). "
        f"From sample {lost} on the scale is no more than the smallest number that FP16 holds. "
        f"From sample {gone} on it is zero in FP32, too."
    )
    here = _fidelity(material)
    return Finding(
        "The 300 samples are one",
        said,
        f"{100 * shares[0]:.1f} %",
        f"of the weight is the first sample's; the mean of {SAMPLES} is worth {worth:.3f} samples. {here}",
    )


def _fidelity(material: Material) -> str:
    """Say how far few samples are from the exact ranking, by the first benchmark that has judged it."""
    for path, bench in material.bench("bench_trace").items():
        judged = bench.dropna(subset=["overlap"])
        judged = judged[judged["contender"].str.startswith("ours fp32")]
        if len(judged):
            pairs = zip(judged["samples_run"], judged["overlap"], strict=True)
            shares = ", ".join(f"{int(samples)} samples share {100 * overlap:.0f} %" for samples, overlap in pairs)
            return f"Of the channels that exact traces keep at 10 % of the parameters, {shares} ({path})."
    return "How far few samples are from exact traces, make bench-trace measures."


def hessian_batch_finding(material: Material) -> Finding:
    """Return the number of images that the published loop takes, for this run's data, too."""
    traces = material.settings[(material.settings["stage"] == "trace") & (material.settings["setting"] == "batch_size")]
    rows = []
    keys = ["dataset", "model", "curvature", "value"]
    for dataset, model, curvature, size in traces[keys].drop_duplicates().itertuples(index=False, name=None):
        images = material.value("prepare", "train_images", dataset=dataset)
        used = material.value("trace", "hessian_batch", dataset=dataset, model=model, curvature=curvature)
        if images.empty or used.empty:
            continue
        total = int(images.max())
        theirs = total % int(size) or int(size)
        traced = material.sources(stage="trace", dataset=dataset, model=model, curvature=curvature)
        prepared = material.sources(stage="prepare", dataset=dataset)
        cells = (
            Cell(network_name(dataset, model)),
            Cell(str(curvature)),
            Cell(f"{total:,}", total, prepared),
            Cell(f"{int(size):,}", int(size)),
            Cell(f"{theirs:,}", theirs, (*prepared, *traced)),
            Cell(f"{int(used.max()):,}", int(used.max())),
        )
        rows.append(Row(sourced(cells, traced), str(dataset), str(model)))
    columns = ("network", "curvature", "#training images", "#batch asked for", "#published code", "#this run")
    return Finding(
        "The Hessian batch is the last one",
        "The loop that picks the batch has no break. So the loader's last, partial batch is used.",
        f"{CIFAR_IMAGES % 512} of 512",
        f"images of CIFAR (50,000 mod 512), and {CIFAR_IMAGES % 256} of 256 for WRN-28-8 (50,000 mod 256).",
        Table("published-batch", "Images in the Hessian batch", columns, rows) if rows else None,
    )


def items_finding(material: Material) -> Finding:
    """Return the number of times that the published loops wait for the device, and their cost."""
    channels = material.value("prune", "channels")
    ranked = int(channels.max()) if len(channels) else RESNET32_CHANNELS
    whose = "the largest network of this run" if len(channels) else "ResNet-32 with ten classes"
    said = ""
    benches = material.bench("bench_trace").items()
    for path, bench in sorted(benches, key=lambda pair: pair[1]["overlap"].isna().all()):  # trained networks first
        first = bench[bench["model"] == bench["model"].iloc[0]].set_index("contender")["seconds"]
        if {"published", "plain", "ours fp32"} <= set(first.index):
            without, ours = first["published"] / first["plain"], first["published"] / first["ours fp32"]
            said = (
                f" On a CPU nothing waits. There the loop takes {without:.2f} times as long as the same estimate "
                f"without it, and {ours:.1f} times as long as ours ({path})."
            )
            break
    return Finding(
        "Python loops are timed, too",
        "The region that Tables III and IV time has a Python loop over channels. In every sample it calls .item() for "
        "each channel; each call waits for the device.",
        f"{ranked * SAMPLES:,}",
        f"waits for {SAMPLES} samples and the {ranked:,} channels of {whose}; ours waits once, at the end.{said}",
    )
