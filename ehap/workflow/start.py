"""The comparison of records with files and plan, before Snakemake decides about its jobs.

Snakemake itself compares file times, and the settings that it noted when a job was submitted. Here results that do not
belong to the plan count as outputs to be made, as if named by ``--forcerun``.
"""

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ehap.errors import EhapError
from ehap.runtime.files import Hashes, write_atomically
from ehap.workflow.comparison import Comparison, Planned, compare
from ehap.workflow.internals import force, is_forced, jobs_of, needed, noted_inputs, targets, users_of, with_graph
from ehap.workflow.kept import forget
from ehap.workflow.sources import holder

FOLDER = Path(".snakemake/ehap")
RUNS = FOLDER / "runs"
BEGUN = FOLDER / "begun.json"
"""First outputs of a run's planned jobs; each stays here until a comparison shows that it belongs to the plan.

Snakemake deletes the outputs of a failed job, and its notes on them. Then it takes the jobs behind it as done.
"""
RUN_VARIABLE = "EHAP_RUN"
REPORT_VARIABLE = "EHAP_COMPARISON"
KEEP_DAYS = 60


def compare_at_start(workflow: Any, states: Path, when_planned: Callable[[], None] = lambda: None) -> None:
    """Have Snakemake compare records with files and plan, once its graph is built; in a job, the plan with the job.

    Args:
        workflow: Snakemake's object of this name.
        states: Folder for files of this run's jobs that must outlive them.
        when_planned: Called when Snakemake has decided which jobs it runs.
    """
    from snakemake.exceptions import WorkflowError

    found = Comparison()

    def checking(asked: set[str]) -> None:
        if not workflow.is_main_process:
            refuse_other_plan(workflow)
            return
        try:
            vars(found).update(vars(force_wrong(workflow)))
        except EhapError as error:
            raise WorkflowError(f"error: {error}") from None
        if not workflow.dryrun:  # a result that a user wants anew is not taken from those kept
            forget(states, asked_for(workflow, asked))

    def built() -> None:
        if REPORT_VARIABLE in os.environ:
            found.behind.update({first: first for first in planned_again(workflow) if first not in found.wrong})
            write_atomically(Path(os.environ[REPORT_VARIABLE]), json.dumps(asdict(found)).encode())
        when_planned()

    with_graph(workflow, checking, built)
    if workflow.is_main_process:
        os.environ[RUN_VARIABLE] = uuid.uuid4().hex  # jobs on a cluster inherit it


def force_wrong(workflow: Any) -> Comparison:
    """Name results that do not belong to the plan, have Snakemake make them anew, and return them."""
    jobs = jobs_of(workflow)
    found = compared(jobs, begun() | unknown(workflow, jobs))
    if not workflow.dryrun:
        _note_begun(begun() - set(found.good))
    by_first = {str(job.output[0]): job for job in jobs}
    for first in found.wrong:
        force(workflow, by_first[first])
    if found.text():
        print(found.text(), file=sys.stderr)
    stored = sum(map(in_storage, jobs))
    if stored:
        print(f"{stored} jobs have files in a storage; these are not compared with their records.", file=sys.stderr)
    return found


def asked_for(workflow: Any, files: Collection[str]) -> list[str]:
    """Return the first outputs of jobs that --force, --forcerun or --forceall names, by their files or rules."""
    return [str(job.output[0]) for job in jobs_of(workflow) if is_forced(workflow, job, files)]


def planned_again(workflow: Any) -> list[str]:
    """Return the first outputs of jobs that are done, with a record, and that Snakemake would run again."""
    jobs = [job for job in needed(workflow) if job.output]
    return [str(job.output[0]) for job in jobs if Path(holder(map(str, job.output)) or "-").exists()]


def unknown(workflow: Any, jobs: Iterable[Any]) -> set[str]:
    """Return the first outputs of jobs without any output, and without a note on the same inputs, that other jobs read.

    Snakemake takes the results of these other jobs as done.
    """
    absent = [job for job in jobs if not is_temporary(job) and not is_there(job)]
    used = [job for job in absent if any(map(is_there, users_of(workflow, job)))]
    hashes = Hashes(FOLDER / "hashes.json")

    def has_other_input(job: Any) -> bool:
        seen = noted_inputs(workflow, job)
        if seen is None:
            return True
        known = {path: then for path, then in seen.items() if then - {None} and os.path.exists(path)}
        return any(f"sha256:{hashes.of(path)}" not in then for path, then in known.items())

    return {str(job.output[0]) for job in used if has_other_input(job)}


