"""The page of results in a real browser: of the small run, of records kept elsewhere, and of a run not begun."""

from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.workflow.browser import (
    DESKTOP,
    LAPTOP,
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

KEPT = "measurements/amd-epyc-cpu/training_free"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of realistic records: three networks, some dozen methods."""
    target = tmp_path_factory.mktemp("kept") / "index.html"
    return page_of(ROOT, target, "config/training_free.yaml", "--results", KEPT)


@pytest.fixture(scope="module")
def small(finished: Path) -> Path:
    return finished / "results/small/report/index.html"


@pytest.mark.parametrize("which", ["small", "kept"])
@pytest.mark.parametrize(("size", "look"), [(DESKTOP, "desktop"), (PHONE, "phone")])
def test_it_opens_without_errors_or_a_network_and_draws_every_picture(
    browser: Driver, request: pytest.FixtureRequest, which: str, size: tuple[int, int], look: str
) -> None:
    opened(browser, request.getfixturevalue(which), size)
    assert errors(browser) == []
    asked = [entry["message"] for entry in browser.get_log("performance") if "requestWillBeSent" in entry["message"]]
    assert len(asked) >= 1  # the page itself: else this would see nothing
    assert [line for line in asked if '"url":"http' in line or '"url":"ws' in line] == []
    assert undrawn(browser) == []
    unnamed = "return [...document.querySelectorAll('[role=img]')].filter((picture) => !picture.ariaLabel || "
    described = "!document.getElementById(picture.getAttribute('aria-describedby')).textContent.trim()).length"
    assert says(browser, unnamed + described) == 0
    assert says(browser, "return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert says(browser, "return new Set([...document.querySelectorAll('[id]')].map((one) => one.id)).size") == says(
        browser, "return document.querySelectorAll('[id]').length"
    )
    shot(browser, f"{which}_{look}")


def test_the_first_screen_answers_with_the_numbers_of_the_records(browser: Driver, small: Path) -> None:
    opened(browser, small)
    tiles = browser.find_elements(By.CSS_SELECTOR, ".tiles:not([hidden]) .tile")
    assert [tile.find_element(By.TAG_NAME, "h2").text for tile in tiles][:4] == [
        *("Accuracy", "Parameters", "FLOPs an image", "File as written"),
    ]
    assert [label.text for label in tiles[0].find_elements(By.CLASS_NAME, "label")] == ["dense", "pruned", "INT8"]
    assert "272,474" in tiles[1].text
    bottom = max(tile.rect["y"] + tile.rect["height"] for tile in tiles)
    assert bottom < DESKTOP[1]
    picture = browser.find_element(By.CSS_SELECTOR, "#first figure")
    assert picture.rect["y"] < DESKTOP[1] - 200
    assert "records are here" in browser.find_element(By.CSS_SELECTOR, ".facts .good").text
    Select(browser.find_element(By.ID, "headline")).select_by_index(1)
    assert len(browser.find_elements(By.CSS_SELECTOR, ".tiles:not([hidden])")) == 1


@pytest.mark.parametrize("which", ["small", "kept"])
@pytest.mark.parametrize("size", [DESKTOP, LAPTOP])
def test_the_first_screen_holds_the_verdict_the_tiles_and_the_picture(
    browser: Driver, request: pytest.FixtureRequest, which: str, size: tuple[int, int]
) -> None:
    opened(browser, request.getfixturevalue(which), size)
    title = browser.find_element(By.TAG_NAME, "h1")
    assert "ResNet-20 on" in title.text
    assert "accurate" in title.text
    tiles = browser.find_elements(By.CSS_SELECTOR, ".tiles:not([hidden]) .tile")
    assert len({tile.rect["y"] for tile in tiles}) == 1
    assert not [tile.text for tile in tiles if ".csv" in tile.text]
    chart = browser.find_element(By.CSS_SELECTOR, "#first .chart svg")
    assert chart.rect["y"] + chart.rect["height"] <= size[1]
    shot(browser, f"{which}_{size[0]}")


def test_tables_of_a_dozen_columns_fit_a_laptop(browser: Driver, kept: Path) -> None:
    opened(browser, kept, LAPTOP)
    says(browser, "for (const folded of document.querySelectorAll('details')) folded.open = true")
    tables = says(
        browser,
        "return [...document.querySelectorAll('.scroll')].map((part) => [part.scrollWidth - part.clientWidth, "
        "part.querySelectorAll('thead th').length, part.closest('section').id])",
    )
    assert len([columns for _, columns, _ in tables if columns >= 10]) >= 5
    assert [table for table in tables if table[0] > 1 and table[1] <= 12] == []


def test_on_a_phone_two_tiles_stand_side_by_side(browser: Driver, kept: Path) -> None:
    opened(browser, kept, PHONE)
    tiles = browser.find_elements(By.CSS_SELECTOR, ".tiles:not([hidden]) .tile")
    assert len({tile.rect["x"] for tile in tiles}) == 2
    assert max(tile.rect["y"] + tile.rect["height"] for tile in tiles) < 1.2 * PHONE[1]


def test_tables_are_sorted_by_a_click_and_by_the_keyboard(browser: Driver, kept: Path) -> None:
    opened(browser, kept)
    heading = browser.find_element(By.CSS_SELECTOR, "#of-networks thead th:nth-child(4)")

    def numbers() -> list[float]:
        return [float(text.split()[0]) for text in column(browser, "networks", 4)]

    rising = sorted(numbers())
    assert numbers() not in (rising, rising[::-1])
    heading.click()
    until(browser, lambda: numbers() == rising)
    assert heading.get_attribute("aria-sort") == "ascending"
    says(browser, "arguments[0].querySelector('[tabindex]').focus()", heading)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until(browser, lambda: numbers() == rising[::-1])
    assert heading.get_attribute("aria-sort") == "descending"


def test_filters_reach_tables_pictures_and_the_first_screen(browser: Driver, kept: Path) -> None:
    opened(browser, kept)
    whole = len(column(browser, "networks", 1))
    choose(browser, "dataset", "cifar100")
    until(browser, lambda: set(column(browser, "networks", 1)) == {"CIFAR-100"})
    shown = (
        "return [...document.querySelectorAll('figure[data-dataset]:not([hidden])')].map((one) => one.dataset.dataset)"
    )
    assert set(says(browser, shown)) == {"cifar100"}
    assert "CIFAR-100" in Select(browser.find_element(By.ID, "headline")).first_selected_option.text
    assert browser.find_element(By.CSS_SELECTOR, "#first figure").get_attribute("data-dataset") == "cifar100"
    choose(browser, "dataset", "")
    choose(browser, "method", "gate-lamp-60")
    until(browser, lambda: column(browser, "networks", 3) == ["gate-lamp-60 (repaired)"])
    marks = "figure[data-chart=size-cifar10-resnet20] .mark-symbol.role-mark path"
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, marks)) == 1)
    choose(browser, "method", "")
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, marks)) > 1)
    search = browser.find_element(By.CSS_SELECTOR, ".filters input[type=search]")
    search.send_keys("long-25")
    until(browser, lambda: set(column(browser, "networks", 3)) == {"magnitude-lamp-long-25 (repaired)"})
    search.send_keys(Keys.CONTROL, "a")
    search.send_keys(Keys.DELETE)
    until(browser, lambda: len(column(browser, "networks", 1)) == whole)
    assert errors(browser) == []


def _headline(browser: Driver) -> tuple[str, int]:
    """Return the sentence on the first screen, and how many sets of tiles it shows."""
    return browser.find_element(By.TAG_NAME, "h1").text, len(
        browser.find_elements(By.CSS_SELECTOR, ".tiles:not([hidden])")
    )


def test_filters_leave_no_others_headline_and_no_empty_picture(browser: Driver, kept: Path) -> None:
    opened(browser, kept)
    before = _headline(browser)
    choose(browser, "method", "dense")
    until(browser, lambda: _headline(browser)[1] == 0)
    assert "The filters leave no pruned network" in _headline(browser)[0]
    seen = "return [...document.querySelectorAll('figure:not([hidden])')].map((one) => one.dataset.chart)"
    assert not [name for name in says(browser, seen) if name.startswith(("repair", "shapes"))]
    choose(browser, "method", "")
    until(browser, lambda: _headline(browser) == before)
    options = Select(browser.find_element(By.CSS_SELECTOR, ".filters select[name=method]")).options
    names = [option.get_attribute("value") for option in options]
    assert not [name for name in names if "-draw" in name]
    assert "magnitude-lamp-60" in names
    choose(browser, "method", "magnitude-lamp-60")
    until(browser, lambda: set(column(browser, "repaired", 3)) == {"magnitude-lamp-60"})
    drawn = {name.split(" ")[0] for name in column(browser, "networks", 3)}
    assert {name.partition("-draw")[0] for name in drawn} == {"magnitude-lamp-60"}
    choose(browser, "method", "")
    choose(browser, "dataset", "cifar100")
    choose(browser, "model", "resnet32")
    until(browser, lambda: _headline(browser)[1] == 0)
    latency = "return [...document.querySelectorAll('#latency figure:not([hidden])')].length"
    assert says(browser, latency) == 0  # the run has no ResNet-32 on CIFAR-100
    assert errors(browser) == []


def test_the_picture_marks_the_network_of_the_headline(browser: Driver, kept: Path) -> None:
    opened(browser, kept)
    points = "return [...document.querySelectorAll('#first .mark-symbol.role-mark path')].map((one) => "
    clear = points + "Number(getComputedStyle(one).opacity)).filter((opacity) => opacity === 1).length"
    labels = "[...document.querySelectorAll('#first .mark-text.role-mark text')].filter("
    labels += "(one) => getComputedStyle(one).opacity === '1')"
    words = f"return {labels}.map((one) => one.textContent)"
    until(browser, lambda: says(browser, words) == ["dense", "pruned"])
    assert says(browser, clear) == 2
    place = f"return {labels}[1]?.getAttribute('transform')"
    first = says(browser, place)
    assert first
    Select(browser.find_element(By.ID, "headline")).select_by_index(5)
    until(browser, lambda: says(browser, place) != first)
    assert says(browser, clear) == 2


def test_the_contents_say_where_the_reader_is(browser: Driver, kept: Path) -> None:
    opened(browser, kept)
    says(browser, "document.getElementById('settings').scrollIntoView()")
    here = "return [...document.querySelectorAll('aside [aria-current]')].map((link) => [link.hash, link.ariaCurrent])"
    until(browser, lambda: says(browser, here) == [["#settings", "true"]])


def test_a_number_says_where_it_comes_from_by_click_and_by_keyboard(browser: Driver, small: Path) -> None:
    opened(browser, small)
    button = browser.find_element(By.CSS_SELECTOR, "#of-networks tr[data-method=hap] button.of")
    button.click()
    dialog = browser.find_element(By.ID, "provenance")
    assert dialog.is_displayed()
    path = "results/small/evaluate/digits/resnet20/seed0/hap/record.json"
    for text in (path, "device", "versions", "torch", "code digest", "duration", "seed"):
        assert text in dialog.text
    assert browser.switch_to.active_element.get_attribute("aria-label") == "Close"
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()
    says(browser, "arguments[0].focus()", button)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert dialog.is_displayed()
    browser.switch_to.active_element.send_keys(Keys.ENTER)  # the focus is on the button that closes it
    assert not dialog.is_displayed()
    assert says(browser, "return document.activeElement === arguments[0]", button)


def test_dark_and_light_differ_by_the_system_and_by_the_switch(browser: Driver, small: Path) -> None:
    opened(browser, small)
    light = shot(browser, "small_light")
    ground = "return getComputedStyle(document.body).backgroundColor"
    ink = "return getComputedStyle(document.querySelector('svg .role-axis-label text')).fill"
    bright = says(browser, ground), says(browser, ink)
    opened(browser, small, scheme="dark")
    dark = shot(browser, "small_dark")
    gloomy = says(browser, ground), says(browser, ink)
    assert bright[0] != gloomy[0]
    assert bright[1] != gloomy[1]  # the pictures follow
    assert light != dark
    switch = browser.find_element(By.ID, "theme")
    switch.click()  # from the system's to light
    assert (says(browser, ground), says(browser, ink)) == bright
    switch.click()
    switch.click()
    assert says(browser, ground) == gloomy[0]


def test_on_paper_it_is_light_whole_and_without_its_filters(browser: Driver, kept: Path) -> None:
    opened(browser, kept, scheme="dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert not browser.find_element(By.CSS_SELECTOR, "aside").is_displayed()
    assert says(browser, "return getComputedStyle(document.querySelector('td')).color") == "rgb(27, 36, 48)"
    a4 = {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False}  # within its margins, at 96 a inch
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", a4)
    wide = "return [...document.querySelectorAll('table')].map((table) => [table.getBoundingClientRect().right, "
    wide += "table.closest('.table')?.id]).filter(([right]) => right > 718)"
    rows = "return document.querySelectorAll('#of-records tbody tr').length"
    turned = says(browser, rows)
    says(browser, "window.dispatchEvent(new Event('beforeprint'))")
    assert says(browser, rows) > turned
    assert says(browser, "return document.querySelectorAll('main details:not([open])').length") == 0
    assert says(browser, wide) == []
    says(browser, "window.dispatchEvent(new Event('afterprint'))")
    assert says(browser, rows) == turned


def test_the_page_says_where_it_stands(small: Path) -> None:
    assert "none: this folder is no git repository" in small.read_text()
