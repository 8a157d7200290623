import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from ehap.errors import CheckpointError, DeviceError, NumericsError
from ehap.records import Identity, Value, read_tensors, write_record, write_tensors
from ehap.runtime.device import INTEGER_SETS, choose_device
from ehap.runtime.files import write_atomically
from ehap.settings import Prepare

CPU = torch.device("cpu")


def test_a_record_says_value_unit_settings_seed_code_device_and_versions(tmp_path: Path) -> None:
    identity = Identity(stage="prepare", dataset="digits", seed=3, code="abc")
    write_record(
        tmp_path / "deep" / "record.json", identity, {"size": Value(5, "images")}, Prepare(train_images=5), CPU
    )
    record = json.loads((tmp_path / "deep" / "record.json").read_text())
    assert record["values"] == {"size": {"value": 5, "unit": "images"}}
    assert record["settings"] == {"train_images": 5, "test_images": None}
    assert (record["seed"], record["code"], record["dataset"]) == (3, "abc", "digits")
    assert record["device"].endswith("(CPU)")
    assert set(record["instructions"].split(", ")) <= {*INTEGER_SETS, ""}
    assert ("avx2" in record["instructions"]) == torch.cpu._is_avx2_supported()
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert record["duration_s"] >= 0


def test_a_job_that_has_loaded_an_engine_says_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> dict[str, str]:
        write_record(tmp_path / "record.json", Identity(stage="deploy", dataset="digits"), {}, None, CPU)
        versions: dict[str, str] = json.loads((tmp_path / "record.json").read_text())["versions"]
        return versions

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    assert "onnxruntime" not in said()
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    assert said()["onnxruntime"] == version("onnxruntime")


def test_a_value_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    identity = Identity(stage="prepare", dataset="digits")
    with pytest.raises(NumericsError, match=r"accuracy is nan; expected a finite number of percent"):
        write_record(tmp_path / "record.json", identity, {"accuracy": Value(float("nan"), "percent")}, None, CPU)
    assert not (tmp_path / "record.json").exists()


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(4, dtype=torch.int8), "b": torch.randn(2, 3).t()}
    write_tensors(tmp_path / "x.safetensors", tensors, {"kept": {"conv": [0, 2]}, "model": None})
    found, metadata = read_tensors(tmp_path / "x.safetensors")
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert metadata == {"kept": {"conv": [0, 2]}, "model": None}


def test_a_missing_or_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(CheckpointError, match=r"expected a weights file at .*x.safetensors, but there is none"):
        read_tensors(path)
    write_tensors(path, {"a": torch.ones(1000)}, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        CheckpointError, match=r"is not a whole safetensors file .* delete it and run the workflow again"
    ):
        read_tensors(path)


def test_a_file_whose_bytes_have_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(
        path, {"a": torch.ones(4, dtype=torch.int8), "count": torch.tensor(3), "none": torch.ones(0)}, {"kept": [1, 3]}
    )
    assert read_tensors(path)[1] == {"kept": [1, 3]}
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"x.safetensors: wrong checksum"):
        read_tensors(path)
    path.write_bytes(whole.replace(b"[1, 3]", b"[1, 2]"))
    with pytest.raises(CheckpointError, match=r"x.safetensors: wrong checksum"):
        read_tensors(path)
    save_file({"a": torch.ones(4, dtype=torch.int8)}, path, {"ehap": '{"kept": [1, 3]}'})
    with pytest.raises(CheckpointError, match="expected a file that this workflow has written, with a checksum"):
        read_tensors(path)
    path.write_bytes(whole.replace(b"[1, 3]", b"[1, 3,"))
    with pytest.raises(CheckpointError, match=r"x.safetensors is not a whole safetensors file"):
        read_tensors(path)


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_a_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"expected a GPU \(device: cuda\), but torch sees none"):
        choose_device("cuda")
    assert choose_device("auto") == CPU


def test_peak_memory_counts_what_a_block_holds() -> None:
    # In a process of its own: memory that was freed before and is used again is not counted.
    code = (
        "import torch; from ehap.runtime.memory import PeakMemory\n"
        "with PeakMemory(torch.device('cpu')) as memory:\n"
        "    block = torch.ones(50_000_000); del block\n"
        "print(memory.bytes)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 190e6 < int(found.stdout) < 260e6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's")
def test_memory_that_is_kept_comes_without_page_faults() -> None:
    # In a process of its own: nothing takes the setting back.
    code = (
        "import resource, torch; from ehap.runtime.memory import keep_freed_memory\n"
        "keep_freed_memory()\n"
        "for _ in range(6):\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    blocks = [torch.ones(5_000_000) for _ in range(3)]; del blocks\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, *_, last = map(int, found.stdout.split())  # some rounds, until every block has found its place
    assert last < 100 < first  # of 14,649 pages
