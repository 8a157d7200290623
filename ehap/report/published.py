"""The published code against the paper, item by item; each has a number from this run or from arithmetic.

The code is JackkChong/Resource-Efficient-Neural-Networks-Using-Hessian-Based-Pruning on GitHub, commit 4428de7.
"""

from collections.abc import Sequence
from math import floor, isnan

import pandas

from ehap.report.blocks import Cell, Finding, Row, Section, Table
from ehap.report.cells import parts, sourced
from ehap.report.material import Material
from ehap.report.networks import Network
from ehap.report.published_traces import (
    RESNET32_CHANNELS,
    hessian_batch_finding,
    items_finding,
    sample_weights_finding,
)
from ehap.report.text import number
from ehap.results.format import counted, model_title, network_name
from ehap.results.order import TRAININGS
from ehap.settings.names import DENSE

FLOAT_BYTES = 4
ROUNDING = 1e-6  # of a ratio times a whole number
PRINTED_ROUNDING = 0.1  # percent, of a printed gain
OPEN_ROWS = 6  # a longer table is closed at first


def published_section(material: Material, networks: Sequence[Network]) -> Section:
    """Return the differences between paper and published code, with their effect on this run."""
    alike = material.as_published
    who = (
        f"In this run {' and '.join(alike)} compute{'s' if len(alike) == 1 else ''}"
        if alike
        else "No method of this run computes"
    )
    lead = (
        "The paper and the code published with it differ in eight places. Each is listed with its effect, in this "
        "run's numbers where it has them. The method ehap of a run has none of these slips: it is FP16 Hutchinson as "
        f"the paper describes it. {who} as the published code does; a configuration asks for that by as_published."
    )
    findings = [
        sample_weights_finding(material),
        hessian_batch_finding(material),
        items_finding(material),
        _unions(material),
        _sizes(material, networks),
        _best_epoch(material),
        _rule(material),
        _printed(material),
    ]
    return Section("published", "What the published code computes", lead, findings)


def _unions(material: Material) -> Finding:
    rows = []
    for plan in material.plans:
        share = 100 * plan.out_of_order / plan.union_channels if plan.union_channels else 0.0
        where = {name: getattr(plan, name) for name in ("dataset", "model", "method", "seed", "device")}
        cells = (
            Cell(network_name(plan.dataset, plan.model)),
            Cell(material.on_device(plan.method, plan.device)),
            Cell(str(plan.seed), plan.seed),
            Cell(str(plan.unions), plan.unions),
            Cell(f"{plan.union_channels:,}", plan.union_channels),
            Cell(f"{plan.out_of_order:,}", plan.out_of_order),
            Cell(number(share, "percent"), share),
        )
        rows.append(
            Row(sourced(cells, material.sources(stage="prune", **where)), plan.dataset, plan.model, plan.method)
        )
    worst = max((plan.out_of_order for plan in material.plans), default=0)
    touched = sum(plan.out_of_order > 0 for plan in material.plans)
    much = f"; at worst {worst} channels of one network" if worst else ""
    figure = f"{touched} of {len(rows)}" if rows else "none yet"
    ours = (
        f"pruned networks of this run would be read in a wrong order{much}. Ours "
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
        _table("published-unions", "Channels that an unsorted set puts elsewhere", columns, rows),
    )


def _sizes(material: Material, networks: Sequence[Network]) -> Finding:
    rows, first = [], ""
    for network in networks:
        for scheme, written, sources in (
            ("", network.file_size, network.sources),
            (network.scheme, network.int8_file_size, network.int8_sources),
        ):
            if isnan(written) or isnan(network.parameters):
                continue
            here = {name: getattr(network, name) for name in ("dataset", "model", "method", "device")}
            theirs = float(material.value("evaluate", "published_size", scheme=scheme, **here).mean())
            if isnan(theirs):  # of an older record
                theirs = network.parameters * FLOAT_BYTES * (1 if scheme else 2)
            reading = "integers as float32" if scheme else "weights and momentum"
            if scheme and not first:
                first = f"{theirs / written:.1f}×"
            cells = (
                Cell(network_name(network.dataset, network.model)),
                Cell(material.on_device(network.method + (f", {scheme}" if scheme else ""), network.device)),
                Cell(number(theirs, "bytes"), theirs),
                Cell(reading),
                Cell(number(written, "bytes"), written),
                Cell(f"{theirs / written:.2f}", theirs / written),
            )
            rows.append(Row(sourced(cells, sources), network.dataset, network.model, network.method))
    columns = ("network", "method", "#published reading", "content", "#as written here", "#ratio")
    return Finding(
        "Files hold more than the network",
        "The “original” and “pruned” sizes of Tables X and XI are checkpoints with the optimizer's momentum, eight "
        "bytes a parameter; the “quantized” ones store integers as float32, four bytes where one would do.",
        first or "8 and 4 bytes",
        "is the published size of the first quantized network here, divided by the size of its deployed file."
        if first
        else "a parameter, instead of 4 and 1.",
        _table("published-sizes", "One network, two readings of its size", columns, rows),
    )


