"""Stages by their part in tables and on the page, in the order in which both show them.

A test compares this with the catalog of stages. It does not import that: a new stage would redraw all curves.
"""

TRAININGS = {
    "pretrain": "Training of the dense network",
    "finetune": "Fine-tuning",
    "qat": "Quantization-aware training",
}
"""Stages with learning curves, to the titles of the curves."""
FOLDERS = {"qat": "quantize"}
"""Stages whose folder has another name."""
TESTED = ("evaluate", "reconstruct")
"""Stages that test a network on all test images."""
TIMED = ("deploy", "latency")
"""Stages whose values differ between instruction sets of processors of one name."""
