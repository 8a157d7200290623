"""``python -m ehap.workflow``: carry Snakemake's notes on a run's outputs through DVC; see ``provenance``."""

import argparse
import sys
from pathlib import Path

from ehap.errors import EhapError
from ehap.workflow.check import configuration_of, refuse_wrong
from ehap.workflow.provenance import NAME, pack, restore

parser = argparse.ArgumentParser(prog="python -m ehap.workflow", description=__doc__)
commands = parser.add_subparsers(dest="command", required=True)
packing = commands.add_parser("pack", help="write the notes beside the outputs, before dvc commit and push")
restoring = commands.add_parser("restore", help="put the notes back, after dvc pull or checkout")
for command in (packing, restoring):
    command.add_argument("results", nargs="*", type=Path, metavar="results/RUN", help="all that there are if left out")


def main(args: argparse.Namespace) -> int:
    """Do what the command line says; return the exit code: 1 where an output is not what was packed."""
    code = 0
    mark = "tables/summary.json" if args.command == "pack" else NAME
    for results in args.results or [
        path.parents[len(Path(mark).parts) - 1] for path in Path().glob(f"results/*/{mark}")
    ]:
        if args.command == "pack":
            refuse_wrong(configuration_of(results.name))
            print(f"{results}: packed the notes on {pack(results)} outputs")
            continue
        done = restore(results)
        print(f"{results}: restored the notes on {done.notes} outputs ({len(done.absent)} of them not here)")
        for path in done.changed:
            print(
                f"{path} is not what was packed: make pull FORCE=1 brings that back (dvc pull --force, then restore), "
                "snakemake makes it anew",
                file=sys.stderr,
            )
            code = 1
        for path in done.touched:
            print(f"{path} is newer than what was made from it", file=sys.stderr)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(parser.parse_args()))
    except EhapError as error:
        sys.exit(f"error: {error}")
