"""The whole session with small numbers; cut off, killed, and with parts that fail."""

import json
import re
import signal
import tarfile
from pathlib import Path

import pytest

from ehap.session.archive import MOST_BYTES
from tests.session.conftest import CELL, Place, contents, wait_for

PRECISIONS, FORMS = ("fp32", "bf16"), ("ours", "published", "regular")
PRETRAIN, FINETUNE = f"pretrain/{CELL}", f"finetune/{CELL}/random"


@pytest.mark.minutes
def test_a_session_brings_home_every_record_without_the_packages_of_the_workflow(place: Place) -> None:
    code, said = place.session()
    assert code == 0, said
    files = {path.name: path for path in place.out.iterdir()}
    assert sorted(files) == ["costs.tar.gz", "summary.md", "tests.tar.gz", "trainings-1.tar.gz"]
    assert max(path.stat().st_size for path in files.values()) < MOST_BYTES
    assert sorted(path.name for path in place.folder.iterdir() if path.name.startswith(".")) == []
    rows = place.summary()
    assert {name: row["state"] for name, row in rows.items()} == dict.fromkeys(
        ["resnet20", "pytest -m gpu", PRETRAIN], "ended"
    )
    assert re.search(r"\d+ (skipped|passed), \d+ deselected", rows["pytest -m gpu"]["note"])
    assert "junit.xml" in contents(files["tests.tar.gz"])

    costs = contents(files["costs.tar.gz"])
    for precision in PRECISIONS:
        for form in FORMS:
            record = json.loads(costs[f"resnet20/{precision}/{form}.json"])
            assert (record["curvature"], record["method"], record["dataset"]) == (precision, form, "random")
            values = {name: item["value"] for name, item in record["values"].items()}
            assert (values["products"], values["hessian_batch"]) == (2, 8)
            assert 0 < values["time_per_product"] < values["seconds"] < 2 * record["duration_s"]
            assert re.fullmatch(r"[0-9a-f]{16}", record["code"])
            numbers = json.loads(costs[f"resnet20/{precision}/{form}_profile.json"])
            assert numbers["seconds_per_product"] > 0
            kernels = costs[f"resnet20/{precision}/{form}_kernels.csv"].decode().splitlines()
            assert kernels[0] == "kernel,calls,microseconds,share_percent"
            assert sum(float(line.split(",")[-1]) for line in kernels[1:]) == pytest.approx(100, abs=0.5)
            assert any("convolution" in line for line in kernels[1:6])
            assert "Each shape of the inputs" in costs[f"resnet20/{precision}/{form}_operators.txt"].decode()
    page = files["summary.md"].read_text()
    assert page in said
    assert len(re.findall(r"\| resnet20 \| (?:fp32|bf16) \| (?:ours|published|regular) \| [\d.]+ \|", page)) == len(
        PRECISIONS
    ) * len(FORMS)
    assert "| resnet20 | fp32 | published |" in page

    trained = contents(files["trainings-1.tar.gz"])
    folder = f"results/small/{PRETRAIN}"
    assert {f"{folder}/{name}" for name in ("model.safetensors", "history.csv", "record.json")} < set(trained)
    assert "torchao" not in json.loads(trained[f"{folder}/record.json"])["versions"]


@pytest.mark.minutes
def test_a_training_that_is_cut_off_goes_on_in_the_next_session(tmp_path: Path) -> None:
    place = Place(tmp_path, pretrain={"all": {"epochs": 100_000, "learning_rate": 1e-3, "batch_size": 16}})
    state = tmp_path / "state/small" / PRETRAIN / "state.pt"
    process = place.start("--parts", "trainings")
    wait_for(process, state.is_file)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, said
    row = place.summary()[PRETRAIN]
    assert (row["state"], row["files"]) == ("cut off", "trainings-1.tar.gz")
    assert "Stopped from outside after " in (place.out / "summary.md").read_text()

    (tmp_path / "next").mkdir()
    following = Place(tmp_path / "next", pretrain={"all": {"epochs": 100_000, "learning_rate": 1e-3, "batch_size": 16}})
    with tarfile.open(place.out / "trainings-1.tar.gz") as archive:
        archive.extractall(following.folder, filter="data")
    assert (following.folder / state.relative_to(tmp_path)).read_bytes() == state.read_bytes()
    log = following.folder / "logs/gpu_session" / PRETRAIN / "log.txt"
    before = log.read_text()
    process = following.start("--parts", "trainings", "--cells", PRETRAIN)
    wait_for(process, lambda: log.read_text() != before and "epoch" in log.read_text())
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert re.search(r"going on after epoch [1-9]\d*", log.read_text())


