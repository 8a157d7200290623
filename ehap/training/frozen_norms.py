"""Training with the BatchNorm statistics that a network has."""

from torch import Tensor, nn


class FrozenNorms(nn.Module):
    """A network whose BatchNorm statistics stand still in train mode, too; their scales and shifts are trained.

    What quantization-aware training does with BatchNorm, unless told otherwise, so that a training beside it differs by
    the rounding alone.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        logits: Tensor = self.network(x)
        return logits

    def train(self, mode: bool = True) -> "FrozenNorms":
        """Set the mode of everything but BatchNorm."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self
