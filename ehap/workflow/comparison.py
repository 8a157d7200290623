"""Whether results belong to the plan: records compared with files, and with the jobs that Snakemake would run."""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ehap.runtime.files import Hashes
from ehap.workflow.sources import Sources, holder, read_sources

SHOWN = 12  # lines
MISSING = " is missing"
OTHER_CODE = "other code, or other pinned libraries"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A job as Snakemake would run it now: paths, settings as JSON (empty without any), and digest of its code."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: str
    code: str


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Each job stands under its first output.

    - wrong: Job to the reasons why its outputs do not belong to the plan.
    - old: Records without sources, made by an earlier version; they are accepted.
    - good: Jobs that agree with the plan.
    - behind: Job that agrees, to a wrong job before it. Its outputs are worth no more than those of the wrong job.
    - unmade: Jobs without any output, though an earlier run planned them, or other outputs were made from theirs
      and no note says how. They are wrong, too.
    """

    wrong: dict[str, list[str]] = field(default_factory=dict)
    old: list[str] = field(default_factory=list)
    good: list[str] = field(default_factory=list)
    behind: dict[str, str] = field(default_factory=dict)
    unmade: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the text for a terminal; empty where all is well."""
        lines = []
        incomplete = [path for path, reasons in self.wrong.items() if all(each.endswith(MISSING) for each in reasons)]
        incomplete = [path for path in incomplete if path not in self.unmade]
        others = [path for path in self.wrong if path not in (*incomplete, *self.unmade)]
        if self.old:
            results = "1 result was" if len(self.old) == 1 else f"{len(self.old)} results were"
            lines.append(
                f"{results} made before records held what they were made from, and taken as found (the first: "
                f"{self.old[0]})."
            )
        for title, paths in (
            ("Incomplete, and made again", incomplete),
            ("Made from other files, settings or code than there are now", others),
        ):
            found = [f"  {path}: {'; '.join(self.wrong[path])}" for path in paths]
            lines += [f"{title}:"] * bool(found) + found[:SHOWN]
            lines += [f"  and {len(found) - SHOWN} more"] * (len(found) > SHOWN)
        lines += [f"Still to be made: {len(self.unmade)} results (the first: {path})." for path in self.unmade[:1]]
        if self.behind:
            first = next(iter(self.behind))
            lines.append(f"{len(self.behind)} more results depend on these or on the plan (the first: {first}).")
        return "\n".join(lines)


def compare(jobs: Iterable[Planned], hashes: Hashes, unmade: Collection[str] = ()) -> Comparison:
    """Compare each job's outputs with its record, and the record with files and plan.

    Jobs without any output are passed over: Snakemake makes these outputs if something needs them.

    Args:
        jobs: Jobs as planned now.
        hashes: Hashes of files.
        unmade: First outputs of jobs that are wrong if they have no output; see Comparison.
    """
    found, jobs = Comparison(), list(jobs)
    for job in jobs:
        here = [path for path in job.outputs if os.path.lexists(path)]
        first = job.outputs[0]
        if not here:
            if first in unmade:
                found.wrong[first] = [f"all of it{MISSING}"]
                found.unmade.append(first)
            continue
        path = holder(job.outputs)
        try:
            sources = None if path is None else read_sources(Path(path))
            unread = path is None
        except FileNotFoundError:
            found.wrong[first] = [f"{path}{MISSING}"]
            continue
        except ValueError:
            found.wrong[first] = [f"{path} is damaged"]
            continue
        reasons = list(_reasons(job, sources, hashes)) if sources else list(_missing(job, ()))
        if reasons:
            found.wrong[first] = reasons
        elif sources is None and not unread:
            found.old.append(first)
        else:
            found.good.append(first)
    agree = {*found.old, *found.good}
    found.behind.update((first, wrong) for first, wrong in _following(jobs, found.wrong).items() if first in agree)
    hashes.save()
    return found


def _following(jobs: Iterable[Planned], wrong: Iterable[str]) -> dict[str, str]:
    """Return the first outputs of all jobs that depend on wrong ones, each with one of the wrong ones."""
    maker = {path: job.outputs[0] for job in jobs for path in job.outputs}
    users: dict[str, list[str]] = {}
    for job in jobs:
        for first in {maker[path] for path in job.inputs if path in maker}:
            users.setdefault(first, []).append(job.outputs[0])
    found, waiting = {}, [(first, first) for first in wrong]
    while waiting:
        first, origin = waiting.pop()
        for user in users.get(first, []):
            if user not in found:
                found[user] = origin
                waiting.append((user, origin))
    return found


def _reasons(job: Planned, sources: Sources, hashes: Hashes) -> Iterator[str]:
    """Yield the reasons why outputs do not belong to the plan."""
    yield from _missing(job, sources.outputs)
    yield from (
        f"{path} is a link to nothing" for path in job.outputs if Path(path).is_symlink() and not Path(path).exists()
    )
    for path, digest in sources.outputs.items():
        if hashes.of(path) not in (digest, None):  # Snakemake makes a deleted one, if needed
            yield f"{path} differs from the file that the job wrote"
    if set(job.inputs) != set(sources.inputs):
        added, gone = set(job.inputs) - set(sources.inputs), set(sources.inputs) - set(job.inputs)
        yield f"made from other files (now {_few(added)}; then {_few(gone)})"
    for path in job.inputs:
        if path in sources.inputs and hashes.of(path) not in (sources.inputs[path], None):
            yield f"{path} has other content now"
    settings = json.loads(job.settings) if job.settings else None
    if settings != sources.settings:
        yield f"settings: {_difference(sources.settings, settings)}"
    if job.code != sources.code:
        yield OTHER_CODE


def _missing(job: Planned, known: Iterable[str]) -> Iterator[str]:
    """Yield the outputs that are not here, and that the record does not know: a newer version makes them."""
    for path in job.outputs:
        if path not in known and not Path(path).exists():
            yield f"{path}{MISSING}"


def _few(paths: Iterable[str]) -> str:
    names = sorted(paths)
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "") or "none"  # noqa: PLR2004


def _difference(then: Any, now: Any) -> str:
    if not isinstance(then, Mapping) or not isinstance(now, Mapping):
        return "none then" if then is None else "none now" if now is None else "of another kind"
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    return ", ".join(f"{name} is {_short(now.get(name))}, was {_short(then.get(name))}" for name in names)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."  # noqa: PLR2004
