"""Draw which share of every layer the methods of one cell keep."""

import argparse
from pathlib import Path

from ehap.workflow.script import logged

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("plans", nargs="+", type=Path)
parser.add_argument("--dense", required=True, type=Path)
parser.add_argument("--picture", required=True, type=Path)
parser.add_argument("--title", default="")
parser.add_argument("--log", type=Path)
args = parser.parse_args()
with logged(args):
    from ehap.stages import curves

    curves.run_shapes(args.plans, args.dense, args.picture, args.title)
