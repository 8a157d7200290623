"""A run's outputs pushed to a DVC remote, and pulled, without loss."""

import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from ehap.errors import ProvenanceError
from ehap.workflow.integrity import is_damaged
from ehap.workflow.internals import LOCKS, check_idle
from ehap.workflow.objects import Objects, Vouched, dvc, opened
from ehap.workflow.placing import Aside, place, to_place
from ehap.workflow.provenance import pack, restore


def pull(run: str, remote: str | None = None, force: bool = False) -> int:
    """Fetch the missing and damaged files of a pushed run, and Snakemake's notes on it.

    Files that DVC does not know stay. Whole files that were made here since stay, and are named. Damaged files, and
    files that no record lists, go to ``aside/RUN/<time>``.

    Args:
        run: Its name.
        remote: A DVC remote other than the default one.
        force: Move aside files made here since, too.

    Returns:
        The exit code: 0 if each file of ``dvc.lock`` is here and whole.

    Raises:
        ProvenanceError: A run is under way, there is no such run or remote, or the notes were not pushed.
    """
    check_idle(LOCKS)
    with opened() as objects:
        objects.check_remote(remote)
        vouched = _fetched(objects, run, remote)
        wanted, newer = to_place(vouched, force, objects.absent)
        aside = Aside(run)
        damaged = objects.damaged(wanted.values())
        if damaged:
            for path in (path for path, name in wanted.items() if name in damaged and path.is_symlink()):
                aside.move(path)  # somebody may have written through the link into the object
            print(f"dropped {_number(len(damaged), 'damaged object')} from DVC's cache")
            objects.drop(damaged)
            dvc(*_command("fetch", run, remote))
            objects.drop(objects.damaged(damaged))  # the remote's are no better
        lost = place(objects, wanted, aside)
    for folder in vouched.folders:
        folder.mkdir(parents=True, exist_ok=True)  # DVC wants empty ones as well
    print(f"put in place: {_number(len(wanted) - len(lost), 'file')} of {len(vouched.files)}")
    _say("stays, made here since; FORCE=1 moves it aside", newer)
    _say(f"moved aside, to {aside.folder}", aside.moved)
    _say("MISSING: neither the cache nor the remote has it whole", (*lost, *vouched.unknown))
    results = Path("results") / run
    restored = restore(results, keep={str(path) for path in newer})
    return max(restored.show(results), int(bool(lost or vouched.unknown)))


def push(run: str, remote: str | None = None, force: bool = False) -> int:
    """Bring a run's outputs and Snakemake's notes on them to a DVC remote, and check that each object is there.

    Args:
        run: Its name.
        remote: A DVC remote other than the default one.
        force: Whether ``dvc.lock`` forgets files that are not here.

    Returns:
        The exit code: 0 if the remote has each object that ``dvc.lock`` now names.

    Raises:
        ProvenanceError: A run is under way, an output is damaged or not here, or there is no such run or remote.
    """
    results = Path("results") / run
    with opened() as objects:
        objects.in_remote(["0" * 32], remote)  # it answers
        _check_whole(results)
        if not force:
            _check_complete(objects, run)
    print(f"{results}: packed the notes on {pack(results)} outputs", flush=True)
    vouched = _committed(run)
    named = {**vouched.files, **vouched.folders}
    names = set(named.values())
    with opened() as objects:
        dvc(*_command("push", run, remote))
        left_out = names - objects.in_remote(names, remote)
        objects.upload(left_out - objects.absent(left_out), remote)
    with opened() as objects:  # anew: some file systems cache their listings
        missing = names - objects.in_remote(names, remote)
    if left_out - missing:
        count = _number(len(left_out - missing), "object")
        print(f"DVC took {count} for pushed that the remote did not have; now it has")
    _say("MISSING: the remote has not got it", [path for path, name in named.items() if name in missing])
    print(f"in the remote: {_number(len(names) - len(missing), 'object')} of {len(names)}")
    if not missing:
        print("Now commit dvc.lock and push it with git.")
    return int(bool(missing))


def _check_whole(results: Path) -> None:
    bad = sorted(path for path in results.rglob("*") if path.is_file() and is_damaged(path))
    if bad:
        raise ProvenanceError(
            f"{', '.join(map(str, bad))}: damaged, by the checksum in the record; nothing was pushed. Run Snakemake, "
            "or make pull, and push again."
        )


def _check_complete(objects: Objects, run: str) -> None:
    """Raise ProvenanceError where a commit would have dvc.lock forget files."""
    try:
        before = objects.vouched(_stage(run))
    except ProvenanceError:  # never pushed
        return
    gone = [path for path in (*before.files, *before.unknown) if not path.exists()]
    if gone:
        raise ProvenanceError(
            f"{'; '.join(_by_folder(gone))}: dvc.lock vouches for them, and they are not here; nothing was pushed. "
            "make pull brings them; make push FORCE=1 has dvc.lock forget them."
        )


def _committed(run: str) -> Vouched:
    """Have DVC take the outputs into its cache and dvc.lock; return the entries of dvc.lock, all whole in the cache."""
    for _ in range(2):
        if dvc("commit", "--force", "--quiet", _stage(run)):
            raise ProvenanceError("dvc commit failed, see above; nothing was pushed.")
        with opened() as objects:
            vouched = objects.vouched(_stage(run))
            damaged = objects.damaged([*vouched.files.values(), *vouched.folders.values()])
            if not damaged:
                return vouched
            print(f"dropped {_number(len(damaged), 'damaged object')} from DVC's cache", flush=True)
            objects.drop(damaged)
    raise ProvenanceError("DVC's cache lacks objects that were just committed; nothing was pushed. Check the disk.")


def _fetched(objects: Objects, run: str, remote: str | None) -> Vouched:
    """Fetch the objects that the cache lacks; return the entries of dvc.lock."""
    lists = set(objects.outputs(_stage(run)).values())
    objects.drop(objects.damaged(name for name in lists if name.endswith(".dir")))
    if dvc(*_command("fetch", run, remote)):
        print("dvc fetch failed; objects in the cache are put in place all the same", file=sys.stderr)
    return objects.vouched(_stage(run))


def _stage(run: str) -> str:
    return f"run@{run}"


def _command(name: str, run: str, remote: str | None) -> tuple[str, ...]:
    return (name, *(("--remote", remote) if remote else ()), _stage(run))


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _by_folder(paths: Iterable[Path]) -> list[str]:
    """Return a text for each folder, with the names of its files."""
    names = defaultdict(list)
    for path in sorted(paths):
        names[path.parent].append(path.name)
    return [f"{folder}/{', '.join(files)}" for folder, files in names.items()]


def _say(what: str, paths: Iterable[Path]) -> None:
    for text in _by_folder(paths):
        print(f"{what}: {text}", file=sys.stderr)
