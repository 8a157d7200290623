"""Results shared by DVC: what one clone pushes, another pulls, and neither computes again."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from ehap.errors import ProvenanceError
from ehap.settings import Run
from ehap.workflow.catalog import MAYBE
from ehap.workflow.provenance import NAME, pack
from tests.workflow.conftest import (
    DVC,
    GIT,
    ROOT,
    SMALL,
    local_config,
    planned,
    restored_in,
    run_in,
    snakemake_in,
    write_config,
)
from tests.workflow.test_run import CELL, _config
from tests.workflow.warm_python import tools


def test_what_one_clone_pushed_another_need_not_compute(clone: Path) -> None:
    assert planned(clone) == {}
    assert all((clone / f"results/small/{folder}").is_dir() for folder in MAYBE)  # empty: the run has no such stages
    assert "up to date" in run_in(clone, *DVC, "status", "run@small")
    assert "small" in run_in(clone, *DVC, "metrics", "show", "--md")


def test_every_folder_that_dvc_is_told_of_is_there_after_packing() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["run"]
    named = {part for out in stages["do"]["outs"] for part in [next(iter(out)).removeprefix("results/${key}/")]}
    folders = {name for name in named if "." not in name and "/" not in name}
    for item in stages["foreach"].values():
        run = Run(yaml.safe_load((ROOT / item["config"]).read_text()))
        made = {"prepare", "pretrain", "prune", "evaluate_unrecovered", "finetune", "evaluate", "curves", "report"}
        made |= {"trace"} if run.curvatures() else set()
        made |= {"quantize"} if run.grid.schemes else set()
        assert folders - made <= set(MAYBE), item


def test_metrics_of_commits_are_compared_without_a_remote(origin: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    run_in(tmp_path, *GIT, "clone", "--quiet", str(origin), str(folder))
    own = sorted(str(path.relative_to(folder)) for path in (folder / "results").rglob("*") if path.is_file())
    assert own == ["results/small/tables/comparison.csv", "results/small/tables/summary.json"]
    path = folder / own[1]
    summary = json.loads(path.read_text())
    before = summary["digits"]["resnet20"]["hap"]["accuracy"]
    summary["digits"]["resnet20"]["hap"]["accuracy"] = before + 1.5
    path.write_text(json.dumps(summary))
    (row,) = [line for line in run_in(folder, *DVC, "metrics", "diff", "--md").splitlines() if "summary" in line]
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[2] == "digits.resnet20.hap.accuracy"
    assert [float(cell) for cell in cells[3:6]] == pytest.approx([before, before + 1.5, 1.5])
    run_in(folder, *DVC, "plots", "show", "--out", "plots")
    assert "parameters_kept" in (folder / "plots/index.html").read_text()


@pytest.mark.minutes
def test_dvc_repro_runs_what_a_changed_number_asks_for_and_no_more(clone: Path) -> None:
    records = {method: clone / f"results/small/finetune/{CELL}/{method}/record.json" for method in ("hap", "random")}
    before = {method: record.read_bytes() for method, record in records.items()}
    write_config(clone, _config("methods|random|finetune", {"epochs": 2}))
    run_in(clone, *DVC, "repro", "run@small")
    assert records["hap"].read_bytes() == before["hap"]
    assert json.loads(records["random"].read_text())["settings"]["epochs"] == 2
    assert "up to date" in run_in(clone, *DVC, "status", "run@small")
    said = run_in(clone, *DVC, "repro", "run@small")
    assert "didn't change, skipping" in said
    assert planned(clone) == {}


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
    assert not {"pretrain", "trace", "prune", "evaluate_unrecovered"} & set(jobs)
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
    done = restored_in(clone)
    assert done.returncode == 1
    assert f"{weights.relative_to(clone)} is not what was packed: make pull brings that back" in done.stderr
    jobs = planned(clone)
    assert (jobs["finetune"], jobs["qat"], jobs["tables"]) == (1, 1, 1)
    assert not {"pretrain", "trace", "prune"} & set(jobs)
    run_in(clone, *DVC, "pull", "--force", "--quiet")
    assert restored_in(clone).returncode == 0
    assert planned(clone) == {}


def test_a_damaged_object_in_the_cache_is_found_and_fetched_again(clone: Path) -> None:
    weights = clone / f"results/small/finetune/{CELL}/hap/model.safetensors"
    content = weights.read_bytes()
    digest = hashlib.md5(content).hexdigest()
    kept = clone / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    kept.chmod(0o644)
    kept.write_bytes(content[:-1] + b"!")
    weights.unlink()
    run_in(clone, *DVC, "checkout", "--force")  # DVC takes it for good: it checks what it fetches only
    done = restored_in(clone)
    assert done.returncode == 1
    assert str(weights.relative_to(clone)) in done.stderr
    run_in(clone, *DVC, "pull", "--force", "--quiet")
    assert weights.read_bytes() == content
    assert restored_in(clone).returncode == 0
    assert planned(clone) == {}


def test_a_damaged_object_in_the_remote_is_not_taken(origin: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    shutil.copytree(origin.parent / "remote", remote)
    largest = max((path for path in remote.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    largest.chmod(0o644)
    largest.write_bytes(largest.read_bytes()[:-1] + b"!")
    folder = tmp_path / "clone"
    run_in(tmp_path, *GIT, "clone", "--quiet", str(origin), str(folder))
    local_config(folder, remote)
    command, environment = [*DVC, "pull", "--verbose"], os.environ | {"PATH": tools()}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "corrupted cache file" in done.stdout + done.stderr
    local_config(folder, origin.parent / "remote")
    run_in(folder, *DVC, "pull", "--quiet")
    assert restored_in(folder).returncode == 0
    assert planned(folder) == {}


def test_a_part_of_the_results_may_be_pulled_and_packed_again_without_losing_the_rest(
    origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "clone"
    run_in(tmp_path, *GIT, "clone", "--quiet", str(origin), str(folder))
    local_config(folder, origin.parent / "remote")
    parts = [f"results/small/{part}" for part in ("prepare", "pretrain", NAME)]
    run_in(folder, *DVC, "pull", "--quiet", *parts)
    done = restored_in(folder)
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
    done = restored_in(project, "results/small")
    assert done.returncode == 1
    assert done.stderr.startswith("error: results/small/provenance.json: expected the notes of a run")


def test_a_run_that_was_killed_goes_on_after_an_unlock(project: Path) -> None:
    write_config(project, _config("methods|random|finetune", {"epochs": 40}))
    target = f"results/small/finetune/{CELL}/random/record.json"
    log = project / f"logs/small/finetune/{CELL}/random.log"
    log.unlink()
    command = [sys.executable, "-m", "snakemake", target, "--configfile", "run.yaml"]  # a group of processes of its own
    environment = os.environ | {"PYTHONPATH": str(project)}
    killed = subprocess.Popen(command, cwd=project, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    while not (log.exists() and "epoch 2:" in log.read_text()):
        assert killed.poll() is None
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert "--unlock" in snakemake_in(project).stderr
    assert snakemake_in(project, "--unlock").returncode == 0
    done = snakemake_in(project, target)
    assert done.returncode == 0, done.stderr
    assert "going on after epoch" in log.read_text()
    assert planned(project, target) == {}
