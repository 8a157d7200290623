"""The checked configuration, paths, and what every rule shares."""

import sys
from dataclasses import asdict
from pathlib import Path

from ehap.errors import SettingsError
from ehap.settings.run import DATASETS, DENSE, MODELS, Run
from ehap.workflow.cells import canonical, cell_settings, record_paths
from ehap.workflow.digest import source_digest

try:
    RUN = Run(config)
except SettingsError as error:
    sys.exit(f"error in the configuration: {error}")

ROOT = Path(workflow.basedir)
SCRIPTS = ROOT / "workflow_scripts"
PYTHON = sys.executable
GRID = RUN.grid
GPU = 0 if RUN.machine.device == "cpu" else 1

RESULTS = f"results/{RUN.name}"
LOGS = f"logs/{RUN.name}"
BENCHMARKS = f"benchmarks/{RUN.name}"
STATES = f"state/{RUN.name}"  # of jobs that were cut off; outputs of a failed job are deleted, states are not
CELL = "{dataset}/{model}/seed{seed}"

# Where a job computes, in its command line but not in its settings: another machine reruns nothing.
MACHINE = canonical(asdict(RUN.machine))
JOB = (
    " --dataset {wildcards.dataset} --model {wildcards.model} --seed {wildcards.seed} --code {params.code}"
    " --machine {MACHINE:q} --states {STATES} --log {log}"
)


wildcard_constraints:
    dataset="|".join(DATASETS),
    model="|".join(MODELS),
    seed=r"\d+",
    method="|".join(GRID.methods),
    curvature="|".join(RUN.curvatures()) or "none",
    scheme="|".join(GRID.schemes) or "none",


def settings_of(stage):
    """The settings of the stage for a rule's wildcards, as one JSON string."""
    return cell_settings(RUN, stage)


def digest(script):
    """Changes when the script, the package code it imports or a pinned library version changes."""
    return source_digest(SCRIPTS / script, ROOT, ROOT / "envs" / "lock.txt")


def final_targets():
    """What a whole run delivers: every table."""
    return rules.tables.output
