"""All uses of undocumented parts of Snakemake: its graph, its notes in ``.snakemake`` and its executors.

Written for Snakemake 9.27.1 and its executor for Slurm 2.8.0, which ``envs/lock.txt`` pins. Another version that keeps
these things in another way is refused by name.
"""

import base64
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from ehap.errors import ProvenanceError

BELOW = 10
"""The first untested major version of Snakemake."""
OF_WORKFLOW = (
    *("_build_dag", "is_main_process", "local_exec", "global_resources", "resource_settings", "persistence"),
    "deployment_settings",
)
OF_GRAPH = ("check_incomplete", "depending", "forcefiles", "forcerules", "jobs", "targetjobs", "needrun_jobs")
OF_NOTES = ("input_checksums", "has_metadata")
OF_EXECUTOR = ("format_job_exec", "get_python_executable")
OF_SLURM = ("query_job_status",)

OF_THREADS = (
    *("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    "NUMEXPR_NUM_THREADS",
)
"""Variables that Snakemake sets to the threads of a job."""

SNAKEMAKE = Path(".snakemake")
METADATA = SNAKEMAKE / "metadata"
UNFINISHED = SNAKEMAKE / "incomplete"
LOCKS = SNAKEMAKE / "locks"
OF_THIS_MACHINE = ("starttime", "endtime", "job_hash", "external_jobid", "incomplete", "shellcmd")
"""Fields of a note that differ from machine to machine; no decision rests on them. The command names local paths."""
LONGEST = 255  # of a file name; Snakemake splits longer ones into folders that begin with @


def prepare_snakemake(workflow: Any, gpus: int) -> None:
    """Patch Snakemake for this workflow, before it plans.

    Args:
        workflow: Snakemake's object of this name.
        gpus: Number of GPUs of this machine, for jobs to share.
    """
    check_version()
    check_form(workflow, OF_WORKFLOW, "workflow")
    quote_interpreter()
    keep_asking()
    # Jobs take up to 100 % of each GPU; a scheduler, or --resources gpu_percent=N, overrides this.
    if gpus and workflow.local_exec and "gpu_percent" not in workflow.global_resources:
        workflow.global_resources["gpu_percent"] = 100 * gpus


def check_version() -> None:
    """Raise SystemExit if Snakemake is newer than the versions that were tried."""
    from snakemake import __version__

    if int(__version__.split(".")[0]) >= BELOW:
        sys.exit(f"error: this workflow needs Snakemake below {BELOW}, got {__version__}; run make install.")


def check_form(found: Any, names: Iterable[str], what: str) -> None:
    """Raise SystemExit where this Snakemake lacks something that is used here."""
    absent = [name for name in names if not hasattr(found, name)]
    if absent:
        from snakemake import __version__

        sys.exit(
            f"error: Snakemake {__version__} keeps its {what} in another way ({', '.join(absent)} not there), so that "
            "results cannot be compared with the plan; install the version of envs/lock.txt."
        )


def with_graph(workflow: Any, checking: Callable[[set[str]], None], built: Callable[[], None]) -> None:
    """Call ``checking`` when the graph has its jobs, before Snakemake decides about them, and ``built`` after that.

    Args:
        workflow: Snakemake's object of this name.
        checking: Takes the files that --force or --forcerun names.
        built: Takes nothing.
    """
    build = workflow._build_dag

    def building() -> None:
        check_form(workflow.dag, OF_GRAPH, "graph")
        check_form(workflow.persistence, OF_NOTES, "notes")
        checked = workflow.dag.check_incomplete

        async def incomplete() -> None:
            asked = set(workflow.dag.forcefiles)
            await checked()
            checking(asked)

        workflow.dag.check_incomplete = incomplete
        build()
        built()

    workflow._build_dag = building


def jobs_of(workflow: Any) -> list[Any]:
    """Return the jobs of the graph that have outputs."""
    return [job for job in workflow.dag.jobs if job.output]


def needed(workflow: Any) -> list[Any]:
    """Return the jobs that Snakemake is about to run."""
    return list(workflow.dag.needrun_jobs())


def targets(workflow: Any) -> Iterable[Any]:
    """Return the jobs that were asked for; in a job of a cluster, this job."""
    found: Iterable[Any] = workflow.dag.targetjobs
    return found


def rule_of(job: Any) -> str:
    """Return the name of a job's rule."""
    return str(job.rule.name)


def benchmark_of(job: Any) -> Path | None:
    """Return the file into which Snakemake writes what a job has used."""
    return Path(str(job.benchmark)) if job.benchmark else None


def users_of(workflow: Any, job: Any) -> Iterable[Any]:
    """Return the jobs that read the outputs of a job."""
    found: Iterable[Any] = workflow.dag.depending[job]
    return found


def force(workflow: Any, job: Any) -> None:
    """Have Snakemake run a job, as if --forcerun named its outputs."""
    workflow.dag.forcefiles.update(job.output)


def is_forced(workflow: Any, job: Any, files: Iterable[str]) -> bool:
    """Say whether --forceall or --forcerun names a job, or ``files`` one of its outputs."""
    return job.rule in workflow.dag.forcerules or not set(files).isdisjoint(job.output)


def noted_inputs(workflow: Any, job: Any) -> dict[str, set[str | None]] | None:
    """Return the checksums of a job's inputs that Snakemake has noted, by path; None where it has no note."""
    notes = workflow.persistence
    if not notes.has_metadata(job):
        return None
    return {str(path): notes.input_checksums(job, path) for path in job.input}


def is_local(workflow: Any) -> bool:
    """Say whether jobs run on this machine."""
    return bool(workflow.local_exec)


def cores(workflow: Any) -> int:
    """Return how many cores Snakemake may use on this machine."""
    return workflow.resource_settings.cores or 1


def needs_software(workflow: Any) -> bool:
    """Say whether Snakemake brings an environment or a container for the jobs."""
    return bool(workflow.deployment_settings.deployment_method)


def environment_of_jobs(threads: int) -> dict[str, str]:
    """Return the environment variables of the shell of a job of so many threads on this machine."""
    return dict(os.environ) | dict.fromkeys(OF_THREADS, str(threads))


def is_slurm(workflow: Any) -> bool:
    """Say whether jobs go to Slurm."""
    return getattr(getattr(workflow, "executor_plugin", None), "name", "") == "slurm"


def quote_interpreter() -> None:
    """Quote the path of Python in the commands of cluster jobs, as every other path in them is.

    Snakemake 9.27 writes it without quotes, so that no job starts from an environment in a folder with a space.
    """
    from snakemake_interface_executor_plugins.executors.real import RealExecutor

    check_form(RealExecutor, OF_EXECUTOR, "executors")
    written = RealExecutor.format_job_exec

    def command(self: Any, job: Any) -> str:
        python = self.get_python_executable()
        plain: str = written(self, job)
        return plain.replace(f"{python} -m snakemake", f"{quote(python)} -m snakemake", 1)

    RealExecutor.format_job_exec = command


def keep_asking() -> None:
    """Have a question to Slurm that gets no answer asked again later.

    The executor for Slurm, 2.8.0, forgets all its jobs then, and waits for them for ever. Where the controller does not
    say how long it remembers jobs, the executor also asks sacct, which has no answer without an accounting database.
    """
    executor: Any = sys.modules.get("snakemake_executor_plugin_slurm")
    if executor is None:
        return
    check_form(executor, OF_SLURM, "executor for Slurm")
    asked = executor.query_job_status

    async def states(*question: Any) -> tuple[dict[str, str], float]:
        found, seconds = await asked(*question)
        return ({}, 0.0) if found is None else (found, seconds)  # a job without an answer goes on

    executor.query_job_status = states


def check_idle(*folders: Path) -> None:
    """Raise ProvenanceError where Snakemake has files in one of ``folders``: a run is under way, or was killed."""
    if any(path.is_file() for folder in folders for path in folder.rglob("*")):
        raise ProvenanceError(
            "expected no run of Snakemake under way, but its folder holds locks or marks of unfinished outputs; wait "
            "for it. If it was killed, run snakemake --unlock, and then the workflow again."
        )


def notes() -> Iterator[tuple[str, Path]]:
    """Yield every output that Snakemake has a note on, with the note's file."""
    for path in METADATA.rglob("*"):
        if path.is_file():
            *folders, last = path.relative_to(METADATA).parts
            coded = "".join(folder.removeprefix("@") for folder in folders) + last
            yield base64.urlsafe_b64decode(coded).decode(), path


def place_of(folder: Path, output: str) -> Path:
    """Return the file of Snakemake's entry on an output in ``folder``."""
    coded = base64.urlsafe_b64encode(output.encode()).decode()
    parts = [coded[start : start + LONGEST - 1] for start in range(0, len(coded), LONGEST - 1)]
    return folder.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
