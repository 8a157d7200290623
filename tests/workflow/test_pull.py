"""Pulling a run loses nothing: damaged and missing files come, all else stays or is moved aside."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ehap.workflow.integrity import job_whole, whole
from ehap.workflow.sources import Sources, write_sources
from tests.workflow.conftest import (
    DVC,
    copy_finished,
    local_config,
    planned,
    restored_in,
    run_in,
    snakemake_in,
    write_config,
)
from tests.workflow.shared import (
    RECORD,
    WEIGHTS,
    cloned,
    damage,
    made,
    made_anew,
    overwrite,
    pulled,
    pulled_once,
    stored,
)
from tests.workflow.test_run import CELL, _config
from tests.workflow.warm_python import warm_python

PACK = "from pathlib import Path; from ehap.workflow.provenance import pack; pack(Path('results/small'))"
UNKNOWN = f"results/small/finetune/{CELL}/later/model.safetensors"


@pytest.fixture
def clone(origin: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone into which all was pulled, as copies."""
    return copy_finished(pulled_once(origin, tmp_path_factory.getbasetemp() / "pulled"), tmp_path / "clone")


def _aside(folder: Path) -> dict[str, bytes]:
    """Return what was moved aside, by path without the run and the time."""
    return {
        str(Path(*path.relative_to(folder).parts[3:])): path.read_bytes()
        for path in (folder / "aside").rglob("*")
        if path.is_file()
    }


