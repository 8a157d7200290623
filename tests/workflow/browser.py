"""A page of results in a real browser: opened, asked, filtered, and its picture kept."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.workflow.warm_python import warm_python

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
SHOTS = Path(__file__).parents[2] / "screenshots"
DESKTOP, LAPTOP, PHONE = (1440, 900), (1280, 900), (390, 844)
Driver = Any


def started(profile: Path) -> Driver:
    """Start the browser, or skip where none is installed."""
    if BROWSER is None or DRIVER is None:
        pytest.skip("no Chromium with its driver here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))


def page_of(folder: Path, target: Path, configuration: str, *arguments: str) -> Path:
    """Make the page of what is there, as `make report` does."""
    command = [warm_python(), "workflow_scripts/report_now.py", configuration, "--page", str(target), *arguments]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def opened(browser: Driver, page: Path, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> None:
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    preferred = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [preferred]})
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())
    until(browser, lambda: says(browser, "return document.documentElement.dataset.drawn !== undefined"))


def says(browser: Driver, script: str, *arguments: object) -> Any:
    return browser.execute_script(script, *arguments)


def until(browser: Driver, condition: Callable[[], object]) -> None:
    """Wait until something is so: DataTables and Vega work between two frames of the browser."""
    WebDriverWait(browser, 300).until(lambda _: condition())


def shot(browser: Driver, name: str) -> bytes:
    SHOTS.mkdir(exist_ok=True)
    picture: bytes = browser.get_screenshot_as_png()
    (SHOTS / f"{name}.png").write_bytes(picture)
    return picture


def column(browser: Driver, table: str, index: int) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((cell) => cell.textContent)"
    found: list[str] = says(browser, script, f"#of-{table} tbody td:nth-child({index})")
    return found


def choose(browser: Driver, name: str, value: str) -> None:
    Select(browser.find_element(By.CSS_SELECTOR, f".filters select[name={name}]")).select_by_value(value)


def errors(browser: Driver) -> list[Any]:
    """Return what the console has said since it was last asked."""
    return [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"]


def undrawn(browser: Driver) -> list[str]:
    """Return the pictures on the page without a mark."""
    figures = "return [...document.querySelectorAll('figure')].map((figure) => [figure.dataset.chart, "
    marks = "figure.querySelectorAll('svg .mark-symbol path, svg .mark-line path, svg .mark-rect path').length])"
    drawn = says(browser, figures + marks)
    assert len(drawn) >= 4
    return [name for name, count in drawn if count == 0]