def is_there(job: Any) -> bool:
    """Return whether any output of a job is there."""
    return any(os.path.lexists(path) for path in job.output)


def is_temporary(job: Any) -> bool:
    """Return whether Snakemake deletes all outputs of a job as soon as nothing needs them."""
    return set(job.output) <= set(job.temp_output)


def at_the_end(workflow: Any, states: Path) -> None:
    """Compare once more when a run has ended well, and delete the outputs kept for it.

    Raises:
        WorkflowError: Files have changed under the run, or it has only touched them.
    """
    jobs = jobs_of(workflow)
    found = compared(jobs)
    _note_begun(begun() - set(found.good))
    forget(states, {*found.good, *found.old, *(str(job.output[0]) for job in jobs if is_temporary(job))})
    if found.wrong:
        from snakemake.exceptions import WorkflowError

        raise WorkflowError(
            f"{found.text()}\nThe run has ended, but these results differ from the plan. Run Snakemake again."
        )


def compared(jobs: Iterable[Any], unmade: Collection[str] = ()) -> Comparison:
    """Compare outputs with jobs of Snakemake's graph; jobs with files in a storage are left out.

    Args:
        jobs: Jobs of the graph.
        unmade: First outputs of jobs that are wrong if they have no output.
    """
    here = (planned(job) for job in jobs if not in_storage(job))
    return compare(here, Hashes(FOLDER / "hashes.json"), unmade)


def begun() -> set[str]:
    """Return the first outputs of jobs that an earlier run planned and no comparison has approved."""
    try:
        return set(json.loads(BEGUN.read_text()))
    except (OSError, ValueError, TypeError):
        return set()


def _note_begun(firsts: set[str]) -> None:
    if firsts != begun():
        write_atomically(BEGUN, json.dumps(sorted(firsts)).encode())


def in_storage(job: Any) -> bool:
    """Return whether files of a job lie in a storage of Snakemake's, such as the volume of profiles/kubernetes."""
    return any(file.is_storage for file in (*job.input, *job.output))


def planned(job: Any) -> Planned:
    """Return the plan of a job of Snakemake's graph."""
    return Planned(
        inputs=tuple(str(Path(path)) for path in job.input),  # without ./ and //, as in a job
        outputs=tuple(str(Path(path)) for path in job.output),
        settings=job.params.get("settings", ""),
        code=job.params.get("code", ""),
    )


def note_plan(jobs: Collection[Any]) -> None:
    """Note the plan of this run, for its jobs on a cluster, and for the next start if it fails."""
    lasting = [job for job in jobs if job.output and not is_temporary(job)]
    _note_begun(begun() | {str(job.output[0]) for job in lasting if not in_storage(job)})
    RUNS.mkdir(parents=True, exist_ok=True)
    for path in RUNS.glob("*.json"):
        if time.time() - path.stat().st_mtime > KEEP_DAYS * 86400:
            path.unlink(missing_ok=True)
    plan = {str(job.output[0]): _digest(job) for job in jobs if job.output}
    write_atomically(RUNS / f"{os.environ[RUN_VARIABLE]}.json", json.dumps(plan).encode())


def refuse_other_plan(workflow: Any) -> None:
    """Stop a job on a cluster that would do something else than it was submitted for, before it deletes anything.

    Raises:
        WorkflowError: Configuration or code has been edited since, or a later run has planned the same output.
    """
    from snakemake.exceptions import WorkflowError

    path = RUNS / f"{os.environ.get(RUN_VARIABLE, '')}.json"
    if not path.exists():  # no shared folder, or a job started by hand
        return
    plan, submitted = json.loads(path.read_text()), path.stat().st_mtime
    later = [other for other in RUNS.glob("*.json") if other != path and other.stat().st_mtime > submitted]
    for job in targets(workflow):
        first = str(job.output[0])
        message = ""
        if any(first in json.loads(other.read_text()) for other in later):
            message = "a later run of Snakemake has taken this job over; this one ends without writing anything."
        elif plan.get(first, _digest(job)) != _digest(job):
            message = (
                "configuration or code has been edited since this job was submitted; nothing was computed. Run "
                "Snakemake again: it plans with what is there now."
            )
        if message:
            for log in job.log:
                write_atomically(Path(log), f"error: {first}: {message}\n".encode())
            raise WorkflowError(f"error: {first}: {message}")


def _digest(job: Any) -> list[str]:
    return [job.params.get("settings", ""), job.params.get("code", "")]
