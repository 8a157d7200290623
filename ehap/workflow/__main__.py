"""``python -m ehap.workflow``: results that leave a clone or come to it, and Snakemake's notes on them."""

import argparse
import subprocess
import sys
from pathlib import Path

from ehap.errors import EhapError
from ehap.runtime.extras import packages_named

try:
    with packages_named():
        from ehap.workflow.check import checked, configuration_of, configurations, refuse_wrong, said_of
        from ehap.workflow.provenance import NAME, pack, restore
        from ehap.workflow.sharing import pull, push
except EhapError as error:
    sys.exit(f"error: {error}")

parser = argparse.ArgumentParser(prog="python -m ehap.workflow", description=__doc__)
commands = parser.add_subparsers(dest="command", required=True)
for name, text in (
    ("pack", "write Snakemake's notes beside the outputs, before dvc commit and push"),
    ("restore", "put the notes back, after dvc pull or checkout"),
):
    command = commands.add_parser(name, help=text)
    command.add_argument("results", nargs="*", type=Path, metavar="results/RUN", help="all that there are if left out")
commands.add_parser("repro", help="run it under DVC, though DVC itself sees no change").add_argument(
    "run", metavar="RUN"
)
for name, text, force in (
    ("pull", "fetch the missing and damaged files of a run", "move aside newer files here"),
    ("push", "bring a run to a DVC remote, and check that it is there", "forget files that are not here"),
):
    command = commands.add_parser(name, help=text)
    command.add_argument("run", metavar="RUN", help="name of the run, e.g. demo")
    command.add_argument("--remote", help="another than the default one")
    command.add_argument("--force", action="store_true", help=force)


def main(args: argparse.Namespace) -> int:
    """Carry out the command; return the exit code: 1 where a file is missing or not the one that was packed."""
    if args.command == "repro":
        return reproduced(args.run)
    if args.command == "push":
        refuse_wrong(configuration_of(args.run))
        return push(args.run, args.remote, args.force)
    if args.command == "pull":
        code = pull(args.run, args.remote, args.force)
        print(said_of(configuration_of(args.run), Path("results") / args.run), end="")
        return code
    if args.command == "pack":
        for results in args.results or _runs("tables/summary.json"):
            refuse_wrong(configuration_of(results.name))
            print(f"{results}: packed the notes on {pack(results)} outputs")
        return 0
    return max([restore(results).show(results) for results in args.results or _runs(NAME)], default=0)


def reproduced(run: str) -> int:
    """Have DVC reproduce a run, also where only files have changed that are no dependencies of its stage."""
    found = checked(configuration_of(run))
    if found.text():
        print(found.text())
    forced = ["--force"] if found.wrong or found.behind else []
    return subprocess.run([sys.executable, "-m", "dvc", "repro", *forced, f"run@{run}"], check=False).returncode


def _runs(mark: str) -> list[Path]:
    """Return the folders of the runs that have a file, and that DVC knows."""
    found = [path.parents[len(Path(mark).parts) - 1] for path in Path().glob(f"results/*/{mark}")]
    return [path for path in found if path.name in configurations()]


if __name__ == "__main__":
    try:
        with packages_named():
            sys.exit(main(parser.parse_args()))
    except EhapError as error:
        sys.exit(f"error: {error}")
