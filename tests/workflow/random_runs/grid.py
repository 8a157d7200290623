"""The grid of stub stages: its jobs, and what can be edited: settings, code, pins and inputs."""

import copy
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.workflow.conftest import SMALL, write_config

NAME = "small"
CELL = "digits/resnet20/seed0"
METHODS = (("hap", "random"), ("random", "hap"), ("hap",))
TIMES = ("newer", "equal", "older")


@dataclass(frozen=True)
class Work:
    """A job of the grid. files: Of which the first one names it; temporary ones are gone when a run has ended."""

    files: tuple[str, ...]
    needs: tuple[str, ...]
    temporary: bool = False


def _work(stage: str, *files: str, needs: Iterable[str] = (), temporary: bool = False) -> Work:
    return Work(tuple(f"results/{NAME}/{stage}/{file}" for file in files), tuple(needs), temporary)


def _table_files() -> list[str]:
    names = ("pruned_accuracy", "trace_cost", "quantized_accuracy", "sizes", "comparison", "paired", "overview")
    csv = [f"{name}.csv" for name in (*names, "settings")]
    return [*csv, *(f"{name}.md" for name in names), "accuracy_by_size.svg", "summary.json", "sources.json"]


TRAINED = ("model.safetensors", "history.csv", "record.json")
TRACES = f"trace/{CELL}/hutchinson-fp32"
CHAIN: dict[str, Work] = {
    "prepare": _work("prepare/digits", "data.safetensors", "record.json"),
    "pretrain": _work(f"pretrain/{CELL}", *TRAINED, needs=("prepare",)),
    **{
        f"part{part}": _work(
            f"{TRACES}/parts",
            f"{part}-of-2.safetensors",
            f"{part}-of-2.sources.json",
            needs=("prepare", "pretrain"),
            temporary=True,
        )
        for part in (0, 1)
    },
    "trace": _work(TRACES, "traces.safetensors", "record.json", needs=("prepare", "pretrain", "part0", "part1")),
    **{
        f"prune/{method}": _work(
            f"prune/{CELL}/{method}", "plan.json", "model.safetensors", "record.json", needs=("pretrain", *needs)
        )
        for method, needs in (("hap", ("trace",)), ("random", ()))
    },
    **{
        f"evaluate_unrecovered/{method}": _work(
            f"evaluate_unrecovered/{CELL}/{method}", "record.json", needs=("prepare", f"prune/{method}")
        )
        for method in ("hap", "random")
    },
    **{
        f"finetune/{method}": _work(f"finetune/{CELL}/{method}", *TRAINED, needs=("prepare", f"prune/{method}"))
        for method in ("hap", "random")
    },
    **{
        f"evaluate/{method}": _work(f"evaluate/{CELL}/{method}", "record.json", needs=("prepare", training))
        for method, training in (("dense", "pretrain"), ("hap", "finetune/hap"), ("random", "finetune/random"))
    },
}
PICTURES = ("pretrain", "finetune/hap", "finetune/random", "prune/hap", "prune/random")
JOBS: dict[str, Work] = {
    **CHAIN,
    "curves": _work(f"curves/{CELL}", "learning_curves.svg", "learning_curves.sources.json", needs=PICTURES[:3]),
    "shapes": _work(
        f"curves/{CELL}", "kept_shares.svg", "kept_shares.sources.json", needs=(PICTURES[0], *PICTURES[3:])
    ),
    "tables": _work("tables", *_table_files(), needs=CHAIN),
    "report": _work("report", "index.html", "sources.json", needs=CHAIN),
}
BY_FILE = {file: name for name, job in JOBS.items() for file in job.files}
LASTING = [name for name, job in JOBS.items() if not job.temporary]
DRAWN = ("curves", "shapes", "tables", "report")


def closed(jobs: Iterable[str]) -> set[str]:
    """Return jobs with all that follow from them, and the temporary ones that these need again."""
    found = set(jobs)
    for name, job in JOBS.items():  # each stands behind what it needs
        if found & set(job.needs):
            found.add(name)
    return found | ({"part0", "part1"} if "trace" in found else set())


@dataclass(frozen=True)
class Knob:
    """Something that can be edited. values: How many it has; jobs: Which it changes at once."""

    values: int
    jobs: tuple[str, ...]
    write: Callable[[Path, int], None]


