"""Charts as SVG files, without a browser and without a network."""

from typing import Any

import vl_convert

from ehap.results.figures.colours import resolved

LOOK: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        **{"labelColor": "var(--muted)", "titleColor": "var(--muted)", "gridColor": "var(--line)"},
        **{"domainColor": "var(--line)", "tickColor": "var(--line)"},
        **{"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": 500, "titlePadding": 10},
    },
    "legend": {
        **{"labelColor": "var(--muted)", "labelFontSize": 11},
        **{"symbolStrokeColor": "var(--muted)", "symbolFillColor": "var(--muted)"},
    },
    "header": {"labelColor": "var(--text)"},
    "point": {"strokeWidth": 1},
}
"""The look of all charts, on the page and in files, as Vega-Lite's configuration."""
FILE_LOOK = {
    **LOOK,
    "background": "var(--card)",
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
    "padding": 12,
    "title": {"color": "var(--text)", "fontSize": 12, "fontWeight": 600},
    "legend": {"labelColor": "var(--text)", "labelFontSize": 11, "labelLimit": 320, "symbolLimit": 0},
}
"""That of files: they have a ground and legends. vl-convert brings the font that it measures text with."""


def svg(chart: Any) -> bytes:
    """Return an Altair chart as SVG; the same chart gives the same bytes.

    Args:
        chart: With a size of its own.
    """
    specification = resolved({**chart.to_dict(), "config": FILE_LOOK})
    return str(vl_convert.vegalite_to_svg(specification, allowed_base_urls=[])).encode()
