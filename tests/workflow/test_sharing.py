"""Results shared by DVC: what one clone pushes, another pulls, and neither computes again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ehap.errors import ProvenanceError
from ehap.workflow.provenance import NAME, pack
from tests.workflow.conftest import SMALL, planned, snakemake_in, write_config
from tests.workflow.test_run import CELL, _config

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
DVC = [sys.executable, "-m", "dvc"]


def _run(folder: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _restore(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "ehap.workflow", "restore", *options]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def origin(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run in a repository, packed, committed and pushed to a remote folder beside it."""
    folder = tmp_path_factory.mktemp("shared") / "origin"
    shutil.copytree(finished, folder, symlinks=True)
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())
    stages["stages"]["run"]["foreach"] = {"small": {"config": "run.yaml"}}
    stages.pop("plots")
    stages["metrics"] = ["results/small/tables/summary.json"]
    (folder / "dvc.yaml").write_text(yaml.safe_dump(stages))
    (folder / ".gitignore").write_text("/results/\n/.snakemake/\n/logs/\n/benchmarks/\n/state/\n__pycache__/\n")
    _run(folder, *GIT, "init", "--quiet")
    _run(folder, *DVC, "init", "--quiet")
    _run(folder, *DVC, "remote", "add", "--default", "shared", "../remote")
    _run(folder, *DVC, "remote", "modify", "shared", "verify", "true")
    _run(folder, sys.executable, "-m", "ehap.workflow", "pack")
    _run(folder, *DVC, "commit", "--force", "--quiet", "run@small")
    _run(folder, *DVC, "push", "--quiet")
    _run(folder, *GIT, "add", "--all")
    _run(folder, *GIT, "commit", "--quiet", "--message", "run")
    return folder


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    """A clone of the repository with everything pulled and the notes restored."""
    folder = tmp_path / "clone"
    _run(tmp_path, *GIT, "clone", "--quiet", str(origin), str(folder))
    _run(folder, *DVC, "remote", "modify", "--local", "shared", "url", str(origin.parent / "remote"))
    _run(folder, *DVC, "pull", "--quiet")
    done = _restore(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_what_one_clone_pushed_another_need_not_compute(clone: Path) -> None:
    assert planned(clone) == {}
    assert "up to date" in _run(clone, *DVC, "status", "run@small")
    assert "small" in _run(clone, *DVC, "metrics", "show", "--md")


def test_notes_name_no_place_on_the_machine_that_made_them(origin: Path) -> None:
    text = (origin / "results/small" / NAME).read_text()
    assert str(origin) not in text
    assert sys.executable not in text


def test_in_a_clone_a_change_plans_what_depends_on_it(clone: Path) -> None:
    write_config(clone, _config("grid|seeds", [0, 1]))
    jobs = planned(clone)
    assert (jobs["pretrain"], jobs["trace"], jobs["finetune"], jobs["tables"]) == (1, 1, 2, 1)
    assert "prepare" not in jobs
    write_config(clone, _config("finetune|resnet20", {"learning_rate": 0.02}))
    jobs = planned(clone)
    assert (jobs["finetune"], jobs["qat"], jobs["tables"]) == (2, 2, 1)
    assert not {"pretrain", "trace", "prune", "assess"} & set(jobs)
    write_config(clone, SMALL)
    path = clone / "ehap/curvature/hutchinson.py"
    path.write_text("# A comment.\n" + path.read_text())
    assert planned(clone) == {}
    path.write_text(
        path.read_text().replace("HIGHEST_SCALE, LOWEST_SCALE = 2.0**24", "HIGHEST_SCALE, LOWEST_SCALE = 2.0**20")
    )
    jobs = planned(clone)
    assert (jobs["trace"], jobs["prune"], jobs["finetune"]) == (1, 1, 1)
    assert "pretrain" not in jobs


def test_in_a_clone_new_file_times_plan_nothing(clone: Path) -> None:
    for number, path in enumerate(sorted((clone / "results").rglob("*"), reverse=True)):
        if path.is_file():
            os.utime(path, (1_700_000_000 + 1000 * (number % 7), 1_700_000_000 + 1000 * (number % 7)))
    assert planned(clone) == {}


def test_an_output_that_is_not_what_was_packed_is_found_and_made_again(clone: Path) -> None:
    weights = clone / f"results/small/finetune/{CELL}/hap/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()  # DVC may have linked it to its cache
    weights.write_bytes(bytes(content))
    done = _restore(clone)
    assert done.returncode == 1
    assert f"{weights.relative_to(clone)} is not what was packed: dvc checkout --force" in done.stderr
    jobs = planned(clone)
    assert (jobs["finetune"], jobs["qat"], jobs["tables"]) == (1, 1, 1)
    assert not {"pretrain", "trace", "prune"} & set(jobs)
    _run(clone, *DVC, "checkout", "--force", "--quiet")
    assert _restore(clone).returncode == 0
    assert planned(clone) == {}


def test_a_damaged_object_in_the_remote_is_not_taken(origin: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    shutil.copytree(origin.parent / "remote", remote)
    largest = max((path for path in remote.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    largest.chmod(0o644)
    largest.write_bytes(largest.read_bytes()[:-1] + b"!")
    folder = tmp_path / "clone"
    _run(tmp_path, *GIT, "clone", "--quiet", str(origin), str(folder))
    _run(folder, *DVC, "remote", "modify", "--local", "shared", "url", str(remote))
    done = subprocess.run([*DVC, "pull"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "corrupted" in done.stderr or "failed" in done.stderr.lower()
    _run(folder, *DVC, "remote", "modify", "--local", "shared", "url", str(origin.parent / "remote"))
    _run(folder, *DVC, "pull", "--quiet")
    assert _restore(folder).returncode == 0
    assert planned(folder) == {}


def test_a_part_of_the_results_may_be_pulled_and_packed_again_without_losing_the_rest(
    origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "clone"
    _run(tmp_path, *GIT, "clone", "--quiet", str(origin), str(folder))
    _run(folder, *DVC, "remote", "modify", "--local", "shared", "url", str(origin.parent / "remote"))
    parts = [f"results/small/{part}" for part in ("prepare", "pretrain", NAME)]
    _run(folder, *DVC, "pull", "--quiet", *parts)
    done = _restore(folder)
    assert done.returncode == 0, done.stderr
    assert "of them not here" in done.stdout
    monkeypatch.chdir(folder)
    before = (origin / "results/small" / NAME).read_bytes()
    pack(Path("results/small"))
    assert (folder / "results/small" / NAME).read_bytes() == before
    jobs = planned(folder)
    assert "pretrain" not in jobs
    assert jobs["trace"] == 1


def test_a_run_under_way_is_not_packed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    lock = project / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("x")
    with pytest.raises(ProvenanceError, match="expected no run of Snakemake under way"):
        pack(Path("results/small"))
    lock.unlink()
    assert pack(Path("results/small")) > 10
    with pytest.raises(ProvenanceError, match="expected outputs of a run under results/other"):
        pack(Path("results/other"))


def test_results_without_notes_are_said_to_have_none(project: Path) -> None:
    done = _restore(project, "results/small")
    assert done.returncode == 1
    assert done.stderr.startswith("error: results/small/provenance.json: expected the notes of a run")


def test_the_unlock_that_a_killed_run_needs_lets_it_go_on(project: Path) -> None:
    shutil.rmtree(project / "results/small/tables")
    (project / ".snakemake/locks").mkdir(exist_ok=True)
    (project / ".snakemake/locks/0.output.lock").write_text("results/small/tables/sizes.csv\n")
    assert "--unlock" in snakemake_in(project).stderr
    assert snakemake_in(project, "--unlock").returncode == 0
    assert snakemake_in(project).returncode == 0
    assert planned(project) == {}
