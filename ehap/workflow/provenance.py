"""Snakemake's notes on the making of each output, in a file that DVC can carry.

Snakemake decides what to rerun by notes in ``.snakemake/metadata``: the settings, code and input checksums of every
output. They do not travel with the outputs. So a colleague who pulled the outputs would compute everything again.
``pack`` writes a run's notes into one file, each with the checksum of its output. ``restore`` puts notes back if their
output is here and unchanged. It marks changed outputs as unfinished.
"""

import json
import os
import sys
from collections.abc import Container
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ehap.errors import ProvenanceError
from ehap.runtime.files import sha256_of, write_atomically
from ehap.workflow.catalog import MAYBE
from ehap.workflow.commits import UNKNOWN, commit_here
from ehap.workflow.internals import LOCKS, METADATA, OF_THIS_MACHINE, UNFINISHED, check_idle, place_of
from ehap.workflow.internals import notes as notes_here

NAME = "provenance.json"
COMMIT = "commit"
"""A field of our own in each note: the commit at which the output was packed."""


@dataclass(frozen=True)
class Restored:
    """The result of ``restore``.

    - notes: Number of notes put back.
    - absent: Outputs with such a note that are not here (a partial pull).
    - changed: Outputs with other content than in the notes, and links to nothing. They are marked as unfinished, so
      that Snakemake makes them anew. (It makes a deleted output anew only if the files made from it are gone, too.)
    - touched: Inputs with newer content than the files made from them.
    """

    notes: int
    absent: tuple[str, ...]
    changed: tuple[str, ...]
    touched: tuple[str, ...]

    def show(self, results: Path) -> int:
        """Print it; return the exit code: 1 if something has changed."""
        print(f"{results}: restored the notes on {self.notes} outputs ({len(self.absent)} of them not here)")
        for path in self.changed:
            print(
                f"{path} is not what was packed: make pull brings that back, Snakemake makes it anew", file=sys.stderr
            )
        for path in self.touched:
            print(f"{path} is newer than what was made from it; Snakemake makes that anew", file=sys.stderr)
        return int(bool(self.changed))


def pack(results: Path) -> int:
    """Write the notes on every output of a run to ``<results>/provenance.json`` and return how many there are.

    Notes of outputs that were not pulled are kept. Folders of stages that the run lacks are made, empty: DVC needs
    every declared output to exist.

    Args:
        results: ``results/<run>``, relative to the project, in which Snakemake ran.

    Raises:
        ProvenanceError: A run is going on or was killed, or there is nothing to pack.
    """
    check_idle(LOCKS, UNFINISHED)
    target = results / NAME
    known = json.loads(target.read_text()) if target.exists() else {}
    found, commit = {}, commit_here()
    for output, path in notes_here():
        if Path(output).is_file() and results in Path(output).parents:
            note = {key: value for key, value in json.loads(path.read_text()).items() if key not in OF_THIS_MACHINE}
            note["sha256"] = sha256_of(output)
            same = known.get(output, {})
            found[output] = same if without_commit(same) == note else note | {COMMIT: commit}
    found |= {output: note for output, note in known.items() if output not in found and not Path(output).exists()}
    if not found:
        raise ProvenanceError(f"expected outputs of a run under {results}, but Snakemake knows of none; run it first.")
    for folder in MAYBE:
        (results / folder).mkdir(exist_ok=True)
    text = json.dumps(found, indent=0, sort_keys=True) + "\n"
    if not target.exists() or target.read_text() != text:
        write_atomically(target, text.encode())
    return len(found)


def restore(results: Path, keep: Container[str] = ()) -> Restored:
    """Put the notes on a run's outputs back where Snakemake reads them.

    Args:
        results: ``results/<run>``, relative to the project.
        keep: Outputs that were made here since the notes were packed: Snakemake's own notes on them stay.

    Raises:
        ProvenanceError: There is no ``provenance.json``, or it is damaged.
    """
    source = results / NAME
    try:
        notes: dict[str, dict[str, Any]] = json.loads(source.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ProvenanceError(f"{source}: expected the notes of a run ({error}); pull it with its outputs.") from None
    sha256 = cache(sha256_of)  # an output is the input of many others
    notes = {output: note for output, note in notes.items() if output not in keep}
    changed = [
        output
        for output, note in notes.items()
        if os.path.lexists(output) and not (Path(output).exists() and sha256(output) == note["sha256"])
    ]
    UNFINISHED.mkdir(parents=True, exist_ok=True)
    for output in changed:
        place_of(METADATA, output).unlink(missing_ok=True)
        _write(place_of(UNFINISHED, output), {"external_jobid": None})
    good = {output: note for output, note in notes.items() if output not in changed}
    for output, note in good.items():
        place_of(UNFINISHED, output).unlink(missing_ok=True)
        kept = {key: value for key, value in note.items() if key not in ("sha256", COMMIT)}
        _write(place_of(METADATA, output), kept | {"incomplete": False})
    # Snakemake compares checksums only of inputs that are newer than the output, and a checkout may give any time.
    seen = [pair for note in good.values() for pair in (note.get("input_checksums") or {}).items()]
    touched = sorted({path for path, checksum in seen if Path(path).exists() and checksum != f"sha256:{sha256(path)}"})
    for path in touched:
        os.utime(path, follow_symlinks=False)
    absent = tuple(output for output in good if not Path(output).exists())
    return Restored(len(good), absent, tuple(changed), tuple(touched))


def without_commit(note: dict[str, Any]) -> dict[str, Any]:
    """Return a note without the commit: another commit alone makes no other note."""
    return {key: value for key, value in note.items() if key != COMMIT}


def made_by(results: Path) -> set[str]:
    """Return the commits that made a run, by its packed notes; ``unknown`` for notes without one.

    Args:
        results: ``results/<run>``, relative to the project.
    """
    try:
        notes: dict[str, dict[str, Any]] = json.loads((results / NAME).read_text())
    except (OSError, json.JSONDecodeError):
        return {UNKNOWN}
    return {note.get(COMMIT, UNKNOWN) for note in notes.values()}


def _write(path: Path, note: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(note).encode())
