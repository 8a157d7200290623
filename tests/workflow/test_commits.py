"""A run that other code made says which commit that was, and how much would rerun."""

from pathlib import Path

import pytest

from ehap.workflow.commits import advice, commit_here
from tests.workflow.conftest import DVC, GIT, copy_finished, local_config, planned, run_in
from tests.workflow.shared import cloned, pulled, pulled_once
from tests.workflow.warm_python import warm_python

MODULE = "ehap/quantization/affine.py"


def _edit(clone: Path) -> None:
    path = clone / MODULE
    text = path.read_text()
    assert "torch.round(values / scale)" in text
    path.write_text(text.replace("torch.round(values / scale)", "torch.floor(values / scale)"))


def test_a_pull_names_the_commit_that_made_the_run_and_counts_the_jobs(
    origin: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Pushed from a clone to a remote of its own, and pulled into another clone whose code is edited."""
    here = copy_finished(pulled_once(origin, tmp_path_factory.getbasetemp() / "pulled"), tmp_path / "here")
    (here / "results/small/provenance.json").unlink()
    run_in(here, warm_python(), "-m", "ehap.workflow", "pack")
    run_in(here, *DVC, "remote", "modify", "shared", "url", str(tmp_path / "remote"))
    local_config(here, tmp_path / "remote")
    run_in(here, *DVC, "commit", "--force", "--quiet", "run@small")
    run_in(here, *DVC, "push", "--quiet", "run@small")
    commit = run_in(here, "git", "rev-parse", "--short=12", "HEAD").strip()
    day = run_in(here, "git", "show", "--no-patch", "--format=%cs").strip()
    run_in(here, *GIT, "commit", "--quiet", "--all", "--message", "pushed")
    there = cloned(here, tmp_path / "there", remote=tmp_path / "remote")
    assert "Other code" not in pulled(there)
    _edit(there)
    said = pulled(there)
    jobs = sum(count for rule, count in planned(there).items() if rule != "all")
    assert jobs > 4
    assert (
        f"Other code made this run: commit {commit} of {day}. Snakemake would rerun {jobs} jobs with the code here; or "
        f"git checkout {commit} has the code that made it."
    ) in said
    run_in(there, "git", "stash", "--quiet")
    run_in(there, "git", "checkout", "--quiet", commit, "--", "ehap")
    assert planned(there) == {}


def test_a_pull_says_where_the_commit_is_unknown(origin: Path, tmp_path: Path) -> None:
    clone = cloned(origin, tmp_path / "clone")  # packed before anything was committed
    _edit(clone)
    said = pulled(clone)
    assert "Other code made this run: commit unknown. Snakemake would rerun " in said
    assert "or check out the commit that the run was pushed with." in said


def test_a_commit_is_noted_with_its_edits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert commit_here() == "unknown"
    run_in(tmp_path, *GIT, "init", "--quiet")
    assert commit_here() == "unknown"
    (tmp_path / "ehap").mkdir()
    (tmp_path / "ehap/a.py").write_text("1")
    run_in(tmp_path, *GIT, "add", "--all")
    run_in(tmp_path, *GIT, "commit", "--quiet", "--message", "one")
    commit = run_in(tmp_path, "git", "rev-parse", "--short=12", "HEAD").strip()
    (tmp_path / "notes.txt").write_text("no code")
    assert commit_here() == commit
    (tmp_path / "ehap/a.py").write_text("2")
    assert commit_here() == f"{commit}-edited"
    assert f"commit {commit} of 2" in advice([commit_here()], 1)
    assert "with uncommitted edits. Snakemake would rerun 1 job with the code here; or check out" in advice(
        [commit_here()], 1
    )
    assert "commit abc and unknown. Snakemake would rerun 3 jobs" in advice(["unknown", "abc"], 3)
