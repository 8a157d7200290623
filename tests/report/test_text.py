"""Numbers, names and colours as the page has them."""

import re
from importlib.resources import files

import pytest

from ehap.report.charts import COLOURS, colour
from ehap.report.text import duration, family, number


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((93.456, "percent", 0.1), "93.46 ± 0.10 %"),
        ((-1.25, "percentage points"), "−1.25 points"),
        ((float("nan"), "percent"), "–"),
        ((1_107_300.0, "bytes"), "1,107.3 KB"),
        ((334_868_480.0, "memory"), "335 MB"),
        ((272_474.0, ""), "272,474"),
        ((0.5, "", 0.7), "0.5 ± 0.7"),
    ],
)
def test_numbers_are_written_with_their_unit(arguments: tuple[float, str], text: str) -> None:
    assert number(*arguments).replace("\u00a0", " ").strip() == text


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


def test_methods_of_a_sweep_are_one_family() -> None:
    names = ["gate-30", "gate-12_5", "l2-25-draw1", "l2-few-images64", "hap", "ehap-bf16"]
    assert [family(name) for name in names] == ["gate", "gate", "l2", "l2-few", "hap", "ehap-bf16"]


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (150, "2 min"), (3725, "1 h 02 min")])
def test_durations_are_told_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
