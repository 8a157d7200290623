"""Pruned networks as drawings: the channels that each layer keeps."""

from collections.abc import Collection

import pandas

from ehap.report import charts
from ehap.report.blocks import Block, Picture, Section
from ehap.report.cells import nothing
from ehap.report.colours import colours_of
from ehap.report.material import Material
from ehap.report.text import cell_name, family


def shapes_section(material: Material) -> Section:
    """Return every pruned network as a drawing: the channels that each layer keeps."""
    lead = (
        "Each bar is a layer, its height the channels: pale all that there were, coloured what stays. "
        "Sums of residual branches carry the union of what both sides keep."
    )
    colours = colours_of(material)
    blocks: list[Block] = []
    for dataset, model in dict.fromkeys((plan.dataset, plan.model) for plan in material.plans):
        mine = [plan for plan in material.plans if (plan.dataset, plan.model) == (dataset, model)]
        seed = min(plan.seed for plan in mine)
        plans = {plan.method: plan for plan in mine if plan.seed == seed}
        plans = {method: plan for method, plan in plans.items() if not _another_draw(method, plans)}
        rows = [
            {"method": method, "family": family(method), "layer": layer, "position": index}
            | {"width": plan.widths[layer], "kept": kept}
            for method, plan in plans.items()
            for index, (layer, kept) in enumerate(plan.kept.items())
        ]
        kept = {method: sum(plan.kept.values()) / sum(plan.widths.values()) for method, plan in plans.items()}
        said = ", ".join(f"{method} {100 * share:.0f} %" for method, share in list(kept.items())[:8])
        alt = f"Channels kept of each layer of {cell_name(dataset, model)}, seed {seed}; of all channels: {said}."
        frame = pandas.DataFrame(rows)
        present = {name: colours[name] for name in dict.fromkeys(frame["family"])}
        title = f"Channels kept, {cell_name(dataset, model)}, seed {seed}"
        spec = charts.kept_channels(frame, present)
        blocks.append(Picture(f"shapes-{dataset}-{model}", title, alt, spec, present, dataset, model, wide=True))
    return Section("shapes", "Kept channels", lead, blocks or [nothing(material, "prune")])


def _another_draw(method: str, plans: Collection[str]) -> bool:
    """Say whether a method's plan is that of another one, of which only the images differ."""
    stem, draw, number_of_draw = method.rpartition("-draw")
    return bool(draw) and number_of_draw != "0" and f"{stem}-draw0" in plans
