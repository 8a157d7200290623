"""The command line of workflow scripts: files by name, and one line for each mistake."""

import sys
from pathlib import Path

import pytest

from ehap.errors import SettingsError
from ehap.settings import Finetune
from ehap.workflow.command_line import CommandLine, Names, read_command_line

INPUTS, OUTPUTS = Names.of("data teacher? parts*"), Names.of("checkpoint record")
FILES = ["--input", "data=a = b", "--output", "checkpoint=c", "--output", "record=d"]
SETTINGS = ["--settings", '{"epochs": 1, "learning_rate": 0.1}']


def _read(monkeypatch: pytest.MonkeyPatch, *words: str) -> CommandLine:
    monkeypatch.setattr(sys, "argv", ["finetune.py", *words])
    return read_command_line(
        Path("finetune.py"), "Train.", "finetune", Finetune, INPUTS, OUTPUTS, Names.of("results? other?")
    )


def test_files_options_and_the_cell_become_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ["--input", "parts=p", "--input", "parts=q"]
    cell = ["--dataset", "digits", "--seed", "3", "--code", "abc", "--option", "results=x=y", "--option", "other="]
    line = _read(monkeypatch, *FILES, *parts, *SETTINGS, *cell, "--events=", "--gpu-percent", "25")
    job = line.job
    assert (job.input("data"), job.input_list("parts"), job.optional_input("teacher")) == (
        Path("a = b"),
        [Path("p"), Path("q")],
        None,
    )
    assert job.output_files() == [Path("c"), Path("d")]
    assert (job.identity.stage, job.identity.dataset, job.identity.seed, job.identity.code) == (
        "finetune",
        "digits",
        3,
        "abc",
    )
    assert job.settings == Finetune(epochs=1, learning_rate=0.1)
    assert line.plain_settings == {"epochs": 1, "learning_rate": 0.1}
    assert (job.option("results"), job.option("other")) == ("x=y", "")
    assert (job.events, job.states, line.log, line.gpu_percent) == (None, None, None, 25)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input", "data"], "--input: expected NAME=PATH, got 'data'."),
        (
            ["--input", "dta=a"],
            "--input: unknown name 'dta'; expected one of data, teacher, parts. Did you mean 'data'?",
        ),
        (["--input", "data=b"], "--input: data is given 2 times; give it once."),
        (["--input", "teacher="], "--input: teacher has no path; give --input teacher=PATH."),
        (["--option", "result=a"], "--option: unknown name 'result'; expected one of results, other. Did you mean"),
        (["--machine", "{"], "--machine: expected JSON, got '{' ("),
        (["--machine", '{"thread": 1}'], "machine.thread: unknown setting 'thread'"),
    ],
)
def test_a_mistake_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="1"):
        _read(monkeypatch, *FILES, *SETTINGS, *words)
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1


def test_a_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        _read(monkeypatch, *FILES[:-2], *SETTINGS)
    assert capsys.readouterr().err == "error: --output: record is missing; give --output record=PATH.\n"


def test_a_job_names_the_file_that_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    job = _read(monkeypatch, *FILES, *SETTINGS, "--input", "parts=p", "--input", "parts=q").job
    for ask, message in (
        (lambda: job.input("pruned"), "finetune: the input 'pruned' is missing; give --input pruned=PATH."),
        (lambda: job.output("history"), "finetune: the output 'history' is missing; give --output history=PATH."),
        (lambda: job.option("results"), "finetune: the option 'results' is missing; give --option results=VALUE."),
        (lambda: job.input("parts"), "finetune: expected one path for the input 'parts', got 2."),
    ):
        with pytest.raises(SettingsError) as caught:
            ask()
        assert str(caught.value) == message
