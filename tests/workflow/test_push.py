"""Pushing a run: what dvc.lock vouches for is in the remote afterwards, and whole, or the push says what is not."""

import shutil
from pathlib import Path

from tests.workflow.conftest import DVC, run_in
from tests.workflow.shared import WEIGHTS, cloned, damage, made, made_anew, pulled, purge, pushed, stored


def _refused(clone: Path) -> str:
    """Push from a clone, which fails and leaves dvc.lock as it was; return what was said."""
    lock = (clone / "dvc.lock").read_bytes()
    done = made(clone, "push")
    assert done.returncode != 0
    assert (clone / "dvc.lock").read_bytes() == lock
    return done.stdout


def test_a_damaged_object_in_the_cache_is_not_pushed(origin: Path, tmp_path: Path) -> None:
    clone = cloned(origin, tmp_path / "clone")
    pulled(clone)
    content = damage(stored(clone / ".dvc/cache", (clone / WEIGHTS).read_bytes()))
    run_in(clone, *DVC, "remote", "modify", "--local", "shared", "url", str(tmp_path / "remote"))
    said = pushed(clone)
    assert "dropped 1 damaged object from DVC's cache" in said
    assert stored(tmp_path / "remote", content).read_bytes() == content


def test_a_damaged_output_is_not_pushed(origin: Path, tmp_path: Path) -> None:
    clone = cloned(origin, tmp_path / "clone")
    pulled(clone)
    made_anew(clone, b"newer")
    (clone / WEIGHTS).write_bytes(b"never")
    said = _refused(clone)
    assert f"{WEIGHTS} differs from the file that the job wrote" in said
    assert "Nothing can vouch for these." in said


def test_a_push_of_a_part_does_not_forget_the_rest(origin: Path, tmp_path: Path) -> None:
    clone = cloned(origin, tmp_path / "clone")
    pulled(clone)
    (clone / WEIGHTS).unlink()
    shutil.rmtree(clone / "results/small/trace")
    lock = (clone / "dvc.lock").read_bytes()
    said = _refused(clone)
    assert f"{Path(WEIGHTS).parent}/model.safetensors; results/small/trace/" in said
    assert "they are not here; nothing was pushed" in said
    assert not (clone / "results/small/trace").exists()
    assert "in the remote:" in pushed(clone, "FORCE=1")
    assert (clone / "dvc.lock").read_bytes() != lock


def test_what_cannot_be_pushed_is_named(origin: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    shutil.copytree(origin.parent / "remote", remote)
    clone = cloned(origin, tmp_path / "clone", remote=remote)
    pulled(clone)
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


def test_a_remote_that_is_not_there_is_named_before_anything_is_packed(origin: Path, tmp_path: Path) -> None:
    clone = cloned(origin, tmp_path / "clone")
    pulled(clone)
    done = made(clone, "push", "REMOTE=nowhere")
    assert done.returncode != 0
    assert "error: DVC says: config file error: remote 'nowhere' doesn't exist" in done.stdout
    assert "packed" not in done.stdout
