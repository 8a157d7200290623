"""Draw the learning curves of one cell from the histories of its trainings."""

import argparse
from pathlib import Path

from ehap.workflow.script import logged

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("histories", nargs="+", type=Path, metavar="HISTORY")
parser.add_argument("--picture", required=True, type=Path, metavar="PATH")
parser.add_argument("--title", required=True, metavar="TEXT")
parser.add_argument("--log", type=Path, metavar="PATH")
args = parser.parse_args()
with logged(args):
    from ehap.stages import curves  # only now: torchao starts CUDA, which settles what GPU it sees

    curves.run(args.histories, args.picture, args.title)
