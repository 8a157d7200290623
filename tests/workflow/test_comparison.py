"""Records compared with files and plan, without Snakemake."""

import json
import os
import shutil
from pathlib import Path

import pytest

from ehap.errors import ReadError
from ehap.runtime.files import Hashes, sha256_of
from ehap.workflow.comparison import Comparison, Planned, compare
from ehap.workflow.sources import Sources, write_sources

JOB = Planned(inputs=("in",), outputs=("made/model", "made/record.json"), settings='{"epochs":2}', code="c0de")


@pytest.fixture(autouse=True)
def _made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is done: its input, its output, and its record."""
    monkeypatch.chdir(tmp_path)
    Path("in").write_text("images")
    Path("made").mkdir()
    Path("made/model").write_text("weights")
    Path("made/record.json").write_text('{"values": {}}')
    sources = Sources(
        inputs={"in": sha256_of("in")},
        settings={"epochs": 2},
        code="c0de",
        libraries={},
        outputs={"made/model": sha256_of("made/model")},
    )
    write_sources(Path("made/record.json"), sources)


def _compared(job: Planned = JOB) -> Comparison:
    return compare([job], Hashes(Path("hashes.json")))


def _reason(job: Planned = JOB) -> str:
    found = _compared(job)
    assert not found.good
    ((reason,),) = found.wrong.values()
    return reason


def test_a_job_that_is_what_its_record_says_agrees() -> None:
    assert _compared() == Comparison(good=["made/model"])
    for path in ("in", "made/model", "made/record.json"):
        os.utime(path)
    assert _compared() == Comparison(good=["made/model"])


def test_nothing_is_said_of_what_is_not_there() -> None:
    shutil.rmtree("made")
    assert _compared() == Comparison()


def test_an_input_of_other_content_is_found_whatever_its_time() -> None:
    before = Path("in").stat()
    Path("in").write_text("others")
    os.utime("in", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert _reason() == "in has other content now"
    os.utime("in", (0, 0))
    assert _reason() == "in has other content now"


def test_an_output_of_other_content_is_found_behind_a_link_too() -> None:
    Path("other").write_text("damage!")
    Path("made/model").unlink()
    Path("made/model").symlink_to(Path("other").absolute())
    assert _reason() == "made/model differs from the file that the job wrote"


def test_a_link_to_nothing_is_found_though_snakemake_counts_it_as_there() -> None:
    Path("made/model").unlink()
    Path("made/model").symlink_to("nowhere")
    assert _reason() == "made/model is a link to nothing"
    Path("made/record.json").unlink()
    Path("made/record.json").symlink_to("nowhere")
    assert _reason() == "made/record.json is missing"


def test_settings_and_code_are_compared_with_the_plan() -> None:
    assert _reason(Planned(**{**vars(JOB), "settings": '{"epochs":3}'})) == "settings: epochs is 3, was 2"
    assert _reason(Planned(**{**vars(JOB), "settings": ""})) == "settings: none now"
    assert _reason(Planned(**{**vars(JOB), "code": "edited"})) == "other code, or other pinned libraries"


def test_other_inputs_are_named() -> None:
    Path("more").write_text("")
    reason = _reason(Planned(**{**vars(JOB), "inputs": ("in", "more")}))
    assert reason == "made from other files (now more; then none)"


def test_an_output_that_a_newer_version_adds_is_missing_and_a_deleted_one_is_not() -> None:
    job = Planned(**{**vars(JOB), "outputs": (*JOB.outputs, "made/history.csv")})
    assert _reason(job) == "made/history.csv is missing"
    assert "Incomplete, and made again:" in _compared(job).text()
    Path("made/model").unlink()
    assert _compared().good == ["made/model"]  # Snakemake makes it where it is wanted


def test_a_record_that_is_missing_or_damaged_vouches_for_nothing() -> None:
    Path("made/record.json").write_text("{")
    assert _reason() == "made/record.json is damaged"
    Path("made/record.json").write_text('{"sources": 3}')
    assert _reason() == "made/record.json is damaged"
    Path("made/record.json").unlink()
    assert _reason() == "made/record.json is missing"


@pytest.mark.parametrize("path", ["made/record.json", "made/model", "in"])
def test_what_cannot_be_read_is_no_damage(path: str) -> None:
    Path(path).unlink()
    Path(path).symlink_to(Path(path).absolute())  # to itself
    with pytest.raises(ReadError, match=f"{path}: it cannot be read .Too many levels of symbolic links"):
        _compared()


def test_a_record_of_an_earlier_version_is_taken_as_it_is_and_said_to_be() -> None:
    Path("made/record.json").write_text('{"values": {}}')
    found = _compared()
    assert found == Comparison(old=["made/model"])
    assert found.text().startswith("1 result was made before records held what they were made from")


def test_many_lines_are_cut_short() -> None:
    found = Comparison(wrong={f"made/{number}": ["other code"] for number in range(20)})
    assert found.text().splitlines()[-1] == "  and 8 more"


def test_a_hash_is_taken_from_the_cache_while_size_times_and_inode_stay() -> None:
    os.utime("in", (1, 1))
    path = Path("hashes.json")
    hashes = Hashes(path)
    first = hashes.of("in")
    hashes.save()
    assert "in" not in (json.loads(path.read_text()) if path.exists() else {})  # written a moment ago: not yet sure
    known = {"in": [*_signature("in"), "as cached"]}
    path.write_text(json.dumps(known))
    assert Hashes(path).of("in") == "as cached"
    os.utime("in", (2, 2))
    assert Hashes(path).of("in") == first
    path.write_text("{")  # damaged: computed again
    assert Hashes(path).of("in") == first
    assert Hashes(path).of("nowhere") is None


def _signature(path: str) -> list[int]:
    found = Path(path).stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
