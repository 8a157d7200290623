"""The Hessian batch of the trace stage: as asked for, and as the published code takes it."""

import json
from pathlib import Path

import pytest

from ehap.artifacts.dense import architecture, save_model
from ehap.models import build_model
from ehap.records import Job
from ehap.settings import Machine, Trace
from ehap.stages import trace
from tests.stages.conftest import write_images

JOB = Job(stage="trace", dataset="digits", model="resnet20", seed=0, curvature="published")


@pytest.mark.parametrize(("batch_size", "as_published", "images"), [(16, False, 16), (16, True, 4), (10, True, 10)])
def test_the_published_code_takes_the_last_partial_batch(
    tmp_path: Path, batch_size: int, as_published: bool, images: int
) -> None:
    write_images(tmp_path / "data", 20, 20)
    save_model(tmp_path / "dense", build_model("resnet20", 10, seed=0), architecture(JOB, None))
    settings = Trace(batch_size=batch_size, samples=2, as_published=as_published)
    files = (tmp_path / "data", tmp_path / "dense", tmp_path / "traces", tmp_path / "record")
    trace.run(*files, JOB, settings, Machine(device="cpu"))
    assert json.loads((tmp_path / "record").read_text())["values"]["hessian_batch"]["value"] == images


@pytest.mark.parametrize(
    ("estimator", "shown"),
    [
        ("exact", {"score_channels", "score_difference", "graph_difference"}),
        ("hutchinson", {"graph_difference"}),
    ],
)
def test_the_record_says_what_was_compared(tmp_path: Path, estimator: str, shown: set[str]) -> None:
    write_images(tmp_path / "data", 4, 4)
    save_model(tmp_path / "dense", build_model("resnet20", 10, seed=0), architecture(JOB, None))
    files = (tmp_path / "data", tmp_path / "dense", tmp_path / "traces", tmp_path / "record")
    settings = Trace(batch_size=4, samples=1, estimator=estimator)  # type: ignore[arg-type]  # a literal
    trace.run(*files, JOB, settings, Machine(device="cpu"))
    assert json.loads((tmp_path / "record").read_text())["proofs"]["curvature"].keys() == shown
