"""Any network's file: of ``ehap.save``, or of a stage of the workflow, pulled or made here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ehap.artifacts.dense import load_weights_
from ehap.artifacts.pruned import blank_model
from ehap.artifacts.saved import ADVICE, FORMAT, network_of
from ehap.errors import CheckpointError
from ehap.records import Identity, read_record, read_tensors
from ehap.settings.renamed import current_settings

OF_WORKFLOW = {"model", "dataset", "seed", "kept"}
ZIP, FLOAT = b"PK", 32


def open_network(path: Path, model: nn.Module | None = None) -> nn.Module:
    """Return the network of a file in eval mode, on the CPU; see ``ehap.load``.

    Raises:
        CheckpointError: The file is missing, damaged or foreign, or the model is another one.
    """
    _check_kind(path)
    tensors, metadata = read_tensors(path, ADVICE)
    if metadata.get("format") == FORMAT:
        return network_of(str(path), tensors, metadata, model)
    if not set(metadata) >= OF_WORKFLOW:
        raise CheckpointError(f"{path}: expected a file of ehap.save or of a run's stage, got {sorted(metadata)[:5]}.")
    if model is not None:
        raise CheckpointError(f"{path}: a file of a run's stage names its network; load it without model.")
    return _of_workflow(path, tensors, metadata)


def _check_kind(path: Path) -> None:
    """Raise CheckpointError for a missing file, and for one of torch.save."""
    try:
        with path.open("rb") as file:
            start = file.read(len(ZIP))
    except OSError as error:
        raise CheckpointError(f"{path}: expected a file of ehap.save ({error.strerror or error}).") from None
    if start == ZIP:
        raise CheckpointError(
            f"{path}: is a file of torch.save, or another archive; load it with torch.load(…, weights_only=True), give "
            "its weights to your network by load_state_dict, and save that by ehap.save."
        )


def _of_workflow(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> nn.Module:
    identity = Identity(stage="", dataset=metadata["dataset"], model=metadata["model"], seed=metadata["seed"])
    network = blank_model(path, metadata, identity)
    if metadata.get("bits", FLOAT) == FLOAT:
        load_weights_(path, network, tensors, identity)
        return network.eval()
    from ehap.artifacts.saved_integers import from_integers
    from ehap.models import INPUT_SHAPE
    from ehap.quantization.layers import called_layers
    from ehap.settings.build import build
    from ehap.settings.qat import Qat

    record = path.with_name("record.json")
    if not record.is_file():
        raise CheckpointError(f"{path}: expected the record of its quantization beside it, but there is no {record}.")
    settings = build(Qat, current_settings("qat", read_record(record)["settings"]), str(record))
    bits = metadata.get("layer_bits") or dict.fromkeys(called_layers(network), settings.bits)
    shape = {"layer_bits": bits, "input_shape": INPUT_SHAPE}
    return from_integers(network, tensors, settings.scheme, shape)
