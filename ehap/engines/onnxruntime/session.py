"""A network as a session of ONNX Runtime on the CPU."""

import onnxruntime
import torch
from torch import Tensor, nn

from ehap.engines.exact_sums import set_option_
from ehap.errors import CheckpointError, DataError

INPUT, OUTPUT = "images", "logits"
"""Names of the input and of the output in an ONNX file."""
REST_AFTER_CALLS = "session.force_spinning_stop"
"""Option of a session: its threads rest after a call. Else they spin and slow down whatever runs next."""


class OnnxNetwork(nn.Module):
    """A network that ONNX Runtime executes on the CPU; it maps images to logits.

    Args:
        content: Bytes of an ONNX file.
        threads: Number of threads of one call.
        option: Whether ``exact_sums.OPTION`` is set; None: where this processor needs it.

    Raises:
        CheckpointError: The content is no ONNX file.
        DeviceError: ONNX Runtime adds 8-bit products wrong here, with the option and without.
    """

    def __init__(self, content: bytes, threads: int = 1, option: bool | None = None) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = opened(content, options, option)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (N, C, H, W) to logits (N, classes)."""
        try:
            found = self._session.run([OUTPUT], {INPUT: images.detach().cpu().numpy()})[0]
        except Exception as error:  # onnxruntime raises classes that it does not export
            raise DataError(
                f"the ONNX file cannot take images {tuple(images.shape[1:])} of {images.dtype} "
                f"({(str(error).strip().splitlines() or [''])[0][:160]}); give float32 images of its shape."
            ) from None
        return torch.from_numpy(found).to(images.device)


def opened(
    content: bytes, options: onnxruntime.SessionOptions, option: bool | None = None
) -> onnxruntime.InferenceSession:
    """Return a session whose 8-bit sums are exact and whose threads rest after a call.

    Args:
        content: Bytes of an ONNX file.
        options: Options of the session; two are set here.
        option: Whether ``exact_sums.OPTION`` is set; None: where this processor needs it.

    Raises:
        CheckpointError: The content is no ONNX file.
    """
    set_option_(options, option)
    options.add_session_config_entry(REST_AFTER_CALLS, "1")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes that it does not export
        raise CheckpointError(f"expected an ONNX file that ONNX Runtime can execute ({error}).") from None