@pytest.mark.minutes
def test_a_session_that_is_killed_keeps_what_was_measured(place: Place) -> None:
    process = place.start("--parts", "costs", "tests")
    archive = place.out / "costs.tar.gz"
    wait_for(process, lambda: archive.is_file() and "resnet20/fp32/ours.json" in contents(archive))
    process.kill()
    process.communicate()
    assert json.loads(contents(archive)["resnet20/fp32/ours.json"])["values"]["products"]["value"] == 2
    assert {path.name for path in place.out.iterdir()} == {"costs.tar.gz", "summary.md"}
    assert place.summary()["resnet20"]["state"] == "running"
    assert "| resnet20 | fp32 | ours |" in (place.out / "summary.md").read_text()


def test_fine_tuning_begins_where_the_pruned_network_is(place: Place) -> None:
    assert place.session("--parts", "trainings")[0] == 0
    place.make_pruned()
    place.out = place.folder / "second"
    code, said = place.session("--parts", "trainings")
    assert code == 0, said
    rows = place.summary()
    assert rows[PRETRAIN]["note"] == "it had ended before"
    assert rows[FINETUNE]["state"] == "ended"
    assert f"results/small/{FINETUNE}/record.json" in contents(place.out / "trainings-1.tar.gz")


def test_a_part_that_fails_leaves_its_traceback_and_the_next_one_runs(place: Place) -> None:
    place.config.write_text("name: small\n")
    code, said = place.session("--parts", "trainings", "tests")
    assert code == 1, said
    assert "SettingsError: grid: missing" in contents(place.out / "failed.tar.gz")["trainings/failed.txt"].decode()
    rows = place.summary()
    assert rows["the part itself"]["state"] == "failed"
    assert rows["pytest -m gpu"]["state"] == "ended"


def test_a_step_that_fails_says_why(place: Place) -> None:
    code, said = place.session("--parts", "trainings", "--cells", FINETUNE)
    assert code == 1, said
    row = place.summary()[FINETUNE]
    assert row["state"] == "failed"
    assert "which is not here; carry that file along" in row["note"]
    assert (
        b"carry that file along" in contents(place.out / "trainings-1.tar.gz")[f"logs/gpu_session/{FINETUNE}/log.txt"]
    )


def test_what_does_not_fit_the_time_is_skipped(place: Place) -> None:
    code, said = place.session("--seconds", "40")
    assert code == 0, said
    notes = {name: (row["state"], re.sub(r"^\d+", "N", row["note"])) for name, row in place.summary().items()}
    assert notes == {
        "resnet20": ("skipped", "N s left, and it needs 60 s"),
        "pytest -m gpu": ("skipped", "N s left, and it needs 45 s"),
        PRETRAIN: ("skipped", "N s left, and it needs 60 s"),
    }


def test_an_older_session_is_not_written_over(place: Place) -> None:
    place.out.mkdir()
    (place.out / "summary.md").write_text("of last week")
    code, said = place.session()
    assert (code, said.strip().splitlines()[-1]) == (
        1,
        f"error: {place.out} is not empty; name another folder as --out, or empty it.",
    )
    assert (place.out / "summary.md").read_text() == "of last week"


def test_wheels_that_are_not_there_are_said_at_once(place: Place) -> None:
    code, said = place.session("--wheels", str(place.folder))
    assert code == 1
    assert said.strip().endswith(f"there is no .whl file in {place.folder}; see envs/gpu_session.txt.")
