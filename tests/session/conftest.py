"""The script itself, run as a user runs it, where packages that a bare machine lacks cannot be imported."""

import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ehap.records import Identity
from ehap.settings import Machine, Run
from ehap.stages import prepare, prune
from ehap.workflow.configuration import read_run
from tests.jobs import job_of

ROOT = Path(__file__).parents[2]
CELL = "digits/resnet20/seed0"
ABSENT = (
    *("snakemake", "dvc", "torchao", "onnx", "onnxscript", "onnxruntime", "altair", "itables"),
    *("vl_convert", "scipy", "sklearn", "tabulate", "tqdm", "hypothesis", "xdist", "selenium"),
)
"""Packages of the project that a session has to do without."""
BLOCKER = f"""
import sys

class AllButAbsent:
    def __init__(self, finders):
        self._finders = finders

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            return None
        return next(filter(None, (finder.find_spec(name, path, target) for finder in self._finders)), None)

    def find_distributions(self, context):
        if context.name in {ABSENT!r}:
            return []
        able = [finder for finder in self._finders if hasattr(finder, "find_distributions")]
        return [found for finder in able for found in finder.find_distributions(context)]

sys.meta_path[:] = [AllButAbsent(list(sys.meta_path))]
"""
CONFIG: dict[str, Any] = {
    "name": "small",
    "grid": {"datasets": ["digits"], "models": ["resnet20"], "seeds": [0], "methods": ["random"], "schemes": []},
    "prepare": {"all": {"train_images": 48, "test_images": 32}},
    "pretrain": {"all": {"epochs": 1, "learning_rate": 0.05, "batch_size": 16}},
    "prune": {"all": {"params": 0.3}},
    "finetune": {"all": {"epochs": 1, "learning_rate": 0.01, "batch_size": 16}},
    "methods": {"random": {"criterion": "random"}},
}


class Place:
    """A folder with a run in it, and sessions that are started there."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder, self.out = folder, folder / "out"
        self.config = folder / "small.yaml"
        self.config.write_text(yaml.safe_dump(CONFIG | changes))
        (folder / "blocker").mkdir()
        (folder / "blocker/sitecustomize.py").write_text(BLOCKER)
        self._prepare(read_run(self.config))

    def _prepare(self, run: Run) -> None:
        folder = self.folder / "results/small/prepare/digits"
        outputs = {"data": folder / "data.safetensors", "record": folder / "record.json"}
        cell = Identity(stage="prepare", dataset="digits")
        prepare.run(job_of(folder, run.prepare("digits"), cell, outputs=outputs, machine=Machine()))

    def make_pruned(self) -> None:
        """Prune the dense network, so that fine-tuning can begin."""
        results, cell = self.folder / "results/small", Identity(stage="prune", dataset="digits", model="resnet20")
        settings = read_run(self.config).prune("digits", "resnet20", "random")
        folder = results / "prune" / CELL / "random"
        files = {"plan": "plan.json", "pruned": "model.safetensors", "record": "record.json"}
        outputs = {name: folder / file for name, file in files.items()}
        inputs = {"checkpoint": results / "pretrain" / CELL / "model.safetensors"}
        prune.run(job_of(folder, settings, cell, inputs, outputs, machine=Machine()))

    def start(self, *options: str) -> "subprocess.Popen[str]":
        """Start a session in the folder."""
        script = [sys.executable, str(ROOT / "workflow_scripts/gpu_session.py"), "--rehearse", "--out", str(self.out)]
        run = ["--config", str(self.config), "--root", str(self.folder)]
        path = os.pathsep.join([str(self.folder / "blocker"), str(ROOT)])
        return subprocess.Popen(
            [*script, *run, *options],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def session(self, *options: str) -> tuple[int, str]:
        """Return exit code and output of a whole session."""
        process = self.start(*options)
        said, _ = process.communicate()
        return process.returncode, said

    def summary(self) -> dict[str, dict[str, str]]:
        """Return the rows of the summary, by step."""
        lines = (self.out / "summary.md").read_text().splitlines()
        head = ["part", "step", "seconds", "files", "state", "note"]
        start = lines.index(f"| {' | '.join(head)} |") + 2
        rows = [dict(zip(head, line.strip("| ").split(" | "), strict=False)) for line in lines[start:] if "|" in line]
        return {row["step"]: row for row in rows if row["part"] in ("costs", "tests", "trainings")}


def contents(archive: Path) -> dict[str, bytes]:
    """Return the files of an archive."""
    with tarfile.open(archive) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened.getmembers()}  # type: ignore[union-attr]


def wait_for(process: "subprocess.Popen[str]", done: Callable[[], bool]) -> None:
    """Wait until ``done``, as long as the process runs."""
    while not done():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)
