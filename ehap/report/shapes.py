"""Pruned networks as drawings: the channels that each layer keeps."""

from collections.abc import Collection, Sequence

import pandas

from ehap.report.blocks import Picture, Section
from ehap.report.cells import nothing
from ehap.report.charts import embedded
from ehap.report.material import Material, Plan
from ehap.results.families import Families
from ehap.results.figures.channels import kept_channels
from ehap.results.format import cell_name
from ehap.runtime.device import slug

MOST_SAID = 8  # methods, in the words below a picture


def shapes_section(material: Material) -> Section:
    """Return every pruned network as a drawing: the channels that each layer keeps."""
    lead = (
        "Each bar is a layer, its height the number of channels: pale the dense layer, coloured the kept channels. A "
        "residual sum carries the union of the channels that both sides keep. One plan a method is drawn, that of its "
        "first seed. Plans of different devices are never in one picture."
    )
    keys = dict.fromkeys((plan.dataset, plan.model, plan.device) for plan in material.plans)
    several = len({device for _, _, device in keys}) > 1
    pictures = [
        _picture(material, [plan for plan in material.plans if (plan.dataset, plan.model, plan.device) == key], several)
        for key in keys
    ]
    return Section("shapes", "Kept channels", lead, pictures or [nothing(material, "prune")])


def _picture(material: Material, mine: Sequence[Plan], several_devices: bool) -> Picture:
    """Return the plans of one network on one device, of each method the first seed's."""
    dataset, model, device = mine[0].dataset, mine[0].model, mine[0].device
    plans = {plan.method: plan for plan in sorted(mine, key=lambda plan: plan.seed, reverse=True)}
    plans = {method: plans[method] for method in dict.fromkeys(plan.method for plan in mine)}
    plans = {method: plan for method, plan in plans.items() if not _another_draw(material.families, method, plans)}
    seed = min(plan.seed for plan in plans.values())
    names = {method: method + _of_seed(plan.seed, seed) for method, plan in plans.items()}
    known = material.families
    rows = [
        {"method": method, "name": names[method], "family": known.family(method), "group": known.pooled(method)}
        | {"layer": layer, "position": index, "width": plan.widths[layer], "kept": kept}
        for method, plan in plans.items()
        for index, (layer, kept) in enumerate(plan.kept.items())
    ]
    kept = {method: sum(plan.kept.values()) / sum(plan.widths.values()) for method, plan in plans.items()}
    said = ", ".join(f"{names[method]} {100 * share:.0f} %" for method, share in list(kept.items())[:MOST_SAID])
    what = f"{cell_name(dataset, model)}, seed {seed}" + (f", {device}" if several_devices else "")
    alt = f"Channels kept of each layer of {what}; of all channels: {said}."
    frame = pandas.DataFrame(rows)
    colours = material.colours
    present = {name: colours[name] for name in dict.fromkeys(frame["family"])}
    name = slug(f"shapes-{dataset}-{model}" + (f"-{device}" if several_devices else ""))
    spec = embedded(kept_channels(frame, present))
    return Picture(name, f"Channels kept, {what}", alt, spec, present, dataset, model, wide=True)


def _of_seed(seed: int, usual: int) -> str:
    """Say the seed of a plan that is not of the picture's."""
    return "" if seed == usual else f" (seed {seed})"


def _another_draw(known: Families, method: str, plans: Collection[str]) -> bool:
    """Say whether a method differs from an earlier one in the drawn images only, so that both have one plan."""
    alike = [other for other in plans if known.pooled(other) == known.pooled(method)]
    return method != min(alike)
