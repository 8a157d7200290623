"""What may happen to a project, as plain data: a sequence can be printed, shortened and run again."""

from collections.abc import Callable

from tests.workflow.random_runs.grid import CODE, INPUTS, JOBS, KNOBS, LASTING, SETTINGS, TIMES, closed

Integer = Callable[[int, int], int]
"""Draws a whole number from a range, both ends included; the lower end is the simplest."""
Operation = tuple[str | int, ...]
POINTS = ("start", "read", "written")
KILLED = ("both", "snakemake", "orphan", "job", "interrupt", "terminate")
MET = ("killed", "edited", "fails")

WEIGHTS: dict[str, int] = {
    "run": 3,
    "edit": 5,
    "input": 4,
    "comment": 1,
    "touch": 2,
    "delete": 3,
    "damage": 3,
    "forget": 1,
    "target": 2,
    "killed": 7,
    "edited": 6,
    "fails": 2,
    "look": 2,
    "push": 2,
    "back": 2,
    "links": 1,
    "move": 1,
    "touched": 1,
}


def sequence(integer: Integer, longest: int = 4) -> list[Operation]:
    """Draw operations."""
    return [operation for _ in range(integer(1, longest)) for operation in operations(integer)]


def operations(integer: Integer) -> list[Operation]:
    """Draw one operation, or an edit and a run that meets something at a job that has to run after it."""
    names = [name for name, weight in WEIGHTS.items() for _ in range(weight)]
    kind = _one(integer, names)
    drawn: Operation = (kind, *ARGUMENTS.get(kind, lambda integer: ())(integer))
    if kind not in MET or integer(0, 9) == 9:
        return [drawn]
    reaching = [name for name, knob in KNOBS.items() if drawn[1] in closed(knob.jobs)]
    nearest = sorted(reaching, key=lambda name: len(closed(KNOBS[name].jobs)))  # the fewest jobs before the one meant
    return [("flip", nearest[min(integer(0, len(nearest) - 1), integer(0, len(nearest) - 1))]), drawn]


def _one(integer: Integer, values: tuple[str, ...] | list[str]) -> str:
    return values[integer(0, len(values) - 1)]


def _edit(integer: Integer) -> Operation:
    knob = _one(integer, [*SETTINGS, *CODE, *list(CODE)[:-1]])
    return knob, integer(0, KNOBS[knob].values - 1), _one(integer, ["newer", *TIMES]) if knob in CODE else "newer"


def _input(integer: Integer) -> Operation:
    knob = _one(integer, ["weights", "weights", *INPUTS])
    return knob, integer(0, KNOBS[knob].values - 1), _one(integer, TIMES)


def _place(integer: Integer) -> Operation:
    return _one(integer, list(JOBS)), _one(integer, POINTS)


def _edited(integer: Integer) -> Operation:
    """Edit something while a job waits: a file given a time as well; it may be put back before the job goes on."""
    knob = _one(integer, [*SETTINGS, *CODE, *["weights"] * 8])
    back = integer(0, 2) == 1
    return (*_place(integer), knob, integer(1, KNOBS[knob].values - 1), _one(integer, TIMES), int(back))


ARGUMENTS: dict[str, Callable[[Integer], Operation]] = {
    "edit": _edit,
    "input": _input,
    "comment": lambda integer: (_one(integer, list(CODE)[:-1]),),
    "touch": lambda integer: (integer(0, 1000),),
    "delete": lambda integer: (_one(integer, LASTING), integer(0, 3)),
    "damage": lambda integer: (_one(integer, LASTING), integer(0, 2)),
    "target": lambda integer: (_one(integer, LASTING),),
    "killed": lambda integer: (*_place(integer), _one(integer, KILLED)),
    "edited": _edited,
    "fails": _place,
    "links": lambda integer: (_one(integer, ("symlink", "hardlink", "copy")),),
    "back": lambda integer: (integer(0, 1), _one(integer, ("whole", "outputs", "code")), integer(0, 1)),
}
