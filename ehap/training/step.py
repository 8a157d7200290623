"""One training step: forward, backward and SGD, in a given precision, eager, compiled or as CUDA graphs."""

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
        device: Device of the images.
        settings: Learning rate, momentum, weight decay, precision, batch size.
        step: eager, compile (torch.compile) or graphs (CUDA graphs: faster where kernels are shorter than their
            launch).
        objective: The loss.

    Raises:
        DeviceError: ``step`` is graphs, and ``device`` is no GPU.
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
            raise DeviceError(f"machine.step graphs needs a GPU, got the device {device}; set it to eager.")
        if device.type == "cpu" and settings.precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            logger.warning("this processor emulates bf16, about ten times slower than fp32; set precision: fp32")
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
        # A captured model has a new forward for one shape; its own forward takes the last, smaller batch.
        self._plain = _compiled(model, device) if step == "compile" else model.forward if self._graphs else model
        self._graphed_shape: torch.Size | None = None

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Take one step; return the batch's summed loss and number of right answers, shape (2,), on the device."""
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
        """Set the learning rate of the next steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = value

    def stuck(self) -> bool:
        """Return whether the loss scale is so low that all further FP16 steps are skipped."""
        return self.scaler.is_enabled() and self.scaler.get_scale() < LOWEST_SCALE

    def close(self) -> None:
        """Restore the model's own forward pass."""
        if self._graphed_shape is not None:
            del self._model.forward

    def _capture(self, inputs: Tensor) -> None:
        """Capture forward and backward; the model's buffers are as before the warm-up passes."""
        before = copy.deepcopy(self._model.state_dict())
        # The graphs are captured on their own stream. Autograd waits for that stream, and would warn each time.
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
    """Compile a network; on a CPU its convolutions keep their layout, see ``channels_last_``."""
    compiled: Callable[[Tensor], Tensor] = torch.compile(
        model, options={"layout_optimization": False} if device.type == "cpu" else None
    )
    return compiled
