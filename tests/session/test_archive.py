"""Archives of limited size, replaced as a whole, and the wheels that a session installs."""

import re
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from ehap.session import archive
from ehap.session.__main__ import _search_path
from ehap.session.archive import MOST_BYTES, pack
from ehap.session.costs import Case, run
from tests.session.conftest import ROOT, contents


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Return out, root and scratch."""
    found = tmp_path / "out", tmp_path / "root", tmp_path / "scratch"
    for folder in found:
        folder.mkdir()
    return found


def _noise(path: Path, count: int) -> Path:
    path.write_bytes(torch.randint(256, (count,), generator=torch.Generator().manual_seed(0)).byte().numpy().tobytes())
    return path


def test_files_are_shared_out_and_what_has_no_room_is_named(folders: tuple[Path, Path, Path]) -> None:
    out, root, scratch = folders
    size = MOST_BYTES // 2 - 100_000
    files = [_noise(root / f"{number}.bin", size) for number in range(5)]
    packed = pack(out, "some", root, files, scratch, most=2)
    assert [path.name for path in packed.archives] == ["some-1.tar.gz", "some-2.tar.gz"]
    assert [sorted(contents(path)) for path in packed.archives] == [["0.bin", "1.bin"], ["2.bin", "3.bin"]]
    assert packed.left_out == ("4.bin",)
    assert max(path.stat().st_size for path in packed.archives) <= MOST_BYTES
    assert list(scratch.iterdir()) == []


def test_what_cannot_be_pressed_stays_within_the_limit(folders: tuple[Path, Path, Path]) -> None:
    out, root, scratch = folders
    most = MOST_BYTES - archive.END_OF_TAR - archive.SPARE - 4 * 512
    packed = pack(out, "some", root, [_noise(root / "b", most + 1), _noise(root / "a", most)], scratch)
    assert packed.left_out == ("b",)
    assert MOST_BYTES - 100_000 < packed.archives[0].stat().st_size <= MOST_BYTES


def test_an_older_archive_goes_when_fewer_are_needed(folders: tuple[Path, Path, Path]) -> None:
    out, root, scratch = folders
    files = [_noise(root / f"{number}.bin", MOST_BYTES // 2) for number in range(2)]
    assert len(pack(out, "some", root, files, scratch, most=2).archives) == 2
    files[0].unlink()
    assert pack(out, "some", root, files, scratch, most=2).left_out == ()
    assert [path.name for path in out.iterdir()] == ["some-1.tar.gz"]
    assert list(contents(out / "some-1.tar.gz")) == ["1.bin"]


def test_carried_wheels_are_found_by_the_session_alone(
    folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, wheels, scratch = folders
    about = "carried-1.0.dist-info"
    with zipfile.ZipFile(wheels / "carried-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried.py", "ANSWER = 42\n")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "carried.py,,\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "further")
    found = _search_path(wheels, scratch)
    assert found == [str(ROOT), str(scratch / "site"), "further"]
    assert (scratch / "site/carried.py").read_text() == "ANSWER = 42\n"
    assert str(scratch / "site") in sys.path


def test_the_wheels_are_the_versions_that_the_tests_run_with() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[\w-]+==[\w.]+", (ROOT / "envs" / name).read_text(), re.MULTILINE))

    assert {pin.split("==")[0] for pin in pins("gpu_session.txt")} > {"safetensors", "pyyaml", "pytest"}
    assert pins("gpu_session.txt") <= pins("dev.txt")


def test_a_measurement_that_fails_leaves_its_traceback_beside_the_others(
    tiny: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    with torch.no_grad():
        tiny.fc.weight.fill_(float("nan"))
    failed = run(Case("tiny", tiny, *batch, products=2, pictures="random"), ["fp32"], tmp_path, code="")
    assert failed == [
        "measure fp32 ours: fc.weight holds NaN or Inf; expected a network whose training did not diverge.",
        "profile fp32 ours: fc.weight: the network holds NaN or Inf; check its weights and the images.",
    ]
    said = (tmp_path / "tiny/fp32/ours_measure_failed.txt").read_text()
    assert said.startswith("Traceback")
    assert "NumericsError" in said
    assert (tmp_path / "tiny/fp32/published.json").is_file()
