"""Every knob of `ehap`: one frozen dataclass a stage, checked when it is built. Standard library only."""

from ehap.settings.build import build
from ehap.settings.deploy import Deploy
from ehap.settings.latency import Latency
from ehap.settings.machine import Machine
from ehap.settings.prepare import Prepare
from ehap.settings.prune import Prune
from ehap.settings.qat import Qat
from ehap.settings.reconstruct import Reconstruct
from ehap.settings.run import Run
from ehap.settings.scheme import Scheme
from ehap.settings.tables import Tables
from ehap.settings.trace import Trace
from ehap.settings.training import Finetune, Pretrain, Training

__all__ = [
    "Deploy",
    "Finetune",
    "Latency",
    "Machine",
    "Prepare",
    "Pretrain",
    "Prune",
    "Qat",
    "Reconstruct",
    "Run",
    "Scheme",
    "Tables",
    "Trace",
    "Training",
    "build",
]
