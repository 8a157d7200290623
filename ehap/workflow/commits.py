"""Which commit of git made a run: noted when the run is packed, and named when other code pulls it."""

import subprocess
from collections.abc import Iterable

CODE = ("Snakefile", "rules", "workflow_scripts", "ehap", "envs/lock.txt")
"""Code on which results depend."""
EDITED = "-edited"
UNKNOWN = "unknown"


def commit_here() -> str:
    """Return the commit of the code in this folder, ``-edited`` added if the code was edited since; or ``unknown``."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return UNKNOWN
    return head + (EDITED if _git("status", "--porcelain", "--", *CODE) else "")


def advice(made_by: Iterable[str], jobs: int) -> str:
    """Return advice on pulled results of other code: their commit, the number of jobs to rerun, and the way out.

    Args:
        made_by: Commits as ``commit_here`` gave them.
        jobs: Number of jobs that Snakemake would run.
    """
    commits = sorted(set(made_by)) or [UNKNOWN]
    known = [commit.removesuffix(EDITED) for commit in commits if commit != UNKNOWN]
    names = " and ".join(map(_described, commits))
    what = "1 job" if jobs == 1 else f"{jobs} jobs"
    way = (
        f"git checkout {known[0]} has the code that made it"
        if len(commits) == 1 and known == commits
        else "check out the commit that the run was pushed with"
    )
    return f"Other code made this run: commit {names}. Snakemake would rerun {what} with the code here; or {way}."


def _described(commit: str) -> str:
    """Return a commit with its day, where this clone has it."""
    day = _git("show", "--no-patch", "--format=%cs", commit.removesuffix(EDITED)) if commit != UNKNOWN else ""
    edits = ", with uncommitted edits" if commit.endswith(EDITED) else ""
    return f"{commit.removesuffix(EDITED)}{f' of {day}' if day else ''}{edits}"


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except OSError:  # there is no git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
