"""A copy of the project in a temporary folder, and Snakemake run there for real."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from tests.workflow.browser import Driver, started
from tests.workflow.warm_python import tools, warm_python

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "rules", "workflow_scripts", "ehap", "config", "profiles", "envs", "dvc.yaml", ".dvcignore")

SMALL: dict[str, Any] = {
    "name": "small",
    "grid": {
        "datasets": ["digits"],
        "models": ["resnet20"],
        "seeds": [0],
        "methods": ["hap", "random"],
        "schemes": ["qat8"],
    },
    "machine": {"device": "cpu"},
    "prepare": {"all": {"train_images": 48, "test_images": 32}},
    "pretrain": {"all": {"epochs": 1, "learning_rate": 0.05, "batch_size": 16}},
    "trace": {"all": {"batch_size": 16, "samples": 2}},
    "curvatures": {"hutchinson-fp32": {"precision": "fp32"}},
    "prune": {"all": {"params": 0.3}},
    "finetune": {"all": {"epochs": 1, "learning_rate": 0.01, "batch_size": 16}},
    "qat": {"all": {"epochs": 1, "learning_rate": 1e-3, "batch_size": 16}},
    "methods": {"hap": {"criterion": "trace", "curvature": "hutchinson-fp32"}, "random": {"criterion": "random"}},
    "schemes": {"qat8": {"bits": 8}},
}

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
DVC = ["dvc"]
os.environ["EHAP_WARM"] = "0"  # Snakemake runs in a warm Python itself; so its jobs do


def scripts_of_jobs() -> dict[str, dict[str, Any]]:
    """Return the name of each script that runs a job to the constants among the keywords of its ``execute``."""
    found = {}
    for path in sorted((ROOT / "workflow_scripts").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "execute":
                constants = [each for each in node.keywords if isinstance(each.value, ast.Constant)]
                found[path.stem] = {str(each.arg): ast.literal_eval(each.value) for each in constants}
    return found


def copy_project(folder: Path) -> Path:
    """Copy what a run needs into ``folder``: scripts there import the package beside them."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / part)
    return folder


def without_messages(folder: Path) -> None:
    """Have Snakemake list files, threads and resources of each job, in place of the message of its rule."""
    for path in (folder / "rules").glob("*.smk"):
        path.write_text(re.sub(r"^    message:\n        .*\n", "", path.read_text(), flags=re.MULTILINE))


def write_config(folder: Path, config: dict[str, Any]) -> None:
    (folder / "run.yaml").write_text(yaml.safe_dump(config))


def snakemake_in(folder: Path, *arguments: str, python: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run Snakemake in ``folder`` on its run.yaml; the copy's own package is the one that is imported."""
    command = [python or warm_python(), "-m", "snakemake", *arguments, "--configfile", "run.yaml"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    if python == sys.executable:
        environment.pop("EHAP_WARM")
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def planned(folder: Path, *arguments: str, python: str | None = None) -> dict[str, int]:
    """Return rule → number of jobs that a dry run plans; empty when there is nothing to do."""
    result = snakemake_in(folder, "--dry-run", *arguments, python=python)
    assert result.returncode == 0, result.stdout + result.stderr
    text = result.stdout + result.stderr
    if "Job stats:" not in text:
        assert "Nothing to be done" in text, text
        return {}
    rows = text.split("Job stats:")[1].split("total")[0].splitlines()[3:]
    return {row.split()[0]: int(row.split()[1]) for row in rows if len(row.split()) == 2}


def run_in(folder: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(folder), "PATH": tools()}  # dvc.yaml calls snakemake by its name
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def restored_in(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [warm_python(), "-m", "ehap.workflow", "restore", *options]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The small grid, run from beginning to end once for all workers; tests that change it copy it first."""
    own = tmp_path_factory.getbasetemp()
    folder = (
        own if worker_id == "master" else own.parent
    ) / "a user's run"  # no quote and no space in a path is in anybody's way
    said = folder / "said.txt"
    with FileLock(f"{folder}.lock"):
        if not said.exists():
            shutil.rmtree(folder, ignore_errors=True)  # another worker's run that failed
            folder.mkdir()
            copy_project(folder)
            write_config(folder, SMALL)
            result = snakemake_in(folder, python=sys.executable)  # as users do, from a Python that knows nothing
            assert result.returncode == 0, result.stdout + result.stderr
            said.write_text(result.stdout + result.stderr)
    return folder


def copy_finished(finished: Path, folder: Path) -> Path:
    """Copy a finished run, times and Snakemake's records included, but not what another worker's Python may rename."""
    shutil.copytree(finished, folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return copy_finished(finished, tmp_path / "a user's project")


@pytest.fixture(scope="session")
def origin(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run in a repository, packed, committed and pushed to a remote folder beside it."""
    folder = tmp_path_factory.mktemp("shared") / "a user's origin"
    copy_finished(finished, folder)
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())
    stages["stages"]["run"]["foreach"] = {"small": {"config": "run.yaml"}}
    (folder / "dvc.yaml").write_text(yaml.safe_dump(stages))
    shutil.copy(ROOT / ".gitignore", folder)
    run_in(folder, *GIT, "init", "--quiet")
    run_in(folder, *DVC, "init", "--quiet")
    run_in(folder, *DVC, "remote", "add", "--default", "shared", "../remote")
    run_in(folder, *DVC, "remote", "modify", "shared", "verify", "true")
    run_in(folder, "python", "-m", "ehap.workflow", "pack")
    run_in(folder, *DVC, "commit", "--force", "--quiet", "run@small")
    run_in(folder, *DVC, "push", "--quiet")
    run_in(folder, *GIT, "add", "--all")
    run_in(folder, *GIT, "commit", "--quiet", "--message", "run")
    return folder


@pytest.fixture(scope="session")
def cloned_once(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cloned") / "a user's clone"
    run_in(folder.parent, *GIT, "clone", "--quiet", str(origin), str(folder))
    local_config(folder, origin.parent / "remote")
    run_in(folder, *DVC, "pull", "--quiet")
    done = restored_in(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def clone(cloned_once: Path, tmp_path: Path) -> Path:
    """A clone of the repository with everything pulled and the notes restored."""
    return copy_finished(cloned_once, tmp_path / "a user's clone")


def local_config(folder: Path, remote: Path, link: str = "copy") -> None:
    """Write the place of the remote and the kind of links, as ``dvc config --local`` does."""
    (folder / ".dvc/config.local").write_text(
        f"[cache]\n    type = {link}\n['remote \"shared\"']\n    url = {remote}\n"
    )


def read_record(folder: Path, path: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "results/small" / path / "record.json").read_text())
    return record


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    driver = started(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()
