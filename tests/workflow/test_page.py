"""The page of results in a real browser: of the small run, of records kept elsewhere, and of a run not begun."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.workflow.conftest import ROOT

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
SHOTS = ROOT / "screenshots"
DESKTOP, LAPTOP, PHONE = (1440, 900), (1280, 900), (390, 844)
KEPT = "measurements/amd-epyc-cpu/training_free"
Driver = Any


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    if BROWSER is None or DRIVER is None:
        pytest.skip("no Chromium with its driver here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def _page(folder: Path, target: Path, configuration: str, *arguments: str) -> Path:
    """Make the page of what is there, as `make report` does."""
    command = [sys.executable, "workflow_scripts/report_now.py", configuration, "--page", str(target), *arguments]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of realistic records: three networks, some dozen methods."""
    target = tmp_path_factory.mktemp("kept") / "index.html"
    return _page(ROOT, target, "config/training_free.yaml", "--results", KEPT)


@pytest.fixture(scope="module")
def small(finished: Path) -> Path:
    return finished / "results/small/report/index.html"


def _open(browser: Driver, page: Path, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> None:
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    preferred = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [preferred]})
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())
    _until(browser, lambda: _says(browser, "return document.documentElement.dataset.drawn !== undefined"))


def _says(browser: Driver, script: str, *arguments: object) -> Any:
    return browser.execute_script(script, *arguments)


def _until(browser: Driver, condition: Callable[[], object]) -> None:
    """Wait until something is so: DataTables and Vega work between two frames of the browser."""
    WebDriverWait(browser, 300).until(lambda _: condition())


def _shot(browser: Driver, name: str) -> bytes:
    SHOTS.mkdir(exist_ok=True)
    picture: bytes = browser.get_screenshot_as_png()
    (SHOTS / f"{name}.png").write_bytes(picture)
    return picture


def _column(browser: Driver, table: str, index: int) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((cell) => cell.textContent)"
    found: list[str] = _says(browser, script, f"#of-{table} tbody td:nth-child({index})")
    return found


def _choose(browser: Driver, name: str, value: str) -> None:
    Select(browser.find_element(By.CSS_SELECTOR, f".filters select[name={name}]")).select_by_value(value)


@pytest.mark.parametrize("which", ["small", "kept"])
@pytest.mark.parametrize(("size", "look"), [(DESKTOP, "desktop"), (PHONE, "phone")])
def test_it_opens_without_errors_or_a_network_and_draws_every_picture(
    browser: Driver, request: pytest.FixtureRequest, which: str, size: tuple[int, int], look: str
) -> None:
    _open(browser, request.getfixturevalue(which), size)
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    asked = [entry["message"] for entry in browser.get_log("performance") if "requestWillBeSent" in entry["message"]]
    assert len(asked) >= 1  # the page itself: else this would see nothing
    assert [line for line in asked if '"url":"http' in line or '"url":"ws' in line] == []
    figures = "return [...document.querySelectorAll('figure')].map((figure) => [figure.dataset.chart, "
    marks = "figure.querySelectorAll('svg .mark-symbol path, svg .mark-line path, svg .mark-rect path').length])"
    drawn = _says(browser, figures + marks)
    assert len(drawn) >= 4
    assert [name for name, count in drawn if count == 0] == []
    unnamed = "return [...document.querySelectorAll('[role=img]')].filter((picture) => !picture.ariaLabel || "
    described = "!document.getElementById(picture.getAttribute('aria-describedby')).textContent.trim()).length"
    assert _says(browser, unnamed + described) == 0
    assert _says(browser, "return document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert _says(browser, "return new Set([...document.querySelectorAll('[id]')].map((one) => one.id)).size") == _says(
        browser, "return document.querySelectorAll('[id]').length"
    )
    _shot(browser, f"{which}_{look}")


def test_the_first_screen_answers_with_the_numbers_of_the_records(browser: Driver, small: Path) -> None:
    _open(browser, small)
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
    _open(browser, request.getfixturevalue(which), size)
    title = browser.find_element(By.TAG_NAME, "h1")
    assert "ResNet-20 on" in title.text
    assert "accurate" in title.text
    tiles = browser.find_elements(By.CSS_SELECTOR, ".tiles:not([hidden]) .tile")
    assert len({tile.rect["y"] for tile in tiles}) == 1
    assert not [tile.text for tile in tiles if ".csv" in tile.text]
    chart = browser.find_element(By.CSS_SELECTOR, "#first .chart svg")
    assert chart.rect["y"] + chart.rect["height"] <= size[1]
    _shot(browser, f"{which}_{size[0]}")


def test_on_a_phone_two_tiles_stand_side_by_side(browser: Driver, kept: Path) -> None:
    _open(browser, kept, PHONE)
    tiles = browser.find_elements(By.CSS_SELECTOR, ".tiles:not([hidden]) .tile")
    assert len({tile.rect["x"] for tile in tiles}) == 2
    assert max(tile.rect["y"] + tile.rect["height"] for tile in tiles) < 1.2 * PHONE[1]


