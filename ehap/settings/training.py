"""Settings of training, and of the stages pretrain and finetune."""

from dataclasses import dataclass
from typing import ClassVar

from ehap.errors import SettingsError
from ehap.settings.checks import Precision, at_least, positive, share


@dataclass(frozen=True, kw_only=True)
class Training:
    """SGD with a cosine schedule to zero, stepped once an epoch.

    epochs: Passes over the training images.
    learning_rate: Learning rate at the first epoch.
    warmup_epochs: Number of first epochs with a linearly growing share of the schedule's learning rate.
    momentum, weight_decay, nesterov: As in torch.optim.SGD; weight decay applies to all parameters.
    batch_size: Images a step; the last, smaller batch of an epoch is kept.
    precision: fp32, or autocast to fp16 (with loss scaling) or bf16. Tests of accuracy run in fp32 always.
    """

    epochs: int
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 1e-3
    batch_size: int = 128
    nesterov: bool = True
    precision: Precision = "fp32"
    warmup_epochs: int = 0

    FEWEST_EPOCHS: ClassVar[int] = 1

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, self.FEWEST_EPOCHS)
        at_least("warmup_epochs", self.warmup_epochs, 0)
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise SettingsError(f"warmup_epochs must be below epochs {self.epochs}, got {self.warmup_epochs}.")
        positive("learning_rate", self.learning_rate)
        share("momentum", self.momentum, zero=True, one=False)
        at_least("weight_decay", self.weight_decay, 0)
        at_least("batch_size", self.batch_size, 1)


@dataclass(frozen=True, kw_only=True)
class Pretrain(Training):
    """How the dense network is trained (the paper's Table VII).

    epochs: Passes over the training images; 0, with ``weights``, takes the network without training.
    weights: A file of weights to start from, of safetensors or of torch.save; {dataset}, {model} and {seed} in its name
        stand for those of a cell. Empty: new weights.
    """

    weights: str = ""

    FEWEST_EPOCHS: ClassVar[int] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weights:
            at_least("epochs", self.epochs, 1)
        try:
            self.file("", "", 0)
        except (KeyError, IndexError, ValueError, AttributeError):
            raise SettingsError(
                f"weights: expected the name of a file, in braces only {{dataset}}, {{model}} or {{seed}}, got "
                f"{self.weights!r}."
            ) from None

    def file(self, dataset: str, model: str, seed: int) -> str:
        """Return the file of weights that a cell starts from; empty where it has new ones."""
        return self.weights.format(dataset=dataset, model=model, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Finetune(Training):
    """How the pruned network is trained on (the paper's Table VIII).

    epochs: Passes over the training images; 0 leaves the network unchanged, for methods without training.
    recalibrate: Training images that BatchNorm takes its statistics from before the first epoch; 0 keeps the old ones.
        It matters only with no epochs or few batches: training uses the statistics of each batch, and the running
        statistics forget their start.
    distill: Weight of the dense network's outputs on the same images in the loss; 0 trains on labels alone.
    temperature: Temperature of the softmax in distillation.
    """

    recalibrate: int = 0
    distill: float = 0.0
    temperature: float = 4.0

    FEWEST_EPOCHS: ClassVar[int] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("recalibrate", self.recalibrate, 0)
        share("distill", self.distill, zero=True, one=True)
        positive("temperature", self.temperature)
