"""The checked configuration, and the paths and functions that all rules share."""

import sys
from dataclasses import asdict
from pathlib import Path
from shlex import quote

# The package beside this file plans and runs, even if the environment has another one.
sys.path.insert(0, workflow.basedir)

from ehap.errors import EhapError
from ehap.settings.names import DATASETS, DENSE, MODELS
from ehap.settings.own_criterion import is_own
from ehap.settings.run import Run
from ehap.workflow import catalog
from ehap.workflow.before import begin, grow
from ehap.workflow.cells import canonical, cell_settings, page_files, record_paths
from ehap.workflow.command import command_options, files
from ehap.workflow.configuration import check_files
from ehap.workflow.digest import source_digest
from ehap.workflow.gpus import local_gpus
from ehap.workflow.internals import cores, is_local, needed, prepare_snakemake
from ehap.workflow.own_code import own_files
from ehap.workflow.sources import beside
from ehap.workflow.spent import Spent
from ehap.workflow.start import at_the_end, compare_at_start
from ehap.workflow.warm.starting import Servers

ROOT = Path(workflow.basedir)

try:
    check_files([Path(file) for file in workflow.configfiles])
    RUN = Run(config)
    for criterion in RUN.own_criteria():
        own_files(criterion, ROOT)  # refused now if they cannot be followed
except EhapError as error:
    sys.exit(f"error in the configuration: {error}")

SCRIPTS, LOCK = ROOT / "workflow_scripts", ROOT / "envs" / "lock.txt"
WARM, SPENT = Servers(workflow), Spent([])
PYTHON = WARM.command()
GRID = RUN.grid
GPU = 0 if RUN.machine.device == "cpu" else 1

RESULTS, LOGS = f"results/{RUN.name}", f"logs/{RUN.name}"
BENCHMARKS = LOGS  # run times, as Snakemake measures them, beside the logs
EVENTS = f"{LOGS}/tensorboard" if RUN.machine.tensorboard else ""
STATES = f"state/{RUN.name}"  # files that outlive a failed job: Snakemake deletes its outputs
CELL = "{dataset}/{model}/seed{seed}"

# The machine stands in a job's command line but not in its params: another machine reruns nothing.
MACHINE = canonical(asdict(RUN.machine))
JOB = (
    "{PYTHON} {SCRIPTS:q}/{params.script} {params.files} --code {params.code} --states {STATES:q} --log {log:q}"
    " --machine {MACHINE:q} --gpu-percent {resources.gpu_percent} --events={EVENTS:q}"
)
WITH_SETTINGS = " ".join([JOB, "--settings {params.settings:q}"])

prepare_snakemake(workflow, gpus=len(local_gpus()) if GPU else 0)
compare_at_start(workflow, Path(STATES), lambda: WARM.open(RUN.machine.threads))


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
    return lambda wildcards: catalog.gpu_percent(RUN.machine, stage, wildcards.model)


def digest(script, criterion=""):
    """The digest of the script, the code that it imports, pinned library versions, and the user's code."""
    try:
        return source_digest(SCRIPTS / script, ROOT, LOCK, criterion)
    except EhapError as error:
        sys.exit(f"error: {error}")


def final_targets():
    """The results of a whole run: every table, the page of results, and every cell's learning curves and shapes."""
    cells = {"dataset": GRID.datasets, "model": GRID.models, "seed": GRID.seeds}
    pictures = ("learning_curves", "kept_shares")
    return [
        *rules.tables.output,
        *rules.report.output,
        *expand(f"{RESULTS}/curves/{CELL}/{{name}}.svg", name=pictures, **cells),
    ]