def test_tables_are_sorted_by_a_click_and_by_the_keyboard(browser: Driver, kept: Path) -> None:
    _open(browser, kept)
    heading = browser.find_element(By.CSS_SELECTOR, "#of-networks thead th:nth-child(4)")

    def numbers() -> list[float]:
        return [float(text.split()[0]) for text in _column(browser, "networks", 4)]

    rising = sorted(numbers())
    assert numbers() not in (rising, rising[::-1])
    heading.click()
    _until(browser, lambda: numbers() == rising)
    assert heading.get_attribute("aria-sort") == "ascending"
    _says(browser, "arguments[0].querySelector('[tabindex]').focus()", heading)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    _until(browser, lambda: numbers() == rising[::-1])
    assert heading.get_attribute("aria-sort") == "descending"


def test_filters_reach_tables_pictures_and_the_first_screen(browser: Driver, kept: Path) -> None:
    _open(browser, kept)
    whole = len(_column(browser, "networks", 1))
    _choose(browser, "dataset", "cifar100")
    _until(browser, lambda: set(_column(browser, "networks", 1)) == {"CIFAR-100"})
    shown = (
        "return [...document.querySelectorAll('figure[data-dataset]:not([hidden])')].map((one) => one.dataset.dataset)"
    )
    assert set(_says(browser, shown)) == {"cifar100"}
    assert "CIFAR-100" in Select(browser.find_element(By.ID, "headline")).first_selected_option.text
    assert browser.find_element(By.CSS_SELECTOR, "#first figure").get_attribute("data-dataset") == "cifar100"
    _choose(browser, "dataset", "")
    _choose(browser, "method", "gate-lamp-60")
    _until(browser, lambda: _column(browser, "networks", 3) == ["gate-lamp-60 (repaired)"])
    marks = "figure[data-chart=size-cifar10-resnet20] .mark-symbol.role-mark path"
    _until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, marks)) == 1)
    _choose(browser, "method", "")
    _until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, marks)) > 1)
    search = browser.find_element(By.CSS_SELECTOR, ".filters input[type=search]")
    search.send_keys("long-25")
    _until(browser, lambda: set(_column(browser, "networks", 3)) == {"magnitude-lamp-long-25 (repaired)"})
    search.send_keys(Keys.CONTROL, "a")
    search.send_keys(Keys.DELETE)
    _until(browser, lambda: len(_column(browser, "networks", 1)) == whole)
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


def _headline(browser: Driver) -> tuple[str, int]:
    """Return the sentence on the first screen, and how many sets of tiles it shows."""
    return browser.find_element(By.TAG_NAME, "h1").text, len(
        browser.find_elements(By.CSS_SELECTOR, ".tiles:not([hidden])")
    )


def test_filters_leave_no_others_headline_and_no_empty_picture(browser: Driver, kept: Path) -> None:
    _open(browser, kept)
    before = _headline(browser)
    _choose(browser, "method", "dense")
    _until(browser, lambda: _headline(browser)[1] == 0)
    assert "The filters leave no pruned network" in _headline(browser)[0]
    seen = "return [...document.querySelectorAll('figure:not([hidden])')].map((one) => one.dataset.chart)"
    assert not [name for name in _says(browser, seen) if name.startswith(("repair", "shapes"))]
    _choose(browser, "method", "")
    _until(browser, lambda: _headline(browser) == before)
    options = Select(browser.find_element(By.CSS_SELECTOR, ".filters select[name=method]")).options
    names = [option.get_attribute("value") for option in options]
    assert not [name for name in names if "-draw" in name]
    assert "magnitude-lamp-60" in names
    _choose(browser, "method", "magnitude-lamp-60")
    _until(browser, lambda: set(_column(browser, "repaired", 3)) == {"magnitude-lamp-60"})
    drawn = {name.split(" ")[0] for name in _column(browser, "networks", 3)}
    assert {name.partition("-draw")[0] for name in drawn} == {"magnitude-lamp-60"}
    _choose(browser, "method", "")
    _choose(browser, "dataset", "cifar100")
    _choose(browser, "model", "resnet32")
    _until(browser, lambda: _headline(browser)[1] == 0)
    latency = "return [...document.querySelectorAll('#latency figure:not([hidden])')].length"
    assert _says(browser, latency) == 0  # the run has no ResNet-32 on CIFAR-100
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


