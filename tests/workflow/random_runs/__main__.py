"""The long run: ``python -m tests.workflow.random_runs 200 --seed 0``."""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.workflow.random_runs.ground import Ground
from tests.workflow.random_runs.operations import Operation, sequence


def main() -> None:
    """Draw sequences, run each, and print what has become of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.workflow.random_runs", description=__doc__)
    parser.add_argument("sequences", type=int, nargs="?", default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first sequence")
    parser.add_argument("--step", type=int, default=1, help="between numbers, for several of these at once")
    parser.add_argument("--longest", type=int, default=4, help="operations drawn; runs come with an edit")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--only", help="a sequence as JSON, as a failure prints it")
    parser.add_argument("--no-shrinking", action="store_true")
    parser.add_argument("--ground", type=Path, help="a folder for references, kept")
    given = parser.parse_args()
    folder = given.ground or Path(tempfile.mkdtemp())
    began, kinds, seen = time.monotonic(), Counter(), Counter()
    runs = jobs = failed = 0
    ground = Ground(folder, given.cores)
    numbers = range(given.first, given.first + given.sequences * given.step, given.step)
    for number in numbers if not given.only else [0]:
        random = Random(f"{given.seed}/{number}")
        operations: list[Operation] = (
            [tuple(each) for each in json.loads(given.only)] if given.only else sequence(random.randint, given.longest)
        )
        verdict, driver = ground.outcome(operations)
        runs, jobs = runs + driver.runs, jobs + driver.jobs
        seen.update(str(operation[0]) for operation in operations)
        kinds[verdict.split(":")[0] or "right"] += 1
        print(f"{number}: {time.monotonic() - began:.0f} s, {verdict.split(chr(10))[0][:150] or 'right'}", flush=True)
        if verdict:
            failed += 1
            if not given.no_shrinking:
                operations, verdict = ground.shrunk(operations, verdict)
            print(f"  {json.dumps(operations)}\n{verdict}\n", flush=True)
    print(", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    print(", ".join(f"{count} {kind}" for kind, count in seen.most_common()))
    print(f"{runs} runs, {jobs} jobs, {ground.references.made} runs from nothing, {time.monotonic() - began:.0f} s")
    if not given.ground:
        shutil.rmtree(folder)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