def test_a_damaged_object_in_the_remote_is_no_success(origin: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    shutil.copytree(origin.parent / "remote", remote)
    content = damage(stored(remote, (origin / WEIGHTS).read_bytes()))
    clone = cloned(origin, tmp_path / "clone", "symlink", remote)  # the kind of which something could be left
    done = made(clone, "pull")
    assert done.returncode != 0
    assert f"MISSING: neither the cache nor the remote has it whole: {WEIGHTS}" in done.stdout
    assert not os.path.lexists(clone / WEIGHTS)
    assert (clone / RECORD).exists()  # all else has come
    overwrite(stored(remote, content), content)
    assert "put in place: 1 file of" in pulled(clone)
    assert (clone / WEIGHTS).read_bytes() == content
    assert planned(clone) == {}


def test_a_link_to_nothing_is_not_restored(origin: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    shutil.copytree(origin.parent / "remote", remote)
    damage(stored(remote, (origin / WEIGHTS).read_bytes()))
    clone = cloned(origin, tmp_path / "clone", "symlink", remote)
    run_in(clone, *DVC, "pull", "--quiet")  # with "verify true" DVC drops the object, and ends with 0
    assert (clone / WEIGHTS).is_symlink()
    assert not (clone / WEIGHTS).exists()
    done = restored_in(clone)
    assert done.returncode == 1
    assert WEIGHTS in done.stderr
    local_config(clone, origin.parent / "remote", "symlink")
    pulled(clone)
    assert planned(clone) == {}


@pytest.mark.parametrize(("link", "force"), [("copy", ("FORCE=1",)), ("hardlink", ()), ("symlink", ())])
def test_only_what_is_damaged_or_missing_comes(link: str, force: tuple[str, ...], origin: Path, tmp_path: Path) -> None:
    clone = cloned(origin, tmp_path / "clone", link)
    pulled(clone)
    assert (clone / WEIGHTS).is_symlink() == (link == "symlink")
    assert ((clone / WEIGHTS).stat().st_nlink > 1) == (link == "hardlink")
    (clone / UNKNOWN).parent.mkdir()
    (clone / UNKNOWN).write_bytes(b"trained for days")
    (clone / RECORD).unlink()
    content = damage(clone / WEIGHTS)
    damaged = (clone / WEIGHTS).read_bytes()
    said = pulled(clone, *force)
    assert (clone / WEIGHTS).read_bytes() == content
    assert (clone / RECORD).read_bytes() == (origin / RECORD).read_bytes()
    assert (clone / UNKNOWN).read_bytes() == b"trained for days"
    assert "put in place: 2 files of" in said
    assert "moved aside, to aside/small/" in said
    assert _aside(clone) == {WEIGHTS: damaged}
    (clone / UNKNOWN).unlink()
    assert planned(clone) == {}


def test_what_was_made_here_since_stays_or_is_moved_aside(origin: Path, tmp_path: Path) -> None:
    clone = cloned(origin, tmp_path / "clone", "hardlink")
    pulled(clone)
    made_anew(clone, b"newer")
    record = (clone / RECORD).read_bytes()
    said = pulled(clone)
    folder = Path(WEIGHTS).parent
    assert f"stays, made here since; FORCE=1 moves it aside: {folder}/model.safetensors, record.json" in said
    assert (clone / WEIGHTS).read_bytes() == b"newer"
    assert (clone / RECORD).read_bytes() == record
    assert not (clone / "aside").exists()
    pulled(clone, "FORCE=1")
    assert _aside(clone) == {WEIGHTS: b"newer", RECORD: record}
    assert all((clone / path).read_bytes() == (origin / path).read_bytes() for path in (WEIGHTS, RECORD))
    assert run_in(clone, "git", "status", "--short", "aside") == ""
    assert planned(clone) == {}


def test_what_somebody_has_pushed_since_takes_the_place_of_what_was_pulled(
    clone: Path, origin: Path, tmp_path: Path
) -> None:
    remote, here, there = tmp_path / "remote", clone, copy_finished(clone, tmp_path / "there")
    shutil.copytree(origin.parent / "remote", remote)
    for each in (here, there):
        local_config(each, remote)
    made_anew(here, b"newer")
    run_in(here, warm_python(), "-c", PACK)
    run_in(here, *DVC, "commit", "--force", "--quiet", "run@small")
    run_in(here, *DVC, "push", "--quiet", "run@small")
    shutil.copy(here / "dvc.lock", there)
    assert "made here since" not in pulled(there)
    assert (there / WEIGHTS).read_bytes() == b"newer"
    assert (there / RECORD).read_bytes() == (here / RECORD).read_bytes()


def test_a_result_made_here_since_that_was_damaged_makes_way_with_its_record(clone: Path, origin: Path) -> None:
    made_anew(clone, b"newer")
    record = (clone / RECORD).read_bytes()
    (clone / WEIGHTS).write_bytes(b"never")
    pulled(clone)
    assert _aside(clone) == {WEIGHTS: b"never", RECORD: record}
    assert planned(clone) == {}


def test_a_damaged_object_in_the_cache_is_dropped_and_fetched(clone: Path, origin: Path) -> None:
    content = damage(stored(clone / ".dvc/cache", (clone / WEIGHTS).read_bytes()))
    (clone / WEIGHTS).unlink()
    said = pulled(clone)
    assert "dropped 1 damaged object from DVC's cache" in said
    assert (clone / WEIGHTS).read_bytes() == content
    assert planned(clone) == {}


def test_a_damaged_list_in_the_cache_is_dropped_and_fetched(clone: Path, origin: Path) -> None:
    lists = sorted((clone / ".dvc/cache").rglob("*.dir"))
    for path in lists:
        overwrite(path, b"[]")
    shutil.rmtree(clone / "results/small/finetune")
    pulled(clone)
    assert (clone / WEIGHTS).read_bytes() == (origin / WEIGHTS).read_bytes()


def test_a_part_pulled_by_dvc_is_restored_and_completed(origin: Path, tmp_path: Path) -> None:
    clone = cloned(origin, tmp_path / "clone")
    run_in(clone, *DVC, "pull", "--quiet", "results/small/pretrain", "results/small/provenance.json")
    assert restored_in(clone).returncode == 0
    pulled(clone)
    assert planned(clone) == {}


def test_a_file_where_a_folder_was_makes_way(clone: Path) -> None:
    shutil.rmtree(clone / "results/small/trace")
    (clone / "results/small/trace").write_bytes(b"mine")
    (clone / WEIGHTS).unlink()
    (clone / WEIGHTS).mkdir()
    (clone / WEIGHTS / "mine").write_bytes(b"too")
    pulled(clone)
    assert _aside(clone) == {"results/small/trace": b"mine", f"{WEIGHTS}/mine": b"too"}
    assert planned(clone) == {}


def test_nothing_is_pulled_into_a_run_under_way_or_that_nobody_has_pushed(origin: Path, tmp_path: Path) -> None:
    clone = cloned(origin, tmp_path / "clone")
    done = made(clone, "pull", "REMOTE=nowhere")
    assert done.returncode != 0
    assert "remote 'nowhere' doesn't exist" in done.stdout
    lock = clone / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("x")
    done = made(clone, "pull")
    assert done.returncode != 0
    assert "expected no run of Snakemake under way" in done.stdout
    lock.unlink()
    (clone / "dvc.lock").unlink()
    done = made(clone, "pull")
    assert done.returncode != 0
    assert "dvc.lock has no checksum of results/small/" in done.stdout


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_jobs_replace_links_and_never_write_through_them(link: str, origin: Path, tmp_path: Path) -> None:
    clone = cloned(origin, tmp_path / "clone", link)
    pulled(clone)
    before = {path: path.read_bytes() for path in (clone / ".dvc/cache/files").rglob("*") if path.is_file()}
    old = (clone / WEIGHTS).read_bytes()
    write_config(clone, _config("finetune|resnet20", {"learning_rate": 0.02}))
    done = snakemake_in(clone, RECORD)
    assert done.returncode == 0, done.stderr
    assert (clone / WEIGHTS).read_bytes() != old
    assert {path: path.read_bytes() for path in before} == before


def test_whole_is_what_its_job_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("results/small/finetune/hap")
    (folder / "deeper").mkdir(parents=True)
    weights, deep, record = folder / "model.safetensors", folder / "deeper/log.csv", folder / "record.json"
    weights.write_bytes(b"a")
    deep.write_bytes(b"b")
    assert (whole(weights), job_whole(weights)) == (None, None)
    record.write_text("{}")
    assert (whole(record), job_whole(weights)) == (None, None)
    sha256 = {path: subprocess.check_output(["sha256sum", path], text=True).split()[0] for path in (weights, deep)}
    outputs = {str(path): found for path, found in sha256.items()}
    write_sources(record, Sources(inputs={}, settings=None, code="", libraries={}, outputs=outputs))
    assert (whole(weights), whole(deep), whole(record), job_whole(deep)) == (True, True, True, True)
    assert whole(folder / "other") is None
    deep.write_bytes(b"c")
    assert (whole(weights), whole(deep), whole(record), job_whole(weights)) == (True, False, False, False)
    record.write_text("{")
    assert (whole(record), whole(weights)) == (False, None)
