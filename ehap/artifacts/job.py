"""The one argument of every stage: a job with its files, settings and machine."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ehap.errors import SettingsError
from ehap.records import Identity, Proof, Value, write_record
from ehap.settings import Machine

if TYPE_CHECKING:
    import torch

Settings = TypeVar("Settings")
Other = TypeVar("Other")
Files = Mapping[str, Path | Sequence[Path]]
"""Name to one path, or to several where a name stands for any number of files."""


@dataclass(frozen=True, kw_only=True)
class Job(Generic[Settings]):
    """The files, settings and machine of one run of a stage.

    identity: Stage, cell and code. inputs, outputs: Files that the job reads and writes, by name. settings: Those of
    the stage; None where it has none. machine: Where the job computes. states: Folder for states that outlive a job
    that is cut off; None keeps none. events: Folder for TensorBoard event files; None writes none. options: Further
    words of the command line, by name.
    """

    identity: Identity
    settings: Settings
    inputs: Files = field(default_factory=dict)
    outputs: Files = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)
    states: Path | None = None
    events: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def input(self, name: str) -> Path:
        """Return the path of an input; raise SettingsError where it is not given."""
        return _one(self.inputs, "input", name, self.identity.stage)

    def optional_input(self, name: str) -> Path | None:
        """Return the path of an input; None where it is not given."""
        return self.input(name) if name in self.inputs else None

    def input_list(self, name: str) -> list[Path]:
        """Return the paths of an input that may have any number of files."""
        return _listed(self.inputs.get(name, ()))

    def output(self, name: str) -> Path:
        """Return the path of an output; raise SettingsError where it is not given."""
        return _one(self.outputs, "output", name, self.identity.stage)

    def option(self, name: str) -> str:
        """Return the value of an option; raise SettingsError where it is not given."""
        if name not in self.options:
            raise _absent("option", name, "VALUE", self.identity.stage)
        return self.options[name]

    def input_files(self) -> list[Path]:
        """Return the paths of all inputs, each once, in their order."""
        return list(dict.fromkeys(_all(self.inputs)))

    def output_files(self) -> list[Path]:
        """Return the paths of all outputs, each once, in their order."""
        return list(dict.fromkeys(_all(self.outputs)))

    def with_settings(self, settings: Other) -> "Job[Other]":
        """Return the job with other settings."""
        job: Any = self  # replace() knows the type of our settings only
        changed: Job[Other] = replace(job, settings=settings)
        return changed

    def device(self, name: str = "") -> "torch.device":
        """Choose the torch device of the machine, or the one called ``name``, and set the number of CPU threads.

        Raises:
            DeviceError: The machine asks for a GPU, and there is none.
        """
        from ehap.runtime.device import choose_device  # only now: a job is built before its device is known

        return choose_device(name or self.machine.device, self.machine.threads)

    def write_record(
        self, values: Mapping[str, Value], device: "torch.device", proofs: Mapping[str, Proof] | None = None
    ) -> None:
        """Write the output ``record``, see ``ehap.records.write_record``."""
        write_record(self.output("record"), self.identity, values, self.settings, device, proofs)


def _one(files: Files, kind: str, name: str, stage: str) -> Path:
    if name not in files:
        raise _absent(kind, name, "PATH", stage)
    found = _listed(files[name])
    if len(found) != 1:
        raise SettingsError(f"{stage}: expected one path for the {kind} {name!r}, got {len(found)}.")
    return found[0]


def _absent(kind: str, name: str, value: str, stage: str) -> SettingsError:
    return SettingsError(f"{stage}: the {kind} {name!r} is missing; give --{kind} {name}={value}.")


def _listed(files: Path | Sequence[Path]) -> list[Path]:
    return [files] if isinstance(files, Path) else list(files)


def _all(files: Files) -> Iterator[Path]:
    for each in files.values():
        yield from _listed(each)