def _best_epoch(material: Material) -> Finding:
    title = "The test images choose the epoch"
    said = (
        "The best test accuracy over all epochs picks the checkpoint. Records here keep the last epoch's and the best."
    )
    values = material.values[material.values["stage"].isin(TRAININGS)]
    keys = ["stage", "dataset", "model", "method", "scheme", "device"]
    wide = values.pivot_table(index=[*keys, "seed"], columns="quantity", values="value", sort=False).reset_index()
    if "train_loss" not in wide:
        return Finding(title, said, "none yet", "No training is recorded yet.")
    trained = wide[wide["train_loss"].notna()]  # without it no epoch was trained
    trained = trained.merge(_epochs(material), how="left", on=[*keys, "seed"])
    trained = trained[trained["epochs"] != 1]  # one epoch leaves no choice
    if trained.empty:
        return Finding(title, said, "none yet", "No training here had several epochs to choose from.")
    gain = trained["best_accuracy"] - trained["accuracy"]
    rows = [_epoch_row(material, part, keys) for part in parts(trained.assign(gain=gain), keys)]
    columns = ("stage", "network", "method", "#last epoch", "#best epoch", "#gain")
    ours = (
        f"is the gain by that choice here: a mean over {counted(len(trained), 'training')} of several epochs, at most "
        f"{number(gain.max(), 'percentage points')}."
    )
    table = _table("published-best", "Last and best epoch", columns, rows)
    return Finding(title, said, number(gain.mean(), "percentage points", sign=True), ours, table)


def _epochs(material: Material) -> pandas.DataFrame:
    """Return how many epochs each training had."""
    keys = ["stage", "dataset", "model", "method", "scheme", "device", "seed"]
    rows = material.settings[material.settings["setting"] == "epochs"].drop_duplicates(keys)
    return rows[[*keys, "value"]].rename(columns={"value": "epochs"})


def _epoch_row(material: Material, part: pandas.DataFrame, keys: list[str]) -> Row:
    where = {key: str(part.iloc[0][key]) for key in keys}
    last, best, gain = (float(part[name].mean()) for name in ("accuracy", "best_accuracy", "gain"))
    method = (where["method"] or DENSE) + (f", {where['scheme']}" if where["scheme"] else "")
    cells = (
        Cell(where["stage"]),
        Cell(network_name(where["dataset"], where["model"])),
        Cell(material.on_device(method, where["device"])),
        Cell(number(last, "percent"), last),
        Cell(number(best, "percent"), best),
        Cell(number(gain, "percentage points", sign=True), gain),
    )
    sources = material.sources(**where, seed=tuple(part["seed"]))
    return Row(sourced(cells, sources), where["dataset"], where["model"], where["method"])


def _rule(material: Material) -> Finding:
    rows = [
        Row(
            (
                Cell(str(limit.width), limit.width),
                Cell(_listed(limit.published, limit.width), len(limit.published)),
                Cell(_listed(limit.ours, limit.width), len(limit.ours)),
            )
        )
        for limit in material.limits
    ]
    name, ratio, ranked = _ratio(material)
    differing = material.value("prune", "published_rule_differs")
    here = f" On this run's own rankings the rules differ in {_range(differing)} channels." if len(differing) else ""
    return Finding(
        "One channel more goes, and the limit differs",
        "The pruner removes channels at or under a threshold: int(ratio · N) + 1 channels. Its limit for a layer is "
        "the value at position int(0.95 · C), and the channel at the limit is removed, too. Of 16 channels none is "
        "left. So it keeps channel 0, the best or not.",
        f"{int(ratio * ranked) + 1:,} against {floor(ratio * ranked + ROUNDING):,}",
        f"channels go at a ratio of {ratio:g} of the {ranked:,} of {name}.{here} The table shows the channels that "
        "either rule leaves of a layer at its limit. In its ranking the last channel is the best.",
        Table("published-limit", "Channels left of a layer at its limit", ("#width", "#published rule", "#ours"), rows),
    )