State = Mapping[str, int]
"""The value of every knob."""


def configuration(state: State) -> dict[str, Any]:
    """Return the configuration of a state."""
    config = copy.deepcopy(SMALL)
    config["grid"] |= {"methods": list(METHODS[state["methods"]]), "schemes": []}
    del config["qat"], config["schemes"]
    training = {"epochs": 0, "learning_rate": 0.05, "weights": "mine.safetensors"}
    config["pretrain"] = {"all": training | {"batch_size": (16, 8)[state["pretrain"]]}}
    config["trace"]["all"] |= {"samples": 2 + state["trace"], "shards": 2 - state["shards"]}
    config["methods"]["hap"]["prune"] = {"params": (0.3, 0.4)[state["prune"]]}
    config["methods"]["random"]["finetune"] = {"learning_rate": (0.01, 0.02)[state["finetune"]]}
    config["machine"] |= {"threads": 1 + state["threads"]}
    return config


def _code(stage: str) -> Callable[[Path, int], None]:
    def write(folder: Path, value: int) -> None:
        path = folder / f"ehap/stages/{stage}.py"
        path.write_text(re.sub(r"CONSTANT = \d+", f"CONSTANT = {value}", path.read_text()))

    return write


def _pins(folder: Path, value: int) -> None:
    path = folder / "envs/lock.txt"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("stub==")]
    path.write_text("\n".join([*lines, f"stub=={value}"]) + "\n")


def _paper(folder: Path, value: int) -> None:
    path = folder / "config/paper_results.csv"
    path.write_text(path.read_text().rstrip("\n") + "\n" * (1 + value))


def _weights(folder: Path, value: int) -> None:
    (folder / "mine.safetensors").write_text(f"weights {value}")


def _none(folder: Path, value: int) -> None:
    """Write nothing of its own: the configuration is written whole."""


def _of(*stages: str) -> tuple[str, ...]:
    return tuple(name for name in JOBS if name.split("/")[0].rstrip("01") in stages)


SETTINGS = {
    "pretrain": Knob(2, ("pretrain",), _none),
    "trace": Knob(2, _of("part", "trace"), _none),
    "shards": Knob(2, _of("part", "trace"), _none),
    "prune": Knob(2, ("prune/hap",), _none),
    "finetune": Knob(2, ("finetune/random",), _none),
    "methods": Knob(3, DRAWN, _none),
    "threads": Knob(2, (), _none),
}
CODE = {
    **{f"code {name}": Knob(2, _of(name), _code(name)) for name in ("prepare", "pretrain", "prune", "finetune")},
    **{f"code {name}": Knob(2, _of(name), _code(name)) for name in ("evaluate", "curves", "tables", "trace")},
    "code trace_part": Knob(2, _of("part"), _code("trace_part")),
    "pins": Knob(2, tuple(JOBS), _pins),
}
INPUTS = {
    "weights": Knob(3, ("pretrain",), _weights),
    "paper": Knob(2, ("tables", "report"), _paper),
}
PLACES = {"weights": "mine.safetensors", "paper": "config/paper_results.csv", "pins": "envs/lock.txt"}
KNOBS = SETTINGS | CODE | INPUTS
START: dict[str, int] = dict.fromkeys(KNOBS, 0)


def write_knob(folder: Path, state: State, name: str, time: str = "newer") -> None:
    """Write what a knob stands for as ``state`` has it.

    Args:
        folder: Of the project.
        state: Of all knobs.
        name: Of the knob.
        time: Of a file of code or an input, beside that of the file that was there.
    """
    if name in SETTINGS:
        write_config(folder, configuration(state))
        return
    path = folder / PLACES.get(name, f"ehap/stages/{name.removeprefix('code ')}.py")
    before = path.stat().st_mtime_ns if path.exists() else 0
    KNOBS[name].write(folder, state[name])
    if time != "newer" and before:
        moved = before - (0 if time == "equal" else 3_600_000_000_000)
        os.utime(path, ns=(moved, moved))


def write_state(folder: Path, state: State) -> None:
    """Write all that a state says."""
    for name in KNOBS:
        write_knob(folder, state, name)
