"""Pages of other kinds of runs in a real browser: several quantization schemes, and records of two devices."""

from pathlib import Path

import pytest
import yaml
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.report.conftest import copied_to
from tests.workflow.browser import (
    DESKTOP,
    PHONE,
    Driver,
    choose,
    column,
    errors,
    opened,
    page_of,
    says,
    shot,
    undrawn,
    until,
)
from tests.workflow.conftest import ROOT

KEPT = "measurements/amd-epyc-cpu/cifar_precisions"
HERE, OTHER = "AMD EPYC (CPU)", "NVIDIA H200"


@pytest.fixture(scope="module")
def schemes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two networks under nine schemes, as measured."""
    target = tmp_path_factory.mktemp("schemes") / "index.html"
    return page_of(ROOT, target, "config/cifar_precisions.yaml", "--results", KEPT)


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the same records and of copies that name another device."""
    folder = tmp_path_factory.mktemp("devices")
    other = copied_to(folder / "other", ROOT / KEPT, OTHER, HERE)
    config = yaml.safe_load((ROOT / "config/cifar_precisions.yaml").read_text()) | {"also_read": [str(other)]}
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return page_of(ROOT, folder / "index.html", str(folder / "run.yaml"), "--results", KEPT)


@pytest.mark.parametrize("which", ["schemes", "devices"])
@pytest.mark.parametrize(("size", "look"), [(DESKTOP, "desktop"), (PHONE, "phone")])
def test_it_opens_without_errors_and_draws_every_picture(
    browser: Driver, request: pytest.FixtureRequest, which: str, size: tuple[int, int], look: str
) -> None:
    opened(browser, request.getfixturevalue(which), size)
    assert errors(browser) == []
    assert undrawn(browser) == []
    assert says(browser, "return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    shot(browser, f"{which}_{look}")


def test_schemes_are_named_points_that_a_filter_leaves_and_a_table_that_sorts(browser: Driver, schemes: Path) -> None:
    opened(browser, schemes)
    shown = "return [...document.querySelectorAll('#schemes figure:not([hidden])')].map((one) => one.dataset.chart)"
    assert len(says(browser, shown)) == 2
    words = "return [...document.querySelectorAll('#schemes figure:first-child .mark-text.role-mark text')]"
    words += ".map((one) => one.textContent)"
    assert set(says(browser, words)) == {"ptq8", "qat8", "ptq4", "qat4", "mixed-70", "ptq-mixed-70"}
    choose(browser, "method", "pruned-60")
    until(browser, lambda: len(says(browser, shown)) == 1)
    assert "pruned-60" in says(browser, shown)[0]
    until(browser, lambda: set(column(browser, "schemes", 3)) == {"pruned-60"})
    heading = browser.find_element(By.CSS_SELECTOR, "#of-schemes thead th:nth-child(5)")

    def bits() -> list[float]:
        return [float(text) for text in column(browser, "schemes", 5)]

    assert bits() != sorted(bits())
    heading.click()
    until(browser, lambda: bits() == sorted(bits()))
    assert errors(browser) == []


def test_a_mean_says_all_its_records_and_a_latency_the_line_of_its_file(browser: Driver, schemes: Path) -> None:
    opened(browser, schemes)
    dialog = browser.find_element(By.ID, "provenance")
    browser.find_element(By.CSS_SELECTOR, "#of-schemes tbody tr:nth-child(2) td:nth-child(9) button.of").click()
    assert "From 2 sources" in dialog.text
    for path in ("whole/record.json", "whole/ptq8/record.json"):
        assert f"{KEPT}/evaluate/cifar10/resnet20/seed0/{path}" in dialog.text
    dialog.find_element(By.CSS_SELECTOR, "button[aria-label=Close]").click()
    browser.find_element(By.CSS_SELECTOR, ".tiles:not([hidden]) .tile:last-child button.of").click()
    for text in ("measurements/amd-epyc-cpu/bench_latency_resnet20.csv", "latency_ms", "line"):
        assert text in dialog.text
    assert "undefined" not in dialog.text


def test_two_devices_stand_apart_in_the_headline_the_tables_and_the_pictures(browser: Driver, devices: Path) -> None:
    opened(browser, devices)
    options = Select(browser.find_element(By.ID, "headline")).options
    names = [option.get_attribute("textContent") for option in options]
    assert sum(name.endswith(HERE) for name in names) == sum(name.endswith(OTHER) for name in names) == len(names) / 2
    titles = "return [...document.querySelectorAll('#shapes figcaption')].map((one) => one.textContent)"
    assert [title.split("seed 0, ")[1] for title in says(browser, titles)] == [HERE, OTHER]
    wide = "return document.querySelectorAll('#of-networks thead th').length"
    rows = list(zip(column(browser, "networks", 3), column(browser, "networks", says(browser, wide)), strict=True))
    assert len(set(rows)) == len(rows) == 6
    choose(browser, "method", "whole")
    until(browser, lambda: set(column(browser, "networks", 3)) == {"whole"})
    assert set(column(browser, "networks", says(browser, wide))) == {HERE, OTHER}
    heading = browser.find_element(By.CSS_SELECTOR, "#of-networks thead th:last-child")
    heading.click()
    heading.click()
    until(browser, lambda: column(browser, "networks", says(browser, wide)) == [OTHER, HERE])
    assert errors(browser) == []
