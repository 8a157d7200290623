"""The page as one HTML file: no network, no second file."""

import json
from collections.abc import Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined

from ehap.errors import DataError
from ehap.report.blocks import Block, Picture, Section
from ehap.report.curves import curves_section
from ehap.report.headline import facts, headlines
from ehap.report.integers import integers_section
from ehap.report.latency import latency_section
from ehap.report.material import Material
from ehap.report.networks import networks
from ehap.report.overview import networks_section
from ehap.report.paper import paper_section
from ehap.report.published import published_section
from ehap.report.records import records_section
from ehap.report.repair import repair_section
from ehap.report.schemes import schemes_section
from ehap.report.settings import settings_section
from ehap.report.shapes import shapes_section
from ehap.report.traces import traces_section
from ehap.results.figures.colours import colour
from ehap.results.figures.rendering import LOOK
from ehap.settings.names import DATASETS, MODELS

GLOBAL = "window.vegaEmbed = vegaEmbed;"


def page(material: Material) -> str:
    """Return the page of a run, from whatever there is of it."""
    found = networks(material)
    paper, within, compared = paper_section(material)
    parts = [
        networks_section(material, found),
        paper,
        traces_section(material),
        repair_section(material, found),
        published_section(material, found),
        settings_section(material),
        shapes_section(material),
        curves_section(material),
        schemes_section(material),
        integers_section(material),
        latency_section(material),
        records_section(material),
    ]
    return (
        _environment(material)
        .get_template("page.html")
        .render(
            material=material,
            about=about(material),
            facts=facts(material, within, compared),
            headlines=headlines(material, found),
            sections=parts,
            filters=_filters(material),
            specs={picture.name: picture.spec for picture in _pictures(parts)},
            look=LOOK,
            records=material.evidence,
            tables_script=_tables_script(),
            charts_script=vl_convert.javascript_bundle(GLOBAL),
            style=_own("page.css"),
            script=_own("page.js"),
        )
    )


def about(material: Material) -> dict[str, str]:
    """Return devices, libraries, commit and seeds of the run: label to text."""
    records = [record for _, record in material.records]
    devices = dict.fromkeys(str(record.get("device", "")) for record in records)
    sets = dict.fromkeys(str(record.get("instructions", "")) for record in records)
    versions = dict.fromkeys(
        f"{name} {version}" for record in records for name, version in record.get("versions", {}).items()
    )
    said = {
        "device": ", ".join(filter(None, devices)) or "nothing has run yet",
        "instruction sets": "; ".join(filter(None, sets)),
        "libraries": ", ".join(versions),
        "page made at commit": material.commit,
        "seeds": material.seeds_there,
    }
    return {label: text for label, text in said.items() if text}


def _filters(material: Material) -> dict[str, dict[str, str]]:
    """Return the choices of each filter: value to visible text; a method with several draws of images is one."""
    heads = material.heads.assign(method=material.heads["method"].astype(str).map(material.families.pooled))
    names = {"dataset": DATASETS, "model": MODELS, "method": {}}
    return {
        column: {str(value): names[column].get(str(value), str(value)) for value in heads[column].unique() if value}
        for column in names
    }


def _pictures(parts: Sequence[Section]) -> list[Picture]:
    return [block for part in parts for block in part.blocks if isinstance(block, Picture)]


def _environment(material: Material) -> Environment:
    environment = Environment(
        loader=PackageLoader("ehap.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["as_colour"] = colour
    environment.filters["pooled"] = material.families.pooled
    environment.filters["in_runs"] = _in_runs
    environment.filters["as_order"] = lambda order: f"{order:.7g}" if isinstance(order, float) else order
    environment.filters["as_json"] = _as_json
    environment.filters["as_script"] = _as_script
    return environment


def _in_runs(blocks: Sequence[Block]) -> list[list[Block]]:
    """Return the blocks, grouped into runs of one kind."""
    return [list(run) for _, run in groupby(blocks, lambda block: block.kind)]


def _as_json(value: Any) -> str:
    """Return JSON that cannot end the HTML element around it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _as_script(text: str) -> str:
    """Return a script that cannot end its HTML element: in strings and patterns an escaped slash is a slash."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _own(name: str) -> str:
    return files("ehap.report").joinpath("assets", name).read_text(encoding="utf-8")


def _tables_script() -> str:
    """Return itables' DataTables as a plain script: it sets a property of the window instead of an export.

    Raises:
        DataError: The bundle has another form than the pinned one.
    """
    bundle = files("itables").joinpath("html", "dt_bundle.js").read_text(encoding="utf-8")
    start = bundle.rfind("export{")
    exported = bundle[start : bundle.find("}", start)].removeprefix("export{").split(",")
    names = {public: local for local, _, public in (pair.partition(" as ") for pair in exported)}
    if "jQuery" not in names:
        raise DataError("expected itables' bundle to export jQuery, as itables 2.9 does; install the pinned version.")
    return f"{bundle[:start]};window.jQuery = {names['jQuery']};"
