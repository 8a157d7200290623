"""Methods compared in pairs on the same pretrained networks, so that differences between networks do not count."""

from itertools import permutations

import pandas

from ehap.results.format import dataset_title, number
from ehap.results.paper import ORIGINAL

GROUP = ["dataset", "model", "device", "budget"]


def paired(values: pandas.DataFrame, settings: pandas.DataFrame) -> pandas.DataFrame:
    """Return by how much one method is ahead of another after fine-tuning, seed by seed, at one budget.

    Methods of one seed share the pretrained network, and a good network stays good. So a difference is compared with
    the spread of differences, not with that of accuracies.

    Args:
        values: As ``collect`` returns them.
        settings: The same; the prune stage's say which methods have one budget.

    Returns:
        dataset, model, device, budget (in words), method, other, difference and difference_std (percentage points,
        accuracy of the method less that of the other; NaN of one seed), ahead (seeds in which it is above 0) and n
        (seeds that both have). Devices are never mixed.
    """
    rows = values[(values["stage"] == "evaluate") & (values["quantity"] == "accuracy") & (values["scheme"] == "")]
    rows = rows[rows["method"] != ORIGINAL].merge(_budgets(settings), on=["dataset", "model", "method"])
    found = []
    for group, part in rows.groupby(GROUP, sort=False):
        table = part.pivot_table(index="seed", columns="method", values="value", sort=False)
        for method, other in permutations(table.columns, 2):
            change = (table[method] - table[other]).dropna()
            if len(change):
                spread = float(change.std())
                found.append(
                    (*group, method, other, float(change.mean()), spread, int((change > 0).sum()), len(change))
                )
    return pandas.DataFrame(found, columns=[*GROUP, "method", "other", "difference", "difference_std", "ahead", "n"])


def paired_markdown(frame: pandas.DataFrame) -> str:
    """Return the differences as Markdown: of each budget a square, rows ahead of columns."""
    lines = ["# Methods paired on the same networks", ""]
    for (dataset, model, device, budget), part in frame.groupby(GROUP, sort=False):
        cells = [
            f"{number(value, 'percentage points', spread, sign=True).removesuffix(' points')} ({ahead} of {n})"
            for value, spread, ahead, n in part[["difference", "difference_std", "ahead", "n"]].itertuples(index=False)
        ]
        square = part.assign(cell=cells).pivot(index="method", columns="other", values="cell")
        names = list(dict.fromkeys([*part["method"], *part["other"]]))
        shown = square.reindex(index=names, columns=names).fillna("").rename_axis(index="ahead of →", columns=None)
        lines += [f"## {model}, {dataset_title(dataset)}, {budget}, {device}", ""]
        lines += [str(shown.to_markdown(disable_numparse=True)), ""]
    note = (
        "Accuracy after fine-tuning of the row less that of the column, in points: mean ± standard deviation over "
        "seeds. In brackets: the seeds in which the row is ahead, of those that both have. Methods of one budget of "
        "parameters differ in FLOPs, and the other way round: see the comparison of methods."
    )
    return "\n".join([*lines, note, ""])


def _budgets(settings: pandas.DataFrame) -> pandas.DataFrame:
    """Return the budget of each method, in words: dataset, model, method, budget."""
    rows = settings[(settings["stage"] == "prune") & settings["setting"].isin(["params", "flops", "prune_ratio"])]
    rows = rows[rows["value"].notna()].drop_duplicates(["dataset", "model", "method", "setting"])
    words = {"params": "of the parameters", "flops": "of the FLOPs", "prune_ratio": "of the channels removed"}
    said = [f"{100 * value:g} % {words[name]}" for name, value in zip(rows["setting"], rows["value"], strict=True)]
    keys = ["dataset", "model", "method"]
    whole = rows.assign(budget=said).groupby(keys, sort=False)["budget"].agg(" and ".join)
    return whole.reset_index()
