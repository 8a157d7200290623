"""Settings that have had another name."""

import copy
from pathlib import Path
from typing import Any

import pytest

from ehap.errors import SettingsError
from ehap.results.collect import collect
from ehap.settings import Prune, Run, Trace
from ehap.settings.renamed import RENAMED, current_settings
from ehap.settings.stages import SETTINGS
from tests.workflow.conftest import SMALL

CASES = [(*key, old, new) for key, renamed in RENAMED.items() for old, new in renamed.values.items()]


@pytest.mark.parametrize(("stage", "name", "old", "new"), CASES)
def test_an_old_name_gives_the_line_to_write(stage: str, name: str, old: str, new: bool) -> None:
    config: dict[str, Any] = copy.deepcopy(SMALL)
    config[stage]["all"][name] = old
    line = f"{RENAMED[stage, name].name}: {str(new).lower()}"
    with pytest.raises(SettingsError, match=rf"^{stage}.all.{name}: this setting is called .* now; write {line}.$"):
        Run(config)
    del config[stage]["all"][name]
    config[stage]["all"][RENAMED[stage, name].name] = new
    assert Run(config)  # the line can be written


def test_overrides_are_looked_at_too() -> None:
    config: dict[str, Any] = copy.deepcopy(SMALL)
    config["methods"]["random"]["prune"] = {"weights": "newer"}
    with pytest.raises(SettingsError, match=r"methods.random.prune.weights: .*; write reinitialize: true or false"):
        Run(config)
    config["methods"]["random"]["prune"] = {"normalise": ["none", "lamp"]}
    with pytest.raises(SettingsError, match=r"methods.random.prune.normalise: .*; write balance: none or lamp"):
        Run(config)
    config = copy.deepcopy(SMALL)
    config["curvatures"]["hutchinson-fp32"]["slow"] = "accept"
    with pytest.raises(SettingsError, match=r"curvatures.hutchinson-fp32.slow: .*; write allow_cpu_fp16: true"):
        Run(config)


@pytest.mark.parametrize(("stage", "name", "old", "new"), CASES)
def test_a_record_is_read_by_either_name(stage: str, name: str, old: str, new: bool) -> None:
    renamed = RENAMED[stage, name].name
    assert current_settings(stage, {"a": 1, name: old, "b": 2}) == {"a": 1, renamed: new, "b": 2}
    assert list(current_settings(stage, {"a": 1, name: old, "b": 2})) == ["a", renamed, "b"]
    assert current_settings(stage, {renamed: new}) == {renamed: new}
    assert current_settings("pretrain", {name: old}) == {name: old}  # where the name is another one's


def test_every_new_name_is_a_setting() -> None:
    for stage, name in RENAMED:
        fields = SETTINGS[stage].__dataclass_fields__  # type: ignore[attr-defined]
        assert RENAMED[stage, name].name in fields
        assert name not in fields
    assert not Trace(batch_size=1).allow_cpu_fp16
    assert not Prune(criterion="random", params=0.5).reinitialize


def test_tables_show_the_settings_of_former_records_by_their_new_names() -> None:
    """The committed records of earlier measurements are such records."""
    measurements = Path(__file__).parents[2] / "measurements"
    found = {}
    for stage in ("prune", "trace"):
        records = sorted(measurements.glob(f"**/{stage}/**/record.json"))
        assert any(f'"{name}": ' in path.read_text() for path in records for of, name in RENAMED if of == stage)
        found[stage] = collect(records)[1].set_index("setting")["value"]
    assert "weights" not in found["prune"]
    assert not found["prune"]["reinitialize"].any()
    assert "normalise" not in found["prune"]
    assert set(found["prune"]["balance"]) == {"none", "lamp"}
    assert "slow" not in found["trace"]
    assert not found["trace"]["allow_cpu_fp16"].any()
