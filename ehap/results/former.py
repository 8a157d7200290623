"""Records of older code in today's words: stages, quantities, settings and folders that have had other names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

STAGES = {"assess": "evaluate_unrecovered"}
"""Former name of a stage, and of its folder, to today's."""
QUANTITIES = {"other_answers": "mismatches", "inductor_other_answers": "inductor_mismatches"}
SETTINGS: dict[tuple[str, str], tuple[str, dict[Any, Any]]] = {
    ("trace", "slow"): ("allow_cpu_fp16", {"refuse": False, "accept": True}),
    ("prune", "weights"): ("reinitialize", {"kept": False, "new": True}),
}
"""Stage and former setting to today's setting, and former values to today's."""


def current(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record in today's words; one that has them already is returned as it is.

    Args:
        record: With stage, values and settings.
    """
    stage = STAGES.get(record["stage"], record["stage"])
    values = {QUANTITIES.get(name, name): value for name, value in record["values"].items()}
    settings = dict(_setting(stage, name, value) for name, value in record["settings"].items())
    return {**record, "stage": stage, "values": values, "settings": settings}


def current_folder(path: Path) -> Path:
    """Return where today's code puts what older code put at ``path``, given from the folder of a run on."""
    return Path(*(STAGES.get(part, part) if index == 0 else part for index, part in enumerate(path.parts)))


def _setting(stage: str, name: str, value: Any) -> tuple[str, Any]:
    today, meaning = SETTINGS.get((stage, name), (name, {}))
    return today, meaning.get(value, value) if isinstance(value, str) else value
