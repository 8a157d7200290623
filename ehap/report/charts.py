"""Charts as the page embeds them."""

from typing import Any


def embedded(chart: Any) -> dict[str, Any]:
    """Return a chart's specification, as wide as its place in the page; the page has the look of all charts."""
    found: dict[str, Any] = chart.to_dict()
    for superfluous in ("$schema", "config"):
        found.pop(superfluous, None)
    if "facet" not in found:
        found["width"] = "container"
    return found
