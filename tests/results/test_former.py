"""Records of older code are read in today's words; all committed ones among them."""

import json
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from ehap.errors import DataError
from ehap.records import read_record, read_tensors
from ehap.results.build import settings_table
from ehap.results.collect import collect
from ehap.results.deployment import deployed
from ehap.results.former import QUANTITIES, STAGES, current, current_folder, in_order
from ehap.results.repair import repaired
from ehap.settings import names
from ehap.settings.renamed import RENAMED
from ehap.settings.stages import SETTINGS

ROOT = Path(__file__).parents[2]
MEASUREMENTS = ROOT / "measurements"
TODAY = {*SETTINGS, "evaluate", "evaluate_unrecovered"}
KNOWN = {
    *("accuracy", "best_accuracy", "train_accuracy", "train_loss", "seconds", "peak_memory"),
    *("pruned_accuracy", "recalibrated_accuracy", "parameters", "flops", "file_size", "published_size"),
    *("train_images", "test_images", "dense_parameters", "dense_flops", "channels", "kept_channels"),
    *("samples", "hessian_batch", "trace_time", "time_per_sample", "repeats"),
    *("images", "reconstruct_time", "reconstructed_accuracy", "underdetermined_layers", "last_layer_error"),
    *("least_equations_per_unknown", "least_images_per_unknown", "distill_time", "distilled_accuracy", "agreement"),
    *("deployed_accuracy", "simulated_accuracy", "mismatches", "inductor_accuracy", "inductor_mismatches"),
    *("integer_operators", "float_operators", "inductor_integer_operators", "packed_size", "onnx_size"),
    *("executed_parameters", "weight_bits"),
}
FAMILIES = ("weight_bits.", "float_operators.", "latency_", "times_as_fast_")


def committed(pattern: str) -> list[Path]:
    return sorted(MEASUREMENTS.rglob(pattern))


def test_every_committed_record_is_read_in_todays_words() -> None:
    paths = committed("record.json")
    assert len(paths) > 1000
    for path in paths:
        record = current(read_record(path))
        assert record["stage"] in TODAY, path
        strange = {name for name in record["values"] if name not in KNOWN and not name.startswith(FAMILIES)}
        assert not strange, (path, strange)
        assert not {(record["stage"], name) for name in record["settings"]} & RENAMED.keys(), path


def test_every_committed_weights_file_is_read() -> None:
    paths = committed("*.safetensors")
    assert len(paths) > 10
    for path in paths:
        tensors, metadata = read_tensors(path)
        assert tensors
        assert metadata["model"] in names.MODELS, path


def test_todays_records_stay_as_they_are() -> None:
    record = {"stage": "trace", "values": {"mismatches": 1}, "settings": {"slow": 3, "samples": 2}, "seed": 1}
    assert current(record)["settings"] == {"allow_cpu_fp16": 3, "samples": 2}  # a value that nobody wrote
    record["settings"] = {"allow_cpu_fp16": True}
    assert current(record) == record


@pytest.mark.parametrize(
    ("stage", "setting", "value", "today"),
    [
        ("trace", "slow", "accept", {"allow_cpu_fp16": True}),
        ("trace", "slow", "refuse", {"allow_cpu_fp16": False}),
        ("prune", "weights", "new", {"reinitialize": True}),
        ("prune", "weights", "kept", {"reinitialize": False}),
        ("prune", "normalise", "lamp", {"balance": "lamp"}),
        ("prune", "normalise", "none", {"balance": "none"}),
        ("pretrain", "weights", "my.safetensors", {"weights": "my.safetensors"}),  # another setting of that name
    ],
)
def test_former_settings_have_todays_names(stage: str, setting: str, value: str, today: dict[str, object]) -> None:
    assert current({"stage": stage, "values": {}, "settings": {setting: value}})["settings"] == today


def test_former_names_are_names_of_today() -> None:
    assert set(STAGES.values()) <= TODAY
    assert set(QUANTITIES.values()) <= KNOWN
    assert current_folder(Path("assess/cifar10/resnet20")) == Path("evaluate_unrecovered/cifar10/resnet20")
    assert current_folder(Path("prune/assess")) == Path("prune/assess")


def _same(path: Path, built: pandas.DataFrame, tmp_path: Path, renamed: dict[str, str]) -> None:
    """Compare the numbers of a committed table, whatever commit wrote it, with those that its records give today."""
    built.to_csv(tmp_path / "built.csv", index=False, float_format="%.10g")
    ours, theirs = pandas.read_csv(tmp_path / "built.csv"), pandas.read_csv(path).rename(columns=renamed)
    pandas.testing.assert_frame_equal(ours[list(theirs)], theirs, check_dtype=False)


def test_tables_of_committed_records_are_the_committed_ones(tmp_path: Path) -> None:
    run = MEASUREMENTS / "amd-epyc-cpu/cifar_aligned"
    values, settings = collect(sorted(run.rglob("record.json")))
    shares = {"compression_ratio": "parameters_kept", "flops_ratio": "flops_kept"}
    shares |= {f"{former}_std": f"{today}_std" for former, today in shares.items()}
    _same(run / "further/training_free.csv", repaired(values, settings), tmp_path, shares)
    answers = {
        f"{kind}other_answers{end}": f"{kind}mismatches{end}" for kind in ("", "inductor_") for end in ("", "_std")
    }
    _same(run / "further/deployment.csv", deployed(values), tmp_path, answers)


def test_settings_of_old_and_new_records_stand_under_one_name(tmp_path: Path) -> None:
    paths = []
    for seed, said in enumerate(({"slow": "refuse"}, {"allow_cpu_fp16": False})):
        record = {"stage": "trace", "dataset": "cifar10", "model": "resnet20", "seed": seed, "device": "x"}
        path = tmp_path / f"{seed}.json"
        path.write_text(json.dumps({**record, "values": {}, "settings": said}))
        paths.append(path)
    paper = pandas.read_csv(ROOT / "config/paper_settings.csv", keep_default_na=False)
    frame = settings_table(collect(paths)[1], paper)
    assert frame[["setting", "value", "seeds"]].to_numpy().tolist() == [["allow_cpu_fp16", False, "0, 1"]]


def test_the_reader_needs_no_torch() -> None:
    code = "import sys; import ehap.results.former, ehap.results.format; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "False"


def test_a_record_of_today_counts_before_one_that_older_code_put_elsewhere(tmp_path: Path) -> None:
    paths = [
        tmp_path / stage / "cifar10/resnet20/seed0/hap/record.json" for stage in ("assess", "evaluate_unrecovered")
    ]
    for path, value in zip(paths, (11.0, 99.0), strict=True):
        path.parent.mkdir(parents=True)
        where = {"dataset": "cifar10", "model": "resnet20", "seed": 0, "method": "hap", "device": "a CPU"}
        values = {"pruned_accuracy": {"value": value, "unit": "percent"}}
        path.write_text(json.dumps({"stage": path.parents[4].name, "values": values, "settings": {}, **where}))
    assert in_order(tmp_path) == paths[::-1]
    frame, _ = collect(in_order(tmp_path))
    assert list(frame["value"]) == [99.0]


def test_a_record_without_its_parts_is_named() -> None:
    with pytest.raises(DataError, match="a record lacks values, settings; it is damaged"):
        current({"stage": "prune"})
