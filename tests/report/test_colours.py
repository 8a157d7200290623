"""The colours of the page."""

import re
from importlib.resources import files

from ehap.results.figures.colours import COLOURS, colour


def test_no_two_methods_look_alike_and_all_stand_out_from_the_ground() -> None:
    assert len({colour(index) for index in range(40)}) == 40
    style = files("ehap.report").joinpath("assets", "page.css").read_text()
    themes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in style.split("color-scheme: dark")[:2]]
    for theme in themes:
        for index in range(COLOURS):
            assert _contrast(theme[f"c{index}"], theme["card"]) >= 3, (index, theme[f"c{index}"])  # WCAG 2.2, 1.4.11


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21, as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
