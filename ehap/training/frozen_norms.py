"""Training with frozen BatchNorm statistics."""

from torch import Tensor, nn


class FrozenNorms(nn.Module):
    """A network with BatchNorm statistics that stay fixed in train mode, too; scales and shifts are trained.

    Quantization-aware training treats BatchNorm so by default. A training in float does the same with this class, and
    then differs by the rounding alone.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        logits: Tensor = self.network(x)
        return logits

    def train(self, mode: bool = True) -> "FrozenNorms":
        """Set the mode of every module except BatchNorm."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self
