"""One training step: forward, backward and SGD, in the wanted precision, launched in the wanted way."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ehap.errors import DeviceError
from ehap.runtime.device import precision_context
from ehap.runtime.progress import logger
from ehap.settings import Training
from ehap.settings.machine import Step
from ehap.training.objective import Objective, true_labels

INITIAL_SCALE, LOWEST_SCALE = 2.0**16, 2.0**-8


class Stepper:
    """Take SGD steps on a model.

    Args:
        model: On ``device``.
        device: Of the images.
        settings: Learning rate, momentum, weight decay, precision, batch size.
        step: eager; compile (torch.compile); graphs (CUDA graphs, for networks whose kernels are shorter than their
            launch).
        objective: What a step minimises.

    Raises:
        DeviceError: ``step`` is graphs and ``device`` no GPU.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        settings: Training,
        step: Step = "eager",
        objective: Objective = true_labels,
    ) -> None:
        if step == "graphs" and device.type != "cuda":
            raise DeviceError(f"expected a GPU for machine.step graphs, got the device {device}; set it to eager.")
        if device.type == "cpu" and settings.precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            logger.warning("bf16 is emulated on this processor, some ten times slower than fp32; set precision: fp32")
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.nesterov and settings.momentum > 0,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(device.type, init_scale=INITIAL_SCALE, enabled=settings.precision == "fp16")
        self._model, self._device, self._settings, self._graphs = model, device, settings, step == "graphs"
        self._objective = objective
        # A captured model gets a new forward of one shape; its own one takes the last, smaller batch.
        self._plain = _compiled(model, device) if step == "compile" else model.forward if self._graphs else model
        self._graphed_shape: torch.Size | None = None

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Take one step; return the batch's summed loss and its number of right answers, shape (2,), on the device."""
        if self._graphs and self._graphed_shape is None and len(inputs) == self._settings.batch_size:
            self._capture(inputs)
        self.optimizer.zero_grad(set_to_none=True)
        with precision_context(self._settings.precision, self._device):
            logits = self._model(inputs) if inputs.shape == self._graphed_shape else self._plain(inputs)
        loss = self._objective(inputs, logits.float(), targets)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        right = (logits.argmax(1) == targets).sum()
        return torch.stack([loss.detach() * len(targets), right.to(loss.dtype)])

    def set_learning_rate(self, value: float) -> None:
        """Take the next steps with this learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = value

    def stuck(self) -> bool:
        """Return whether the loss scale has fallen so low that FP16 steps are being skipped for good."""
        return self.scaler.is_enabled() and self.scaler.get_scale() < LOWEST_SCALE

    def close(self) -> None:
        """Give the model its own forward pass back."""
        if self._graphed_shape is not None:
            del self._model.forward

    def _capture(self, inputs: Tensor) -> None:
        """Capture forward and backward; the warm-up passes leave no trace in the model's buffers."""
        before = copy.deepcopy(self._model.state_dict())
        # Captured on a stream of their own, whose place autograd remembers; it waits for it, and would warn of it.
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        with torch.autocast(
            "cuda",
            dtype=torch.float16 if self._settings.precision == "fp16" else torch.bfloat16,
            enabled=self._settings.precision != "fp32",
            cache_enabled=False,
        ):
            torch.cuda.make_graphed_callables(self._model, (inputs.clone(),))
        self._model.load_state_dict(before)
        self._graphed_shape = inputs.shape


def _compiled(model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Compile a network; on a CPU its convolutions stay in the layout that they have, see ``channels_last_``."""
    compiled: Callable[[Tensor], Tensor] = torch.compile(
        model, options={"layout_optimization": False} if device.type == "cpu" else None
    )
    return compiled