def _ratio(material: Material) -> tuple[str, float, int]:
    """Return a network, its prune ratio and its channels: the first of this run, or the paper's ResNet-32."""
    settings = material.settings
    chosen = settings[(settings["stage"] == "prune") & (settings["setting"] == "prune_ratio")].dropna(subset=["value"])
    for dataset, model, ratio in chosen[["dataset", "model", "value"]].itertuples(index=False, name=None):
        channels = material.value("prune", "channels", dataset=dataset, model=model)
        return network_name(dataset, model), float(ratio), int(channels.iloc[0])
    printed = material.printed_settings
    paper = printed[(printed["setting"] == "prune_ratio") & (printed["model"] == "resnet32")].iloc[0]
    return network_name(paper["dataset"], "resnet32"), float(paper["value"]), RESNET32_CHANNELS


def _range(values: pandas.Series) -> str:
    least, most = int(values.min()), int(values.max())
    return f"{most}" if least == most else f"{least} to {most}"


def _listed(kept: Sequence[int], width: int) -> str:
    best = kept[-1] == width - 1
    return f"{len(kept)}" + ("" if best else " (the worst one)")


def _printed(material: Material) -> Finding:
    raw = material.printed_raw
    costs = raw[raw["table"].isin(["III", "IV"])]
    rows = [_gain_row(material, part) for part in parts(costs, ["table", "model"])]
    wrong = sum(row.cells[-1].tone == "below" for row in rows)
    fed = _printed_accuracy(raw, ("V", "VI"), "accuracy_pruned")
    same = {
        method: int((fed == _printed_accuracy(raw, ("I", "II"), f"accuracy_pruned_{method}").reindex(fed.index)).sum())
        for method in ("hap", "ehap")
    }
    return Finding(
        "Printed numbers that do not follow",
        "The gains in time of Tables III and IV against the seconds of the same tables; and the pruned network that "
        "Tables V and VI quantize. HAP and EHAP are the paper's here, not the methods of this run.",
        f"{wrong} of {len(rows)}",
        "printed gains do not follow from the printed seconds. The “pruned” column of Tables V and VI is that of HAP "
        f"in {same['hap']} of {len(fed)} rows, of EHAP in {same['ehap']}. Here every method quantizes its own network.",
        Table(
            "published-gains",
            "Gain in time of the paper's EHAP",
            ("table", "model", "#printed", "#from the seconds", ""),
            rows,
        ),
    )


def _gain_row(material: Material, costs: pandas.DataFrame) -> Row:
    table, model = str(costs.iloc[0]["table"]), str(costs.iloc[0]["model"])
    values = costs.set_index("quantity")["value"]
    follows = 100 * (1 - values["trace_time_ehap"] / values["trace_time_hap"])
    printed = values["trace_speedup_as_printed"]
    agree = abs(follows - printed) < PRINTED_ROUNDING
    cells = (
        Cell(table),
        Cell(model_title(model)),
        Cell(number(printed, "percent"), printed),
        Cell(number(follows, "percent"), follows),
        Cell("follows" if agree else "does not follow", None, (), "within" if agree else "below"),
    )
    sources = [
        material.printed_sources(*costs.index[costs["quantity"] == name])
        for name in ("trace_speedup_as_printed", "trace_time_hap", "trace_time_ehap")
    ]
    return Row(sourced(cells, tuple(number for found in sources for number in found)), "", model)


def _printed_accuracy(raw: pandas.DataFrame, tables: Sequence[str], quantity: str) -> "pandas.Series[float]":
    rows = raw[raw["table"].isin(tables) & (raw["quantity"] == quantity)]
    return rows.set_index(["dataset", "model"])["value"]


def _table(name: str, caption: str, columns: tuple[str, ...], rows: Sequence[Row]) -> Table | None:
    """Return a table, closed where it is long; none without rows."""
    return Table(name, caption, columns, rows, folded=len(rows) > OPEN_ROWS) if rows else None
