"""Measure accuracy and size of one network."""

from ehap.stages import evaluate
from ehap.workflow.script import arguments, logged

args = arguments("data", "weights", "training", "record")
with logged(args):
    evaluate.run(args.data, args.weights, args.training, args.record, job=args.job, machine=args.machine)