def test_the_picture_marks_the_network_of_the_headline(browser: Driver, kept: Path) -> None:
    _open(browser, kept)
    points = "return [...document.querySelectorAll('#first .mark-symbol.role-mark path')].map((one) => "
    clear = points + "Number(getComputedStyle(one).opacity)).filter((opacity) => opacity === 1).length"
    labels = "[...document.querySelectorAll('#first .mark-text.role-mark text')].filter("
    labels += "(one) => getComputedStyle(one).opacity === '1')"
    words = f"return {labels}.map((one) => one.textContent)"
    _until(browser, lambda: _says(browser, words) == ["dense", "pruned"])
    assert _says(browser, clear) == 2
    place = f"return {labels}[1]?.getAttribute('transform')"
    first = _says(browser, place)
    assert first
    Select(browser.find_element(By.ID, "headline")).select_by_index(5)
    _until(browser, lambda: _says(browser, place) != first)
    assert _says(browser, clear) == 2


def test_the_contents_say_where_the_reader_is(browser: Driver, kept: Path) -> None:
    _open(browser, kept)
    _says(browser, "document.getElementById('settings').scrollIntoView()")
    here = "return [...document.querySelectorAll('aside [aria-current]')].map((link) => [link.hash, link.ariaCurrent])"
    _until(browser, lambda: _says(browser, here) == [["#settings", "true"]])


def test_a_number_says_where_it_comes_from_by_click_and_by_keyboard(browser: Driver, small: Path) -> None:
    _open(browser, small)
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
    _says(browser, "arguments[0].focus()", button)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert dialog.is_displayed()
    browser.switch_to.active_element.send_keys(Keys.ENTER)  # the focus is on the button that closes it
    assert not dialog.is_displayed()
    assert _says(browser, "return document.activeElement === arguments[0]", button)


def test_dark_and_light_differ_by_the_system_and_by_the_switch(browser: Driver, small: Path) -> None:
    _open(browser, small)
    light = _shot(browser, "small_light")
    ground = "return getComputedStyle(document.body).backgroundColor"
    ink = "return getComputedStyle(document.querySelector('svg .role-axis-label text')).fill"
    bright = _says(browser, ground), _says(browser, ink)
    _open(browser, small, scheme="dark")
    dark = _shot(browser, "small_dark")
    gloomy = _says(browser, ground), _says(browser, ink)
    assert bright[0] != gloomy[0]
    assert bright[1] != gloomy[1]  # the pictures follow
    assert light != dark
    switch = browser.find_element(By.ID, "theme")
    switch.click()  # from the system's to light
    assert (_says(browser, ground), _says(browser, ink)) == bright
    switch.click()
    switch.click()
    assert _says(browser, ground) == gloomy[0]


def test_on_paper_it_is_light_whole_and_without_its_filters(browser: Driver, kept: Path) -> None:
    _open(browser, kept, scheme="dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert not browser.find_element(By.CSS_SELECTOR, "aside").is_displayed()
    assert _says(browser, "return getComputedStyle(document.querySelector('td')).color") == "rgb(27, 36, 48)"
    a4 = {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False}  # within its margins, at 96 a inch
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", a4)
    wide = "return [...document.querySelectorAll('table')].map((table) => [table.getBoundingClientRect().right, "
    wide += "table.closest('.table')?.id]).filter(([right]) => right > 718)"
    rows = "return document.querySelectorAll('#of-records tbody tr').length"
    turned = _says(browser, rows)
    _says(browser, "window.dispatchEvent(new Event('beforeprint'))")
    assert _says(browser, rows) > turned
    assert _says(browser, "return document.querySelectorAll('main details:not([open])').length") == 0
    assert _says(browser, wide) == []
    _says(browser, "window.dispatchEvent(new Event('afterprint'))")
    assert _says(browser, rows) == turned


def test_a_run_that_has_not_begun_says_how_to_begin(browser: Driver, tmp_path: Path) -> None:
    page = _page(ROOT, tmp_path / "index.html", "config/config.yaml", "--results", str(tmp_path / "nothing"))
    _open(browser, page)
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    assert ".venv/bin/snakemake --configfile config/config.yaml" in browser.find_element(By.TAG_NAME, "header").text
    commands = [code.get_attribute("textContent") for code in browser.find_elements(By.TAG_NAME, "code")]
    assert len(commands) > 3
    assert {command.split()[0] for command in commands} <= {".venv/bin/snakemake", "make"}
    _shot(browser, "nothing_desktop")


def test_a_damaged_record_is_one_clear_line(finished: Path, tmp_path: Path) -> None:
    results = tmp_path / "small"
    shutil.copytree(finished / "results/small", results)
    damaged = results / "evaluate/digits/resnet20/seed0/hap/record.json"
    damaged.write_text(damaged.read_text()[:50])
    command = [sys.executable, "workflow_scripts/report_now.py", "run.yaml", "--results", str(results)]
    environment = os.environ | {"PYTHONPATH": str(finished)}
    done = subprocess.run(command, cwd=finished, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {damaged}: expected a record in JSON")
    assert len(done.stderr.splitlines()) == 1


def test_the_page_says_where_it_stands(small: Path) -> None:
    assert "none: this folder is no git repository" in small.read_text()
