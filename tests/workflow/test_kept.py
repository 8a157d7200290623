"""Finished outputs that outlive their job."""

import logging
import os
from pathlib import Path

import pytest

from ehap.workflow.kept import forget, keep, take

KEY = [{"epochs": 2}, "c0de", {"in": "hash"}]


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    paths = [Path("made/model"), Path("made/record.json")]
    Path("made").mkdir()
    for path in paths:
        path.write_text(f"of {path.name}")
    keep(Path("states"), paths, KEY)
    return paths


def test_what_was_deleted_comes_back_for_a_job_of_the_same_key_only(outputs: list[Path]) -> None:
    for path in outputs:
        path.unlink()
    assert not take(Path("states"), outputs, [{"epochs": 3}, *KEY[1:]])
    assert not take(Path("states"), [*outputs, Path("made/more")], KEY)
    assert not outputs[0].exists()
    assert take(Path("states"), outputs, KEY)
    assert take(Path("states"), outputs, KEY)  # again, where all is there
    assert [path.read_text() for path in outputs] == ["of model", "of record.json"]
    assert sorted(path.name for path in Path("made").iterdir()) == ["model", "record.json"]


def test_a_later_output_replaces_the_file_and_not_what_is_kept(outputs: list[Path]) -> None:
    temporary = Path("made/new")
    temporary.write_text("newer")
    temporary.replace(outputs[0])
    assert take(Path("states"), outputs, KEY)
    assert outputs[0].read_text() == "of model"


def test_what_is_damaged_is_not_used(outputs: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    with outputs[0].open("r+") as file:  # written through the link
        file.write("XX")
    with caplog.at_level(logging.WARNING):
        assert not take(Path("states"), outputs, KEY)
    assert "are damaged; they are not used" in caplog.text


def test_what_snakemake_has_taken_over_is_forgotten(outputs: list[Path]) -> None:
    forget(Path("states"), [str(outputs[0])])
    assert not take(Path("states"), outputs, KEY)


def test_where_no_link_can_be_a_copy_is_kept(outputs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise OSError(95, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    keep(Path("states"), outputs, KEY)
    outputs[0].unlink()
    assert take(Path("states"), outputs, KEY)
    assert outputs[0].read_text() == "of model"
