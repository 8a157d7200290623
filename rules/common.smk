"""The checked configuration, paths, and what every rule shares."""

import sys
from dataclasses import asdict
from pathlib import Path
from shlex import quote

# The package beside this file plans and runs, whichever one an environment has: a clone stands for itself.
sys.path.insert(0, workflow.basedir)

from ehap.errors import SettingsError
from ehap.settings.names import DATASETS, DENSE, MODELS
from ehap.settings.run import Run
from ehap.workflow.cells import canonical, cell_settings, page_files, record_paths
from ehap.workflow.cluster import check_paths, keep_asking, quote_interpreter
from ehap.workflow.command import command_options
from ehap.workflow.configuration import check_files
from ehap.workflow.digest import source_digest
from ehap.workflow.forecast import rates, summary, task_of
from ehap.workflow.gpus import local_gpus
from ehap.workflow.sources import beside
from ehap.workflow.start import at_the_end, compare_at_start, note_plan

try:
    check_files([Path(file) for file in workflow.configfiles])
    RUN = Run(config)
except SettingsError as error:
    sys.exit(f"error in the configuration: {error}")

ROOT = Path(workflow.basedir)
SCRIPTS = ROOT / "workflow_scripts"
PYTHON = f"PYTHONPATH={quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}} {quote(sys.executable)}"
quote_interpreter()
keep_asking()
GRID = RUN.grid
GPU = 0 if RUN.machine.device == "cpu" else 1

# Jobs share the GPUs of this machine up to 100 % each; a scheduler, or --resources gpu_percent=N, has its own say.
if GPU and workflow.local_exec and "gpu_percent" not in workflow.global_resources:
    if local_gpus():
        workflow.global_resources["gpu_percent"] = 100 * len(local_gpus())

RESULTS = f"results/{RUN.name}"
LOGS = f"logs/{RUN.name}"
BENCHMARKS = LOGS  # run times, as Snakemake measures them, beside the logs
EVENTS = f"{LOGS}/tensorboard" if RUN.machine.tensorboard else ""
STATES = f"state/{RUN.name}"  # what must outlive a job: outputs of a failed one are deleted, this is not
CELL = "{dataset}/{model}/seed{seed}"

# Where a job computes, in its command line but not in its settings: another machine reruns nothing.
MACHINE = canonical(asdict(RUN.machine))
NOTED = " --code {params.code} --states {STATES:q} --log {log:q}"
HERE = (
    " --dataset {wildcards.dataset} --model {wildcards.model} --seed {wildcards.seed}"
    + NOTED
)
JOB = (
    HERE
    + " --machine {MACHINE:q} --gpu-percent {resources.gpu_percent} --events={EVENTS:q}"
)


compare_at_start(workflow, Path(STATES))


wildcard_constraints:
    dataset="|".join(DATASETS),
    model="|".join(MODELS),
    seed=r"\d+",
    shard=r"\d+",
    shards=r"\d+",
    method="|".join(GRID.methods),
    curvature="|".join(RUN.curvatures()) or "none",
    scheme="|".join(GRID.schemes) or "none",


def settings_of(stage):
    """The settings of the stage for a rule's wildcards, as one JSON string."""
    return cell_settings(RUN, stage)


def gpu_percent(stage):
    """The share of a GPU that a rule's job takes."""
    return lambda wildcards: RUN.machine.gpu_percent(stage, wildcards.model)


def digest(script):
    """Changes when the script, the package code it imports or a pinned library version changes."""
    return source_digest(SCRIPTS / script, ROOT, ROOT / "envs" / "lock.txt")


def given(flag, **files):
    """Files as words of a script's command line, by name; several of one name have a word each."""
    listed = {
        name: [paths] if isinstance(paths, str) else paths
        for name, paths in files.items()
    }
    return " ".join(
        f"--{flag} {name}={quote(str(path))}"
        for name, paths in listed.items()
        for path in paths
    )


def plan_of(jobs):
    """What a run is about to do and how long it should take, as text."""
    tasks = [task_of(job.output[0]) for job in jobs if job.output]
    return summary(tasks, RUN, rates([Path(RESULTS)], map(Path, RUN.also_read)))


def refuse_folders():
    """A folder that no job of Slurm would start in is refused before one is submitted."""
    try:
        if workflow.executor_plugin.name == "slurm":
            check_paths()
    except SettingsError as error:
        sys.exit(f"error: {error}")


def refuse_slow_traces(jobs):
    """FP16 traces on a CPU are stopped before any job starts; on a scheduler the jobs themselves know their device."""
    device = RUN.machine.device
    if (
        device == "cuda"
        or device == "auto"
        and (not workflow.local_exec or local_gpus())
    ):
        return
    for job in jobs:
        if job.rule.name in ("trace", "trace_part"):
            settings = trace_settings(job.wildcards)
            if settings.precision == "fp16" and settings.slow == "refuse":
                sys.exit(
                    f"error: curvature {job.wildcards.curvature}: FP16 is some 80 times slower on a CPU; use "
                    "precision bf16 or estimator exact, run on a GPU, or say slow: accept."
                )


def final_targets():
    """What a whole run delivers: every table, the page of results, and every cell's learning curves and shapes."""
    cells = {"dataset": GRID.datasets, "model": GRID.models, "seed": GRID.seeds}
    pictures = ("learning_curves", "kept_shares")
    return [
        *rules.tables.output,
        *rules.report.output,
        *expand(f"{RESULTS}/curves/{CELL}/{{name}}.svg", name=pictures, **cells),
    ]
