"""Pushing a run: what dvc.lock vouches for is in the remote afterwards, and whole, or the push says what is not."""

import shutil
from pathlib import Path

import pytest

from tests.workflow.conftest import copy_finished, local_config
from tests.workflow.shared import WEIGHTS, damage, made, made_anew, pulled_once, purge, pushed, stored


@pytest.fixture
def clone(origin: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone into which all was pulled."""
    return copy_finished(pulled_once(origin, tmp_path_factory.getbasetemp() / "pulled"), tmp_path / "clone")


def _refused(clone: Path) -> str:
    """Push from a clone, which fails and leaves dvc.lock as it was; return what was said."""
    lock = (clone / "dvc.lock").read_bytes()
    done = made(clone, "push")
    assert done.returncode != 0
    assert (clone / "dvc.lock").read_bytes() == lock
    return done.stdout


def test_a_damaged_object_in_the_cache_is_not_pushed(clone: Path, tmp_path: Path) -> None:
    content = damage(stored(clone / ".dvc/cache", (clone / WEIGHTS).read_bytes()))
    local_config(clone, tmp_path / "remote")
    said = pushed(clone)
    assert "dropped 1 damaged object from DVC's cache" in said
    assert stored(tmp_path / "remote", content).read_bytes() == content


def test_a_damaged_output_is_not_pushed(clone: Path) -> None:
    made_anew(clone, b"newer")
    (clone / WEIGHTS).write_bytes(b"never")
    said = _refused(clone)
    assert f"{WEIGHTS} differs from the file that the job wrote" in said
    assert "Nothing can vouch for these." in said


def test_a_push_of_a_part_does_not_forget_the_rest(clone: Path) -> None:
    (clone / WEIGHTS).unlink()
    shutil.rmtree(clone / "results/small/trace")
    lock = (clone / "dvc.lock").read_bytes()
    said = _refused(clone)
    assert f"{Path(WEIGHTS).parent}/model.safetensors; results/small/trace/" in said
    assert "they are not here; nothing was pushed" in said
    assert not (clone / "results/small/trace").exists()
    assert "in the remote:" in pushed(clone, "FORCE=1")
    assert (clone / "dvc.lock").read_bytes() != lock


def test_what_cannot_be_pushed_is_named(clone: Path, origin: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    shutil.copytree(origin.parent / "remote", remote)
    local_config(clone, remote)
    purge(remote)
    way = stored(remote, (clone / WEIGHTS).read_bytes()).parent
    shutil.rmtree(way)
    way.symlink_to("/proc/sys")  # where not even root may write
    done = made(clone, "push")
    assert done.returncode != 0
    assert f"MISSING: the remote has not got it: {Path(WEIGHTS).parent}/model.safetensors" in done.stdout
    way.unlink()
    assert "now it has" in pushed(clone)
    assert stored(remote, (clone / WEIGHTS).read_bytes()).exists()


def test_a_remote_that_is_not_there_is_named_before_anything_is_packed(clone: Path) -> None:
    done = made(clone, "push", "REMOTE=nowhere")
    assert done.returncode != 0
    assert "error: DVC says: config file error: remote 'nowhere' doesn't exist" in done.stdout
    assert "packed" not in done.stdout
