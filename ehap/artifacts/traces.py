"""Files of channel traces, as the trace stage writes them."""

from pathlib import Path

from torch import Tensor

from ehap.artifacts.dense import check_cell
from ehap.errors import CheckpointError
from ehap.records import Identity, read_tensors

FORMER_ENDING = ".weight"  # files once named the parameter, not the layer


def read_scores(path: Path, identity: Identity, criterion: str) -> dict[str, Tensor]:
    """Return the scores of a criterion in a traces file: layer to (C_out,).

    Raises:
        CheckpointError: The file is damaged, is of another cell or curvature, or lacks the criterion.
    """
    tensors, metadata = read_tensors(path)
    check_cell(path, metadata, identity)
    if metadata.get("curvature") != identity.curvature:
        raise CheckpointError(f"{path}: expected the curvature {identity.curvature}, got {metadata.get('curvature')}.")
    prefix = f"{criterion}."
    found = {
        name.removeprefix(prefix).removesuffix(FORMER_ENDING): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    if not found:
        raise CheckpointError(
            f"{path}: there are no scores of criterion {criterion}; add it to the criteria of the curvature."
        )
    return found
