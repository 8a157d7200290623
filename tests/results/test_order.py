"""The order of the page is that of the catalog of stages."""

from ehap.results import order
from ehap.settings.stages import CATALOG


def test_trainings_and_folders_are_those_of_the_catalog() -> None:
    assert list(order.TRAININGS) == [stage.name for stage in CATALOG if stage.work == "epochs"]
    assert {stage.name: stage.folder for stage in CATALOG if stage.folder} == order.FOLDERS
    assert {*order.TESTED, *order.TIMED} <= {stage.name for stage in CATALOG}
