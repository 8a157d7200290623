"""What the published code computes, item by item, each with a number of this run or from the arithmetic.

The code is JackkChong/Resource-Efficient-Neural-Networks-Using-Hessian-Based-Pruning on GitHub, commit 4428de7.
"""

from collections.abc import Sequence
from itertools import count
from math import floor, isnan

import pandas

from ehap.report.blocks import Cell, Finding, Row, Section, Table
from ehap.report.material import Material
from ehap.report.networks import Network
from ehap.report.text import DATASET_NAMES, MODEL_NAMES, number

FALL = 2.0**-8
SMALLEST_HALF, SMALLEST_SINGLE = 2.0**-24, 2.0**-149
"""The smallest numbers above zero that FP16 and FP32 hold."""
SAMPLES = 300
CIFAR_IMAGES = 50_000
FLOAT_BYTES = 4


def published_section(material: Material, networks: Sequence[Network]) -> Section:
    """Return what the published code does instead, with what it comes to here."""
    lead = (
        "The paper and the code published with it differ in eight places. Each stands here with what it comes to, in "
        "this run's numbers where it has them. The workflow computes the same only where a configuration says "
        "as_published."
    )
    findings = [
        _sample_weights(material),
        _hessian_batch(material),
        _items(material),
        _unions(material),
        _sizes(networks),
        _best_epoch(material),
        _rule(material),
        _printed(material),
    ]
    return Section("published", "What the published code computes", lead, findings)


def sample_weights(samples: int) -> list[float]:
    """Return the share that each sample has in the published mean: sample i weighs 2^(8 − 8i)."""
    weights = [FALL**number for number in range(samples)]
    return [weight / sum(weights) for weight in weights]


