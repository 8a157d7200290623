"""The catalog of stages: each stage once, as plain data. Paths, estimates, DVC's outputs and groups follow from it.

Stages and their scripts do not read it: a new stage reruns the tables and the page, nothing else.
"""

from dataclasses import dataclass
from typing import Literal

from ehap.settings.deploy import Deploy
from ehap.settings.latency import Latency
from ehap.settings.prepare import Prepare
from ehap.settings.prune import Prune
from ehap.settings.qat import Qat
from ehap.settings.reconstruct import Reconstruct
from ehap.settings.trace import Trace
from ehap.settings.training import Finetune, Pretrain

Level = Literal["dataset", "cell", "dense", "curvature", "method", "scheme", "picture", "run"]
"""The subject of a job. dense is the network before pruning; picture shows a cell and has no record."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run.

    name: Name in records, and in a configuration where the stage has settings.
    levels: Subjects of its jobs. The order of the catalog is the order of the work.
    folder: Folder below ``results/<run>``, where it is not the name.
    beside: A file beside the record, which ``keep`` copies with it.
    shown: Whether the page shows that file.
    network: The file of weights beside the record.
    gpu: The share of a GPU. whole: Its time and memory are results.
    work: Quantity with which its time grows. network: One unit for each network.
    only: The field of ``Tables`` that lists the networks of this stage; empty: the stage has all of them.
    optional: Whether a run can lack the stage for another reason than its level or ``only``.
    of_methods: Whether a method of the configuration overrides its settings.
    kept: Whether its outputs outlive a failed job, as far as they took long to compute.
    groups: Rule to the group in which it rides in a job of a cluster.
    """

    name: str
    levels: tuple[Level, ...]
    folder: str = ""
    beside: str = ""
    shown: bool = False
    network: str = ""
    gpu: Literal["none", "share", "whole"] = "none"
    work: Literal["", "epochs", "samples", "network"] = ""
    only: str = ""
    optional: bool = False
    of_methods: bool = False
    kept: bool = False
    groups: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """The folder below ``results/<run>``."""
        return self.folder or self.name

    @property
    def maybe(self) -> bool:
        """Whether a run can lack the stage: a grid may have no schemes, and its methods no curvatures."""
        return self.optional or bool(self.only) or set(self.levels) <= {"curvature", "scheme"}


CATALOG = (
    Stage(name="prepare", levels=("dataset",)),
    Stage(
        name="pretrain",
        levels=("cell",),
        beside="history.csv",
        shown=True,
        network="model.safetensors",
        gpu="share",
        work="epochs",
        kept=True,
        groups=(("pretrain", "dense"),),
    ),
    Stage(name="trace", levels=("curvature",), gpu="whole", work="samples", kept=True),
    Stage(
        name="prune",
        levels=("method",),
        beside="plan.json",
        shown=True,
        network="model.safetensors",
        of_methods=True,
        groups=(("prune", "shrink"),),
    ),
    Stage(name="evaluate_unrecovered", levels=("method",), gpu="share", groups=(("evaluate_unrecovered", "shrink"),)),
    Stage(
        name="reconstruct",
        levels=("method",),
        beside="history.csv",
        network="model.safetensors",
        gpu="whole",
        work="network",
        only="reconstructed",
        of_methods=True,
        kept=True,
        groups=(("reconstruct", "recover"),),
    ),
    Stage(
        name="finetune",
        levels=("method",),
        beside="history.csv",
        shown=True,
        network="model.safetensors",
        gpu="share",
        work="epochs",
        of_methods=True,
        kept=True,
        groups=(("finetune", "recover"),),
    ),
    Stage(
        name="qat",
        folder="quantize",
        levels=("scheme",),
        beside="history.csv",
        shown=True,
        network="weights.safetensors",
        gpu="share",
        work="epochs",
        of_methods=True,
        kept=True,
        groups=(("qat", "quantize"),),
    ),
    Stage(
        name="evaluate",
        levels=("dense", "method", "scheme"),
        gpu="share",
        groups=(("evaluate_dense", "dense"), ("evaluate_pruned", "recover"), ("evaluate_quantized", "quantize")),
    ),
    Stage(name="deploy", levels=("scheme",), only="deployed", groups=(("deploy", "quantize"),)),
    Stage(name="latency", levels=("scheme",), only="timed", groups=(("latency", "quantize"),)),
    Stage(name="curves", levels=("picture",)),
    Stage(name="tables", levels=("run",)),
    Stage(name="further", levels=("run",), optional=True),
    Stage(name="report", levels=("run",)),
)
SETTINGS: dict[str, type] = {
    "prepare": Prepare,
    "pretrain": Pretrain,
    "trace": Trace,
    "prune": Prune,
    "reconstruct": Reconstruct,
    "finetune": Finetune,
    "qat": Qat,
    "deploy": Deploy,
    "latency": Latency,
}
"""The settings of a stage, by its name. They stand apart, so that readers of the catalog do not depend on them."""
