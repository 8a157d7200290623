"""The Hessian batch of the trace stage: as asked for, and as the published code takes it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ehap.artifacts.dense import architecture, save_model
from ehap.errors import CheckpointError, SettingsError
from ehap.models import build_model
from ehap.records import Identity
from ehap.settings import Trace
from ehap.stages import trace, trace_part
from tests.jobs import job_of, recorded, write_images

CELL = Identity(stage="trace", dataset="digits", model="resnet20", seed=0, curvature="published")


@pytest.mark.parametrize(("batch_size", "as_published", "images"), [(16, False, 16), (16, True, 4), (10, True, 10)])
def test_the_published_code_takes_the_last_partial_batch(
    tmp_path: Path, batch_size: int, as_published: bool, images: int
) -> None:
    write_images(tmp_path / "data", 20, 20)
    save_model(tmp_path / "checkpoint", build_model("resnet20", 10, seed=0), architecture(CELL, None))
    settings = Trace(batch_size=batch_size, samples=2, as_published=as_published)
    trace.run(job_of(tmp_path, settings, CELL, "data checkpoint", "traces record"))
    assert recorded(tmp_path / "record")["hessian_batch"] == images


@pytest.mark.parametrize(
    ("estimator", "shown"),
    [
        ("exact", {"score_channels", "score_difference", "graph_difference"}),
        ("hutchinson", {"graph_difference"}),
    ],
)
def test_the_record_says_what_was_compared(tmp_path: Path, estimator: str, shown: set[str]) -> None:
    write_images(tmp_path / "data", 4, 4)
    save_model(tmp_path / "checkpoint", build_model("resnet20", 10, seed=0), architecture(CELL, None))
    settings = Trace(batch_size=4, samples=1, estimator=estimator)  # type: ignore[arg-type]  # a literal
    trace.run(job_of(tmp_path, settings, CELL, "data checkpoint", "traces record"))
    assert json.loads((tmp_path / "record").read_text())["proofs"]["curvature"].keys() == shown


def test_parts_are_merged_by_their_names_and_none_may_be_missing(tmp_path: Path) -> None:
    write_images(tmp_path / "data", 8, 4)
    save_model(tmp_path / "checkpoint", build_model("resnet20", 10, seed=0), architecture(CELL, None))
    settings = Trace(batch_size=8, samples=4, shards=2)
    job = job_of(tmp_path, settings, CELL, "data checkpoint", "traces record")
    parts = [tmp_path / f"{shard}-of-2.safetensors" for shard in (1, 0)]
    for part in parts:
        trace_part.run(replace(job, outputs={"part": part}))
    trace.run(replace(job, inputs={**job.inputs, "parts": parts}))
    shared_out = (tmp_path / "traces").read_bytes()
    trace.run(replace(job, settings=replace(settings, shards=1)))
    assert (tmp_path / "traces").read_bytes() == shared_out
    with pytest.raises(
        CheckpointError, match=r"expected the parts 0-of-2.safetensors, 1-of-2.* got 0-of-2.safetensors\."
    ):
        trace.run(replace(job, inputs={**job.inputs, "parts": parts[1:]}))
    with pytest.raises(SettingsError, match=r"2-of-2.safetensors: expected a part of 2, named 0-of-2.* to 1-of-2"):
        trace_part.run(replace(job, outputs={"part": tmp_path / "2-of-2.safetensors"}))