def _sample_weights(material: Material) -> Finding:
    shares = sample_weights(SAMPLES)
    worth = 1 / sum(share**2 for share in shares)
    scales = (2.0**8 * FALL**number for number in count(1))
    gone = next(number for number, scale in enumerate(scales, 1) if scale < SMALLEST_SINGLE)
    scales = (2.0**8 * FALL**number for number in count(1))
    lost = next(number for number, scale in enumerate(scales, 1) if scale <= SMALLEST_HALF)
    said = (
        "The scale of the second backward pass is divided by 2⁸ inside the sampling loop, and samples are never divided "
        f"by it. So sample i weighs 2^(8 − 8i): from sample {lost} on the scale is no more than the smallest number that "
        f"FP16 holds, from sample {gone} on it is zero in FP32, too."
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
            points = ", ".join(
                f"{int(row['samples_run'])} samples share {100 * row['overlap']:.0f} %"
                for row in judged.to_dict("records")
            )
            return f"Of the channels that exact traces keep at 10 % of the parameters, {points} ({path})."
    return "How far few samples are from exact traces, make bench-trace measures."


def _hessian_batch(material: Material) -> Finding:
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
        sources = material.sources(stage="trace", dataset=dataset, model=model, curvature=curvature)
        cells = (
            Cell(_short(dataset, model)),
            Cell(str(curvature)),
            Cell(f"{total:,}", total),
            Cell(f"{int(size):,}", int(size)),
            Cell(f"{theirs:,}", theirs),
            Cell(f"{int(used.max()):,}", int(used.max()), sources),
        )
        rows.append(Row(cells, str(dataset), str(model)))
    columns = ("network", "curvature", "#training images", "#batch asked for", "#published code", "#this run")
    return Finding(
        "The Hessian batch is the last one",
        "The loop that picks the batch has no break, so what counts is the last, partial batch of the loader.",
        f"{CIFAR_IMAGES % 512} of 512",
        f"images of CIFAR (50,000 mod 512), and {CIFAR_IMAGES % 256} of 256 for WRN-28-8 (50,000 mod 256).",
        Table("published-batch", "Images in the Hessian batch", columns, rows) if rows else None,
    )


def _items(material: Material) -> Finding:
    channels = material.value("prune", "channels")
    ranked = int(channels.max()) if len(channels) else 1242
    whose = "the largest network of this run" if len(channels) else "ResNet-32 with ten classes"
    said = ""
    benches = material.bench("bench_trace").items()
    for path, bench in sorted(benches, key=lambda pair: pair[1]["overlap"].isna().all()):  # trained networks first
        first = bench[bench["model"] == bench["model"].iloc[0]].set_index("contender")["seconds"]
        if {"published", "plain", "ours fp32"} <= set(first.index):
            said = (
                f" On a CPU, where nothing is waited for, that form takes {first['published'] / first['plain']:.2f} times "
                f"what it takes without, and {first['published'] / first['ours fp32']:.1f} times ours ({path})."
            )
            break
    return Finding(
        "Python loops are timed, too",
        "The region that Tables III and IV time has a Python loop over channels with one .item() for each, a wait for "
        "the device, in every sample.",
        f"{ranked * SAMPLES:,}",
        f"waits for {SAMPLES} samples and the {ranked:,} channels of {whose}; ours waits once, at the end.{said}",
    )


def _unions(material: Material) -> Finding:
    rows = []
    for plan in material.plans:
        share = 100 * plan.out_of_order / plan.union_channels if plan.union_channels else 0.0
        where = {"dataset": plan.dataset, "model": plan.model, "method": plan.method, "seed": plan.seed}
        cells = (
            Cell(_short(plan.dataset, plan.model)),
            Cell(plan.method),
            Cell(str(plan.seed), plan.seed),
            Cell(str(plan.unions), plan.unions),
            Cell(f"{plan.union_channels:,}", plan.union_channels),
            Cell(f"{plan.out_of_order:,}", plan.out_of_order, material.sources(stage="prune", **where)),
            Cell(number(share, "percent"), share),
        )
        rows.append(Row(cells, plan.dataset, plan.model, plan.method))
    worst = max((plan.out_of_order for plan in material.plans), default=0)
    touched = sum(plan.out_of_order > 0 for plan in material.plans)
    figure = f"{touched} of {len(rows)}" if rows else "none yet"
    ours = (
        f"pruned networks of this run would be read in a wrong order; at worst {worst} channels of one network. Ours "
        "sorts every union, and its outputs equal the masked network's."
        if rows
        else "No plan is here yet; each pruned network is judged by its plan."
    )
    columns = ("network", "method", "#seed", "#unions", "#their channels", "#out of order", "#share")
    return Finding(
        "Residual sums may be scrambled",
        "The channels of a residual sum are listed in the order of an unsorted set, but the layer behind it reads them "
        "in sorted order.",
        figure,
        ours,
        Table("published-unions", "Channels that an unsorted set puts elsewhere", columns, rows, folded=True)
        if rows
        else None,
    )


def _sizes(networks: Sequence[Network]) -> Finding:
    rows, first = [], ""
    for network in networks:
        for scheme, written, sources in (
            ("", network.file_size, network.sources),
            (network.scheme, network.int8_file_size, network.int8_sources),
        ):
            if isnan(written) or isnan(network.parameters):
                continue
            theirs = network.parameters * FLOAT_BYTES * (1 if scheme else 2)
            reading = "integers as float32" if scheme else "weights and momentum"
            if scheme and not first:
                first = f"{theirs / written:.1f}×"
            cells = (
                Cell(_short(network.dataset, network.model)),
                Cell(network.method + (f", {scheme}" if scheme else "")),
                Cell(number(theirs, "bytes"), theirs),
                Cell(reading),
                Cell(number(written, "bytes"), written, sources),
                Cell(f"{theirs / written:.2f}", theirs / written),
            )
            rows.append(Row(cells, network.dataset, network.model, network.method))
    columns = ("network", "method", "#published reading", "what that holds", "#as written here", "#ratio")
    return Finding(
        "Files hold more than the network",
        "The “original” and “pruned” sizes of Tables X and XI are checkpoints with the optimizer's momentum, eight bytes "
        "a parameter; the “quantized” ones store integers as float32, four bytes where one would do.",
        first or "8 and 4 bytes",
        "is what the published reading would say of the first quantized network here, against the file as deployed."
        if first
        else "a parameter, instead of 4 and 1.",
        Table("published-sizes", "One network, two readings of its size", columns, rows, folded=len(rows) > 6)
        if rows
        else None,  # noqa: PLR2004
    )


def _best_epoch(material: Material) -> Finding:
    stages = ["pretrain", "finetune", "qat"]
    values = material.values[material.values["stage"].isin(stages)]
    keys = ["stage", "dataset", "model", "method", "scheme", "seed", "device"]
    pairs = values[values["quantity"].isin(["accuracy", "best_accuracy"])]
    wide = pairs.pivot_table(index=keys, columns="quantity", values="value", sort=False).reset_index()
    if wide.empty:
        return Finding(_BEST, _BEST_SAID, "none yet", "No training is recorded yet.")
    wide["gain"] = wide["best_accuracy"] - wide["accuracy"]
    trained = wide[wide["gain"].notna()]
    rows = []
    grouped = trained.groupby([key for key in keys if key != "seed"], sort=False)[["accuracy", "best_accuracy", "gain"]]
    for key, means in grouped.mean().iterrows():
        stage, dataset, model, method, scheme, device = map(str, key)  # type: ignore[arg-type]  # a tuple
        where = {
            "stage": stage,
            "dataset": dataset,
            "model": model,
            "method": method,
            "scheme": scheme,
            "device": device,
        }
        cells = (
            Cell(stage),
            Cell(_short(dataset, model)),
            Cell((method or "dense") + (f", {scheme}" if scheme else "")),
            Cell(number(means["accuracy"], "percent"), means["accuracy"], material.sources(**where)),
            Cell(number(means["best_accuracy"], "percent"), means["best_accuracy"]),
            Cell(number(means["gain"], "percentage points", sign=True), means["gain"]),
        )
        rows.append(Row(cells, dataset, model, method))
    columns = ("stage", "network", "method", "#last epoch", "#best epoch", "#gain")
    mean = trained["gain"].mean()
    return Finding(
        _BEST,
        _BEST_SAID,
        number(mean, "percentage points", sign=True),
        f"is what that choice adds here, the mean of {len(trained)} trainings, and at most "
        f"{number(trained['gain'].max(), 'percentage points')}.",
        Table("published-best", "Last and best epoch", columns, rows, folded=len(rows) > 6),  # noqa: PLR2004
    )


_BEST = "The test images choose the epoch"
_BEST_SAID = (
    "The best test accuracy over all epochs picks the checkpoint. Records here keep the last epoch's and the best."
)


def _rule(material: Material) -> Finding:
    ratios = material.settings[
        (material.settings["stage"] == "prune") & (material.settings["setting"] == "prune_ratio")
    ]
    own = sorted({float(ratio) for ratio in ratios["value"] if ratio is not None and not pandas.isna(ratio)})
    ranked = material.value("prune", "channels")
    count, ratio = (int(ranked.max()) if len(ranked) else 1242), (own[0] if own else 0.77214)
    rows = []
    for limit in material.limits:
        cells = (
            Cell(str(limit.width), limit.width),
            Cell(_listed(limit.published, limit.width), len(limit.published)),
            Cell(_listed(limit.ours, limit.width), len(limit.ours)),
        )
        rows.append(Row(cells))
    return Finding(
        "One channel more goes, and the limit differs",
        "The pruner removes what is at or under a threshold, int(ratio · N) + 1 channels, and its limit for a layer takes "
        "the value at position int(0.95 · C) and removes what is at or under that, too: of 16 channels nothing is left, "
        "so it keeps channel 0, the best or not.",
        f"{int(ratio * count) + 1:,} against {floor(ratio * count + 1e-6):,}",
        f"channels go at a ratio of {ratio:g} of {count:,}. The table has what either rule leaves of a layer at its limit, "
        "run on a ranking in which the last channel is the best.",
        Table("published-limit", "Channels left of a layer at its limit", ("#width", "#published rule", "#ours"), rows),
    )


def _listed(kept: Sequence[int], width: int) -> str:
    best = kept and kept[-1] == width - 1
    return f"{len(kept)}" + ("" if best else " (the worst one)")


def _printed(material: Material) -> Finding:
    raw = material.printed_raw
    rows = []
    cells_of = raw[raw["table"].isin(["III", "IV"])].pivot(index=["table", "model"], columns="quantity", values="value")
    for (table, model), line in cells_of.iterrows():
        follows = 100 * (1 - line["trace_time_ehap"] / line["trace_time_hap"])
        printed = line["trace_speedup_as_printed"]
        agree = abs(follows - printed) < 0.1  # noqa: PLR2004  # rounding of a printed digit
        cells = (
            Cell(str(table)),
            Cell(MODEL_NAMES.get(str(model), str(model))),
            Cell(number(printed, "percent"), printed),
            Cell(number(follows, "percent"), follows),
            Cell("follows" if agree else "does not follow", None, (), "within" if agree else "below"),
        )
        rows.append(Row(cells, "", str(model)))
    wrong = sum(row.cells[-1].tone == "below" for row in rows)
    pruned = {
        name: raw[raw["table"].isin(tables) & (raw["quantity"] == quantity)].set_index(["dataset", "model"])["value"]
        for name, tables, quantity in (
            ("hap", ("I", "II"), "accuracy_pruned_hap"),
            ("ehap", ("I", "II"), "accuracy_pruned_ehap"),
            ("fed", ("V", "VI"), "accuracy_pruned"),
        )
    }
    same = {name: int((pruned["fed"] == pruned[name].reindex(pruned["fed"].index)).sum()) for name in ("hap", "ehap")}
    return Finding(
        "Printed numbers that do not follow",
        "The gains in time that Tables III and IV print, against what their own seconds give; and which pruned network "
        "Tables V and VI quantize.",
        f"{wrong} of {len(rows)}",
        f"printed gains do not follow from the printed seconds. The “pruned” column of Tables V and VI is that of HAP in "
        f"{same['hap']} of {len(pruned['fed'])} rows, of EHAP in {same['ehap']}. Here every method quantizes its own "
        "network.",
        Table("published-gains", "Gain in time of EHAP", ("table", "model", "#printed", "#from the seconds", ""), rows),
    )


def _short(dataset: object, model: object) -> str:
    return f"{MODEL_NAMES.get(str(model), model)}, {DATASET_NAMES.get(str(dataset), dataset)}"
