"""The course that all benchmarks share: arguments, parts, tables, and going on after a cut."""

import argparse
import json
from pathlib import Path

import pandas
import pytest
import torch

from benchmarks import plan
from benchmarks.arguments import clock_of
from benchmarks.benchmark import Benchmark, Part, Row, Tables
from benchmarks.files import Journal
from benchmarks.processes import alone, together
from benchmarks.runner import NAMES, main, run
from ehap.errors import EhapError, SettingsError
from ehap.runtime.device import device_name, slug
from tests.benchmarks.workers import warmed

DEVICE = slug(device_name(torch.device("cpu")))


class Counting(Benchmark):
    """Three parts in two tables; ``cut`` names the one at which it fails."""

    name = "counting"
    cut = ""

    def __init__(self) -> None:
        super().__init__(argparse.Namespace(device="cpu", threads=1))
        self.done: list[str] = []

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None: ...

    def parts(self) -> list[Part]:
        endings = {"one": "", "two": "_more", "three": ""}
        return [Part(label, lambda label=label: self._measured(label), ending) for label, ending in endings.items()]

    def _measured(self, label: str) -> list[Row]:
        if label == self.cut:
            raise KeyboardInterrupt
        self.done.append(label)
        return [{"label": label, "before": len(self.rows)}]

    def title(self) -> str:
        return "Counting"

    def about(self, tables: Tables) -> str:
        return f"{sum(map(len, tables.values()))} rows."


def _run(benchmark: Counting, folder: Path, resume: bool = False) -> str:
    command = "python -m benchmarks counting"
    journal = Journal(folder / "bench_counting.unfinished.json", command, resume)
    return run(benchmark, folder, "bench_counting", command, journal)


def test_a_run_that_was_cut_goes_on_and_gives_the_same_files(tmp_path: Path) -> None:
    whole, cut = Counting(), Counting()
    page = _run(whole, tmp_path / "whole")
    assert whole.done == ["one", "two", "three"]
    cut.cut = "three"
    with pytest.raises(KeyboardInterrupt):
        _run(cut, tmp_path / "cut")
    unfinished = (tmp_path / "cut/bench_counting.md").read_text()
    assert "2 rows. **Unfinished: three not measured yet.**" in unfinished
    later = Counting()
    assert _run(later, tmp_path / "cut", resume=True) == page
    assert later.done == ["three"]
    files = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "cut").iterdir()}
    assert sorted(files) == ["bench_counting.csv", "bench_counting.md", "bench_counting_more.csv"]
    assert pandas.read_csv(tmp_path / "cut/bench_counting.csv")["before"].tolist() == [0, 2]


def test_only_the_same_command_is_gone_on_with(tmp_path: Path) -> None:
    journal = tmp_path / "bench_x.unfinished.json"
    with pytest.raises(SettingsError, match=r"there is no unfinished run in .*bench_x\.unfinished\.json; leave"):
        Journal(journal, "one", resume=True)
    journal.write_text(json.dumps({"command": "other", "rows": {}}))
    with pytest.raises(SettingsError, match="is of `other`; type that, or leave it out"):
        Journal(journal, "one", resume=True)
    assert Journal(journal, "other", resume=True).rows == Journal(journal, "one", resume=False).rows == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plans"], "there is no benchmark 'plans'; expected one of train, trace, plan, "),
        (["plan", "--models", "resnet21"], "argument --models: invalid choice: 'resnet21'"),
        (["plan", "--budgets", "1.5"], "argument --budgets: expected a share above 0, up to 1, got '1.5'"),
        (["plan", "--threads", "few"], "argument --threads: expected a whole number of at least 0, got 'few'"),
        (["plan", "--name", "bench_latency_x"], "--name bench_latency_x is a file name of the benchmark latency"),
        (["trace", "--batches", "1"], "--batches wants one number a model, got 1 for 3 models"),
        (["trace", "--samples", "1"], "argument --samples: expected a whole number of at least 2, got '1'"),
        (["trace", "--leave-out", "nobody"], "--leave-out 'nobody': no contender's name begins so"),
        (["trace", "--checkpoint", "none"], "argument --checkpoint: there is no file none"),
    ],
)
def test_a_wrong_argument_is_one_line_before_any_work(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, *(["--folder", str(tmp_path)] if arguments[1:] else [])])
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {said}")
    assert captured.err.count("\n") == 1
    assert not captured.out
    assert not list(tmp_path.iterdir())


def test_weights_of_another_model_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ehap.models import build_model
    from ehap.records import write_tensors

    path = tmp_path / "model.safetensors"
    write_tensors(path, build_model("resnet20", 10, seed=0).state_dict(), {"model": "resnet20"})
    with pytest.raises(SystemExit):
        main(["trace", "--checkpoint", str(path), "--models", "resnet20", "resnet32"])
    assert "--checkpoint holds a resnet20, --models names resnet32; say --models resnet20" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_lists_every_benchmark_with_its_purpose(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments)
    lines = capsys.readouterr().out.splitlines()
    listed = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line.startswith("  ")}
    assert tuple(listed) == NAMES
    assert listed["plan"] == (plan.__doc__ or "").splitlines()[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert "--folder FOLDER" in capsys.readouterr().out


def test_the_page_has_the_command_without_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", "--models", "resnet20", "--budgets", "0.5", "--folder", str(tmp_path)]
    journal = tmp_path / DEVICE / "bench_plan.unfinished.json"
    journal.parent.mkdir()
    said = f"python -m benchmarks {' '.join(command)}"
    rows = {"resnet20": [{"model": "as it was"}]}
    journal.write_text(json.dumps({"command": said, "rows": rows}))
    main([*command, "--resume"])
    page = (journal.parent / "bench_plan.md").read_text()
    assert f"`{said}`" in page
    assert "as it was" in page
    assert page in capsys.readouterr().out
    assert not journal.exists()


def test_all_processes_measure_at_once_or_the_failure_is_one_line() -> None:
    assert together(warmed, [(1.0,), (2.0,)]) == [1.0, 2.0]
    with pytest.raises(EhapError, match="a process ended before it had a result"):
        together(warmed, [(1.0,), (-1.0,)])


def test_work_alone_returns_its_result_or_its_error() -> None:
    assert alone(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        alone(divmod, 7, 0)


def test_the_processors_clock_is_for_one_thread() -> None:
    with pytest.raises(SettingsError, match="say --threads 1"):
        clock_of(argparse.Namespace(clock="cpu", threads=2))
