"""Learning curves, a picture for each stage of each dataset and model."""

import pandas

from ehap.report.blocks import Block, Picture, Section
from ehap.report.cells import nothing
from ehap.report.charts import embedded
from ehap.report.material import Material
from ehap.results.figures.curves import learning_curves, thinned
from ehap.results.format import cell_name, counted
from ehap.results.order import TRAININGS
from ehap.settings.names import DENSE


def curves_section(material: Material) -> Section:
    """Return the learning curves: a picture for each stage of each dataset and model."""
    lead = (
        "Accuracy over epochs: on the test images solid, in training dotted. One line a method and seed. A single "
        "epoch is a point: test filled, training hollow."
    )
    colours = material.colours
    histories = material.histories
    blocks: list[Block] = []
    for dataset, model in dict.fromkeys(histories[["dataset", "model"]].itertuples(index=False, name=None)):
        for stage, title in TRAININGS.items():
            mine = histories[(histories[["dataset", "model", "stage"]] == [dataset, model, stage]).all(axis=1)]
            if mine.empty:
                continue
            points, names = _curves(material, mine)
            ends = mine.groupby(["method", "scheme", "seed", "device"])["test_accuracy"].last()
            between = f"at {ends.max():.1f} %" if len(ends) == 1 else f"between {ends.min():.1f} and {ends.max():.1f} %"
            after = f"after {counted(mine['epoch'].max(), 'epoch')}"
            alt = f"{title} of {cell_name(dataset, model)}: test accuracy ends {between}, {after}."
            key = {name: colours[name] for name in dict.fromkeys(names["family"])}
            spec = embedded(learning_curves(points, names, key))
            what = f"{title}, {cell_name(dataset, model)}"
            blocks.append(Picture(f"curves-{stage}-{dataset}-{model}", what, alt, spec, key, dataset, model))
    return Section("curves", "Learning curves", lead, blocks or [nothing(material, "pretrain")])


def _curves(material: Material, history: pandas.DataFrame) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Return the points and the labels of all curves, as ``learning_curves`` takes them."""
    points, names = [], []
    several = history["device"].nunique() > 1
    keys = ["method", "scheme", "seed", "device"]
    for index, ((method, scheme, seed, device), part) in enumerate(history.groupby(keys, sort=False)):
        name = str(method) or DENSE
        label = " ".join(filter(None, [name, str(scheme), f"seed {seed}", f"on {device}" if several else ""]))
        known = material.families
        kind = {"method": name, "family": known.family(name), "group": known.pooled(name)}
        names.append({"curve": index, **kind, "label": label})
        few = thinned(part)
        test, train = (few[f"{which}_accuracy"].round(2) for which in ("test", "train"))
        points.append(pandas.DataFrame({"curve": index, "epoch": few["epoch"], "test": test, "train": train}))
    return pandas.concat(points, ignore_index=True), pandas.DataFrame(names)
