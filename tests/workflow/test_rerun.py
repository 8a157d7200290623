"""Right, or rerun: results that do not belong to their inputs, settings and code, and work that must not be lost."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ehap.records import read_tensors, write_tensors
from ehap.workflow.internals import check_form
from tests.workflow.conftest import DVC, planned, read_record, run_in, snakemake_in, write_config
from tests.workflow.test_run import CELL, _config
from tests.workflow.warm_python import tools, warm_python

Run = subprocess.Popen[str]
FINETUNED = f"results/small/finetune/{CELL}/hap"
RANDOM = f"results/small/finetune/{CELL}/random"
LONG = 40  # epochs of a training that a test looks at while it runs


def test_results_of_other_settings_are_found_whatever_snakemake_has_noted(project: Path) -> None:
    """Configuration edited while jobs wait and set back later, or an older version checked out by DVC alone."""
    kept, target = project / "kept", f"{FINETUNED}/record.json"
    shutil.copytree(project / FINETUNED, kept)
    write_config(project, _config("methods|hap|finetune", {"epochs": 2}))
    assert snakemake_in(project, target).returncode == 0
    shutil.copytree(kept, project / FINETUNED, dirs_exist_ok=True)  # of one epoch, under Snakemake's notes on two
    said = snakemake_in(project, "--dry-run").stderr
    assert f"{FINETUNED}/model.safetensors: settings: epochs is 2, was 1" in said
    assert planned(project)["finetune"] == 1
    assert snakemake_in(project, target).returncode == 0
    assert read_record(project, f"finetune/{CELL}/hap")["settings"]["epochs"] == 2
    assert planned(project, target) == {}


def test_an_input_replaced_by_an_older_file_is_found(project: Path) -> None:
    """As by mv, cp -p, rsync -t, tar, or by DVC's hard links to an older version."""
    checkpoint = project / f"results/small/pretrain/{CELL}/model.safetensors"
    tensors, metadata = read_tensors(checkpoint)
    tensors["fc.bias"] = tensors["fc.bias"] + 1
    older = project / "older.safetensors"
    write_tensors(older, tensors, metadata)
    os.utime(older, (1_000_000_000, 1_000_000_000))
    checkpoint.unlink()
    os.link(older, checkpoint)
    jobs = planned(project)
    assert jobs["pretrain"] == 1  # it is not what that job wrote
    assert jobs["finetune"] == 2


def test_a_damaged_output_is_made_anew_and_named(project: Path) -> None:
    weights = project / FINETUNED / "model.safetensors"
    times = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    said = snakemake_in(project, "--dry-run").stderr
    assert f"{FINETUNED}/model.safetensors differs from the file that the job wrote" in said
    jobs = planned(project)
    assert (jobs["finetune"], jobs["qat"]) == (1, 1)
    assert "prune" not in jobs


def test_an_output_that_a_rule_gains_is_made(project: Path) -> None:
    rule = project / "rules/evaluate_unrecovered.smk"
    rule.write_text(
        rule.read_text().replace("    log:\n", '        more=f"{RESULTS}/more/{CELL}/{{method}}",\n    log:\n', 1)
    )
    said = snakemake_in(project, "--dry-run").stderr
    assert f"results/small/more/{CELL}/hap is missing" in said
    assert planned(project)["evaluate_unrecovered"] == 2


def test_another_order_of_methods_makes_every_picture_and_table_anew(project: Path) -> None:
    write_config(project, _config("grid|methods", ["random", "hap"]))
    assert planned(project) == {"curves": 1, "shapes": 1, "tables": 1, "report": 1, "all": 1}


def test_results_without_snakemakes_notes_are_compared_with_the_plan(project: Path) -> None:
    shutil.rmtree(project / ".snakemake")
    write_config(project, _config("methods|hap|finetune", {"learning_rate": 0.02}))
    jobs = planned(project)
    assert jobs["finetune"] == 1
    assert "pretrain" not in jobs


