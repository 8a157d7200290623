"""Stages by their part in tables and on the page, in the order in which both show them.

A test compares this with the catalog of stages. It does not import that: a new stage would redraw all curves.
"""

TRAININGS = {
    "pretrain": "Training of the dense network",
    "finetune": "Fine-tuning",
    "qat": "Quantization-aware training",
}
"""Those with learning curves, to the titles of these."""
FOLDERS = {"qat": "quantize"}
"""Those whose folder has another name."""
TESTED = ("evaluate", "reconstruct")
"""Those that test a network on all test images."""
TIMED = ("deploy", "latency")
"""Those whose values differ between instruction sets of processors of one name."""
