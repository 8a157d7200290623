"""Facts derived from the catalog of stages: folders, shares of a GPU, outputs for DVC, groups of a cluster's jobs."""

from ehap.settings import Machine
from ehap.settings.names import NETWORKS
from ehap.settings.stages import CATALOG, Stage

WIDE_PER_GPU = 2
"""At most so many trainings of a wide network share a GPU."""
FOLDERS = tuple(stage.place for stage in CATALOG)
"""Folders below ``results/<run>``, in the order of the work."""
MAYBE = tuple(stage.place for stage in CATALOG if stage.maybe)
"""Those that a run can lack."""
BESIDE = tuple(dict.fromkeys(stage.beside for stage in CATALOG if stage.beside))
"""Names of the files beside records that go with them."""


def stage_of(name: str) -> Stage:
    """Return a stage by its name or its folder.

    Raises:
        KeyError: The catalog has none of this name.
    """
    for stage in CATALOG:
        if name in (stage.name, stage.place):
            return stage
    raise KeyError(name)


def gpu_percent(machine: Machine, stage: str, model: str) -> int:
    """Return the share of a GPU that a job takes; 0 where it takes none.

    Args:
        machine: How many jobs share a GPU.
        stage: Its name.
        model: Its name; one that the settings do not know counts as not wide.
    """
    share = stage_of(stage).gpu
    if machine.device == "cpu" or share == "none":
        return 0
    if share == "whole":
        return 100
    wide = model in NETWORKS and NETWORKS[model].wide
    return 100 // (min(machine.cells_per_gpu, WIDE_PER_GPU) if wide else machine.cells_per_gpu)


def groups() -> dict[str, str]:
    """Return rule to group, for the profile of a cluster on which jobs of one group run as one."""
    return dict(pair for stage in CATALOG for pair in stage.groups)