def test_code_edited_while_a_run_is_under_way_is_refused_by_the_jobs_that_would_use_it(project: Path) -> None:
    write_config(project, _config("pretrain|all|epochs", LONG))
    script = project / "workflow_scripts/prune.py"
    before = script.read_text()
    log = project / f"logs/small/pretrain/{CELL}.log"
    log.unlink()
    with _started(project) as run:
        _wait_for(lambda: _said(log, "epoch 2:"))
        script.write_text(before.replace("def _work(", "import json\n\n\ndef _work("))
        said, _ = run.communicate()
    assert run.returncode != 0
    assert "error: the code has been edited since this run began" in said
    script.write_text(before)
    jobs = planned(project)
    assert (jobs["prune"], jobs["finetune"]) == (2, 2)
    assert "pretrain" not in jobs  # it had begun before, and is right


def test_a_job_whose_input_is_replaced_meanwhile_fails(project: Path) -> None:
    pruned = project / f"results/small/prune/{CELL}/random/model.safetensors"
    with _training(project) as (run, _):
        tensors, metadata = read_tensors(pruned)
        tensors["fc.bias"] = tensors["fc.bias"] + 1
        write_tensors(pruned, tensors, metadata)
        said, _ = run.communicate()
    assert run.returncode != 0
    assert f"prune/{CELL}/random/model.safetensors changed while this job ran" in said
    jobs = planned(project)
    assert (jobs["prune"], jobs["finetune"]) == (1, 1)


def test_a_run_says_in_the_end_what_was_replaced_under_it(project: Path) -> None:
    with _training(project, f"{RANDOM}/record.json", f"{FINETUNED}/record.json") as (run, _):
        weights = project / FINETUNED / "model.safetensors"  # its readers have ended long ago
        weights.write_bytes(weights.read_bytes()[:-1] + b"!")
        said, _ = run.communicate()
    assert run.returncode != 0
    assert f"{FINETUNED}/model.safetensors differs from the file that the job wrote" in said
    assert "The run has ended, but these results differ from the plan. Run Snakemake again." in said


def test_another_snakemake_is_named_where_it_keeps_its_graph_in_another_way() -> None:
    with pytest.raises(SystemExit, match=r"keeps its graph in another way \(forcefiles not there\).*envs/lock\.txt"):
        check_form(object(), ["forcefiles"], "graph")


def test_of_two_jobs_for_one_output_the_second_waits_and_takes_what_the_first_has_made(project: Path) -> None:
    """Snakemake is killed, its job goes on; the lock is taken away and Snakemake started again."""
    target = f"{RANDOM}/record.json"
    with _training(project, target, python=sys.executable) as (killed, log):
        killed.kill()
        (job,) = _jobs(project, "finetune.py")
        os.kill(job, signal.SIGSTOP)  # until the second waits, however fast this machine is
    assert snakemake_in(project, "--unlock").returncode == 0
    with _started(project, target) as second:
        _wait_for(lambda: _said(log, "another job is at work on"))
        assert not (project / RANDOM / "model.safetensors").exists()
        os.kill(job, signal.SIGCONT)
        said, _ = second.communicate()
    assert second.returncode == 0, said
    assert _said(log, "an earlier job has made this already, from the same inputs, settings and code")
    assert not _said(log, "epoch")  # nothing was trained twice
    assert len((project / RANDOM / "history.csv").read_text().splitlines()) == LONG + 1
    assert planned(project, target) == {}
    assert not list((project / "state/small/kept").rglob("*.safetensors"))


def test_a_finished_training_that_snakemake_deletes_is_found_again(project: Path) -> None:
    """As when a later step of its group fails, or Snakemake ends before it has noted the job's end."""
    write_config(project, _config("methods|random|finetune", {"epochs": 2}))
    evaluate, target = project / "workflow_scripts/evaluate.py", f"results/small/evaluate/{CELL}/random/record.json"
    log = project / f"logs/small/finetune/{CELL}/random.log"
    before = evaluate.read_text()
    evaluate.write_text('raise SystemExit("error: broken for this test")\n')
    assert snakemake_in(project, target).returncode != 0
    assert _said(log, "epoch 2:")
    outputs = project / RANDOM
    digests = {path.name: path.read_bytes() for path in outputs.iterdir()}
    shutil.rmtree(outputs)
    evaluate.write_text(before)
    assert snakemake_in(project, target).returncode == 0
    assert _said(log, "an earlier job has made this already")
    assert {path.name: path.read_bytes() for path in outputs.iterdir()} == digests
    assert planned(project, target) == {}


