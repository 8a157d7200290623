"""Records of older code in today's words: stages, quantities, settings and folders that have had other names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ehap.errors import DataError
from ehap.settings.renamed import current_settings

STAGES = {"assess": "evaluate_unrecovered"}
"""Former name of a stage, and of its folder, to today's."""
QUANTITIES = {"other_answers": "mismatches", "inductor_other_answers": "inductor_mismatches"}


def current(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record in today's words; a record that has them already is unchanged.

    Args:
        record: With stage, values and settings.

    Raises:
        DataError: One of these is absent.
    """
    absent = [name for name in ("stage", "values", "settings") if name not in record]
    if absent:
        raise DataError(f"a record lacks {', '.join(absent)}; it is damaged, or no record of a stage.")
    stage = STAGES.get(record["stage"], record["stage"])
    values = {QUANTITIES.get(name, name): value for name, value in record["values"].items()}
    settings = current_settings(stage, record["settings"])
    return {**record, "stage": stage, "values": values, "settings": settings}


def current_folder(path: Path) -> Path:
    """Return today's path of a file that older code wrote to ``path``; both begin in the folder of a run."""
    return Path(*(STAGES.get(part, part) if index == 0 else part for index, part in enumerate(path.parts)))


def in_order(folder: Path) -> list[Path]:
    """Return all records below the folder of a run; records of older code in former folders come last.

    Of several records of one network, stage and device the first counts.
    """
    paths = sorted(folder.rglob("record.json"))
    return sorted(paths, key=lambda path: current_folder(path.relative_to(folder)) != path.relative_to(folder))
