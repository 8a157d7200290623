"""Make the page of results of a run from what is there now; it says what is missing, and what makes it."""

import argparse
from pathlib import Path
from typing import Any

import yaml

from ehap.errors import EhapError, SettingsError
from ehap.settings import Run
from ehap.stages import report
from ehap.workflow.cells import page_records
from ehap.workflow.command import command_options

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("configuration", nargs="?", type=Path, default=Path("config/config.yaml"))
parser.add_argument("--results", type=Path, help="the folder of the run, if not results/<name>")
parser.add_argument("--page", type=Path, help="the file to write, if not report/index.html there")
args = parser.parse_args()


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except OSError:
        there = ", ".join(sorted(each.stem for each in path.parent.glob("*.yaml"))) or "none"
        raise SettingsError(f"{path}: expected a configuration there; in {path.parent} there are: {there}.") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: expected YAML ({' '.join(str(error).split())}).") from None


try:
    run = Run(_read(args.configuration))
    results = args.results or Path("results") / run.name
    page = args.page or results / "report/index.html"
    inputs = (Path("config/paper_results.csv"), Path("config/paper_settings.csv"), Path("measurements"))
    records, options = page_records(results, run.tables()), command_options([args.configuration], {})
    report.run(results, records, *inputs, page, run.tables(), options, run.name)
except EhapError as error:
    parser.exit(1, f"error: {error}\n")
print(page)