@pytest.mark.parametrize("command", ["pack", "repro"])
def test_nothing_vouches_for_results_of_other_settings(clone: Path, command: str) -> None:
    """The configuration is edited while a run is under way: dvc takes its checksum when the run has ended."""
    if command == "pack":
        write_config(clone, _config("finetune|all|learning_rate", 0.02))
        done = _done_in(clone, "python", "-m", "ehap.workflow", "pack", "results/small")
    else:
        write_config(clone, _config("methods|random|finetune", {"epochs": 2}))
        edited = json.dumps(_config("methods|random|finetune", {"epochs": 3}))
        stages = clone / "dvc.yaml"
        stages.write_text(
            stages.read_text().replace(
                "- snakemake --configfile ${item.config}",
                "- snakemake --configfile ${item.config} && cp edited.yaml run.yaml",
            )
        )
        (clone / "edited.yaml").write_text(edited)
        done = _done_in(clone, *DVC, "repro", "run@small")
    assert done.returncode != 0
    assert "Nothing can vouch for these." in done.stdout + done.stderr
    assert "random/model.safetensors: settings:" in done.stdout + done.stderr
    if command == "repro":
        run_in(clone, "git", "diff", "--exit-code", "dvc.lock")


def test_the_page_and_kept_records_leave_out_what_does_not_belong_to_the_plan(project: Path) -> None:
    write_config(project, _config("methods|hap|finetune", {"epochs": 2}))
    done = _done_in(project, "python", "workflow_scripts/report_now.py", "run.yaml")
    assert done.returncode == 0, done.stderr
    assert f"{FINETUNED}/model.safetensors: settings: epochs is 2, was 1" in done.stderr
    page = (project / "results/small/report/index.html").read_text()
    assert f"prune/{CELL}/hap/record.json" in page
    for stage in ("finetune", "evaluate"):  # what is wrong, and what follows from it
        assert f"{stage}/{CELL}/hap/record.json" not in page
        assert f"{stage}/{CELL}/random/record.json" in page
    stages = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(stages.replace("demo: {config: config/demo.yaml}", "small: {config: run.yaml}"))
    said = _done_in(project, "python", "workflow_scripts/keep.py", "results/small", "--folder", "kept").stdout
    assert "These are left out" in said
    kept = [str(path) for path in (project / "kept").rglob("record.json")]
    assert not [path for path in kept if f"finetune/{CELL}/hap" in path]
    assert [path for path in kept if f"finetune/{CELL}/random" in path]


@contextmanager
def _started(folder: Path, *targets: str, python: str | None = None) -> Iterator[Run]:
    """Run Snakemake in ``folder``; what a failed test leaves running is ended."""
    command = [python or warm_python(), "-m", "snakemake", *targets, "--configfile", "run.yaml"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    run = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield run
    finally:
        run.kill()
        run.wait()
        if run.stdout is not None:
            run.stdout.close()  # a job that outlives it may hold the other end


@contextmanager
def _training(folder: Path, *targets: str, python: str | None = None) -> Iterator[tuple[Run, Path]]:
    """Run Snakemake in ``folder`` until a long fine-tuning is at work; yield it, with the log of that job.

    A Python that is started for this, given as ``python``, has jobs that are processes of its own.
    """
    write_config(folder, _config("methods|random|finetune", {"epochs": LONG}))
    log = folder / f"logs/small/finetune/{CELL}/random.log"
    log.unlink()
    with _started(folder, *targets, python=python) as run:
        _wait_for(lambda: _said(log, "epoch 2:"))
        yield run, log


def _jobs(folder: Path, script: str) -> list[int]:
    """Return the processes that execute a script in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            _, file, *_ = (process / "cmdline").read_bytes().split(b"\0")
            if file.endswith(f"/{script}".encode()) and (process / "cwd").resolve() == folder:
                found.append(int(process.name))
        except (OSError, ValueError):  # it has just ended, or has no arguments
            continue
    return found


def _done_in(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(folder), "PATH": tools()}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _said(log: Path, text: str) -> bool:
    return log.exists() and re.search(text, log.read_text()) is not None


def _wait_for(ready: Callable[[], bool]) -> None:
    while not ready():
        time.sleep(0.05)
