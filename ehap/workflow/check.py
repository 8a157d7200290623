"""The state of a run's results, for commands that show them, keep them or share them."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from ehap.errors import ProvenanceError, SettingsError
from ehap.runtime.files import Hashes
from ehap.workflow.commits import advice
from ehap.workflow.comparison import OTHER_CODE, Comparison, Planned, compare
from ehap.workflow.provenance import made_by
from ehap.workflow.sources import BESIDE, RECORD, read_sources
from ehap.workflow.start import FOLDER, REPORT_VARIABLE

STAGES = Path("dvc.yaml")
LAST_LINES = 5


def configurations() -> dict[str, Path]:
    """Return the runs that DVC knows, with the configuration of each."""
    runs = yaml.safe_load(STAGES.read_text())["stages"]["run"]["foreach"]
    return {name: Path(run["config"]) for name, run in runs.items()}


def configuration_of(run: str) -> Path:
    """Return the configuration of a run that DVC knows.

    Raises:
        SettingsError: It knows none of this name.
    """
    known = configurations()
    if run not in known:
        raise SettingsError(f"dvc.yaml: expected a run {run!r} under stages.run.foreach; it has {', '.join(known)}.")
    return known[run]


def checked(configuration: Path) -> Comparison:
    """Compare a run's records with its files and with the plan, as the next start of Snakemake would.

    Args:
        configuration: Configuration of the run.

    Raises:
        ProvenanceError: Snakemake can make no plan; its own words are in the message.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "comparison.json"
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "all", "--configfile", str(configuration)]
        environment = os.environ | {REPORT_VARIABLE: str(report)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode or not report.exists():
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise ProvenanceError(f"{configuration}: there is no plan: {' '.join(lines[-LAST_LINES:])}")
        return Comparison(**json.loads(report.read_text()))


def checked_files(results: Path) -> Comparison:
    """Compare a run's records with its files alone, for use without a plan.

    Args:
        results: The folder of the run; paths in its records are relative to the current folder.
    """
    jobs, found = [], Comparison()
    for path in sorted([*results.rglob(RECORD), *results.rglob(f"*{BESIDE}")]):
        try:
            sources = read_sources(path)
        except ValueError:
            found.wrong[str(path)] = ["damaged"]
            continue
        if sources is None:
            found.old.append(str(path))
            continue
        jobs.append(
            Planned(
                inputs=tuple(sources.inputs),
                outputs=(str(path), *sources.outputs),
                settings=json.dumps(sources.settings),
                code=sources.code,
            )
        )
    compared = compare(jobs, Hashes(FOLDER / "hashes.json"))
    return Comparison({**found.wrong, **compared.wrong}, found.old + compared.old, compared.good, compared.behind)


def refuse_wrong(configuration: Path) -> None:
    """Raise ProvenanceError where a run's results do not belong to the files, settings and code that are here now."""
    found = checked(configuration)
    if found.behind or set(found.wrong) - set(found.unmade):  # missing results are no wrong ones
        raise ProvenanceError(
            f"{found.text()}\nNothing can vouch for these. Run Snakemake again (--configfile {configuration}), which "
            "makes them anew, or put the files, settings or code back that they were made from."
        )
    if found.old:
        print(found.text())


def said_of(configuration: Path, results: Path) -> str:
    """Return, for a terminal, the run's results that do not belong to the files, settings and code here.

    Args:
        configuration: Configuration of the run.
        results: Folder of the run; its packed notes name the commit that made it.
    """
    try:
        found = checked(configuration)
    except ProvenanceError as error:
        return f"not compared: {error}\n"
    lines = [found.text()] if found.text() else []
    reasons = [reason for each in found.wrong.values() for reason in each]
    if OTHER_CODE in reasons:
        lines.append(advice(made_by(results), len({*found.wrong, *found.behind})))
    elif found.wrong:
        lines.append("Snakemake makes this anew; or check out the commit that the run was pushed with.")
    return "".join(f"{line}\n" for line in lines)
