"""Numbers, durations and verdicts as tables and the page write them."""

from math import nan

import pytest

from ehap.results.format import PAGE, TABLE, Style, counted, duration, number
from ehap.results.quantities import quantity_name
from ehap.results.verdict import verdict


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((93.456, "percent", 0.1), "93.46 ± 0.10 %"),
        ((93.456, "percent", nan), "93.46 %"),
        ((12345.0, "bytes"), "12.3 KB"),
        ((81626368.0, "flop"), "0.0816 GFLOP"),
        ((334_868_480.0, "memory"), "0.335 GB"),
        ((1234.0, "images"), "1234 images"),
        ((1234.5, "images"), "1234.5 images"),
        ((466906.0, "parameters"), "466906 parameters"),
        ((nan, "percent", 0.1), ""),
    ],
)
def test_tables_show_value_spread_and_unit(arguments: tuple[float, str, float], text: str) -> None:
    assert number(*arguments, style=TABLE) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((93.456, "percent", 0.1), "93.46 ± 0.10 %"),
        ((-1.25, "percentage points"), "−1.25 points"),
        ((nan, "percent"), "–"),
        ((1_107_300.0, "bytes"), "1,107.3 KB"),
        ((334_868_480.0, "memory"), "335 MB"),
        ((272_474.0, ""), "272,474"),
        ((0.5, "", 0.7), "0.5 ± 0.7"),
    ],
)
def test_the_page_writes_numbers_for_readers(arguments: tuple[float, str], text: str) -> None:
    assert number(*arguments, style=PAGE).replace("\u00a0", " ") == text


@pytest.mark.parametrize("style", [TABLE, PAGE])
def test_a_plus_is_shown_where_it_is_asked_for(style: Style) -> None:
    assert number(1.0, "percentage points", sign=True, style=style).startswith("+1.00")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.4, "12 s"), (89, "89 s"), (720, "12 min"), (7199, "2 h 00 min"), (12_000, "3 h 20 min"), (353_000, "4 d 2 h")],
)
def test_durations_are_told_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_agree_with_their_nouns() -> None:
    assert [counted(count, "image") for count in (0, 1, 64)] == ["0 images", "1 image", "64 images"]


@pytest.mark.parametrize(
    ("difference", "ours", "paper", "said"),
    [(0.5, 0.3, 0.4, "within"), (-0.5, 0.3, 0.4, "within"), (0.51, 0.3, 0.4, "above"), (-0.51, 0.3, 0.4, "below")],
)
def test_a_difference_is_judged_by_both_spreads(difference: float, ours: float, paper: float, said: str) -> None:
    assert verdict(difference, ours, paper) == said


@pytest.mark.parametrize("row", [(nan, 0.3, 0.4), (0.5, nan, 0.4), (0.5, 0.3, nan)])
def test_without_a_spread_or_a_number_there_is_no_verdict(row: tuple[float, float, float]) -> None:
    assert verdict(*row) == ""


def test_a_quantity_without_a_name_of_its_own_is_shown_in_words() -> None:
    assert (quantity_name("flops_kept"), quantity_name("hessian_batch")) == ("FLOPs kept", "hessian batch")
