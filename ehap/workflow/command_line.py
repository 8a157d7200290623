"""The command line of a workflow script: files by name, settings and machine as JSON, the cell, and where states go."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ehap.artifacts.job import Files, Job
from ehap.errors import EhapError, SettingsError
from ehap.records import Identity
from ehap.settings import Machine, build
from ehap.settings.build import unknown

CELL = [field.name for field in fields(Identity) if field.name not in ("stage", "started")]


@dataclass(frozen=True)
class Names:
    """Names that a script knows of inputs, outputs or options.

    required: Exactly one value each. optional: At most one. several: Any number.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    several: tuple[str, ...] = ()

    @classmethod
    def of(cls, declared: str) -> "Names":
        """Read names as a script declares them, e.g. ``data teacher? parts*``."""
        found: dict[str, list[str]] = {"": [], "?": [], "*": []}
        for name in declared.split():
            mark = name[-1] if name[-1] in found else ""
            found[mark].append(name.removesuffix(mark))
        return cls(*map(tuple, found.values()))

    def text(self) -> str:
        """Return the names for the help."""
        optional = [f"{name} (optional)" for name in self.optional]
        several = [f"{name} (any number)" for name in self.several]
        return ", ".join([*self.required, *optional, *several]) or "none"

    def read(self, flag: str, given: Sequence[str], value: str) -> dict[str, list[str]]:
        """Return the values of ``NAME=VALUE`` words by name, in their order.

        Raises:
            SettingsError: A word has another form, or a name is unknown, missing or repeated.
        """
        found: dict[str, list[str]] = {}
        for word in given:
            name, sign, text = word.partition("=")
            if not sign:
                raise SettingsError(f"{flag}: expected NAME={value}, got {word!r}.")
            if name not in (*self.required, *self.optional, *self.several):
                raise unknown(flag, name, (*self.required, *self.optional, *self.several), "name")
            found.setdefault(name, []).append(text)
        for name in self.required:
            if name not in found:
                raise SettingsError(f"{flag}: {name} is missing; give {flag} {name}={value}.")
        for name, values in found.items():
            if len(values) > 1 and name not in self.several:
                raise SettingsError(f"{flag}: {name} is given {len(values)} times; give it once.")
        return found

    def files(self, flag: str, given: Sequence[str]) -> Files:
        """Return paths by name, see ``read``; names of any number have a list."""
        found = self.read(flag, given, "PATH")
        for name, paths in found.items():
            if not all(paths):
                raise SettingsError(f"{flag}: {name} has no path; give {flag} {name}=PATH.")
        return {
            name: [Path(path) for path in paths] if name in self.several else Path(paths[0])
            for name, paths in found.items()
        }


@dataclass(frozen=True)
class CommandLine:
    """A job as its command line describes it.

    plain_settings: The settings as JSON had them; None for a stage without settings. log: None writes to the terminal.
    gpu_percent: Share of a GPU; 0 takes none.
    """

    job: Job[Any]
    plain_settings: Any
    log: Path | None
    gpu_percent: int


def read_command_line(
    script: Path, description: str, stage: str, settings: type | None, inputs: Names, outputs: Names, options: Names
) -> CommandLine:
    """Read and check ``sys.argv``; end the process with one line where it is wrong.

    Args:
        script: The script that runs.
        description: For ``--help``.
        stage: Stage of the job.
        settings: Dataclass of the stage's settings; None where it has none.
        inputs: Names of the files that the script reads.
        outputs: Names of the files that it writes.
        options: Names of further words.
    """
    parser = argparse.ArgumentParser(prog=script.name, description=description, allow_abbrev=False)
    for flag, names, value in (("input", inputs, "PATH"), ("output", outputs, "PATH"), ("option", options, "VALUE")):
        text = f"repeated; names: {names.text()}"
        parser.add_argument(f"--{flag}", action="append", default=[], metavar=f"NAME={value}", help=text)
    for name in CELL:
        kind = int if name == "seed" else str
        parser.add_argument(f"--{name}", type=kind, default=kind(), metavar=name.upper())
    if settings is not None:
        parser.add_argument("--settings", required=True, metavar="JSON", help=f"fields of {settings.__name__}")
    parser.add_argument("--machine", default="{}", metavar="JSON", help="fields of Machine; all have defaults")
    parser.add_argument("--gpu-percent", type=int, default=0, metavar="N", help="share of a GPU to keep; 0: no queue")
    parser.add_argument("--states", type=_path_or_none, metavar="PATH", help="folder for states that outlive a job")
    parser.add_argument("--events", type=_path_or_none, metavar="PATH", help="folder for TensorBoard event files")
    parser.add_argument("--log", type=Path, metavar="PATH", help="write progress there instead of to the terminal")
    parsed = parser.parse_args()
    try:
        plain: Any = None if settings is None else _json("--settings", parsed.settings)
        job = Job(
            identity=Identity(stage=stage, **{name: getattr(parsed, name) for name in CELL}),
            settings=None if settings is None else build(settings, plain, stage),
            inputs=inputs.files("--input", parsed.input),
            outputs=outputs.files("--output", parsed.output),
            machine=build(Machine, _json("--machine", parsed.machine), "machine"),
            states=parsed.states,
            events=parsed.events,
            options={name: values[0] for name, values in options.read("--option", parsed.option, "VALUE").items()},
        )
    except EhapError as error:
        parser.exit(1, f"error: {error}\n")
    return CommandLine(job, plain, parsed.log, parsed.gpu_percent)


def _path_or_none(text: str) -> Path | None:
    return Path(text) if text else None


def _json(flag: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{flag}: expected JSON, got {text!r} ({error}).") from None
