"""The schema by which editors complete a configuration agrees with the settings, and finds what they refuse."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ehap.errors import SettingsError
from ehap.settings import Run
from ehap.settings.schema import as_schema
from tests.workflow.conftest import SMALL

CONFIG = Path(__file__).parents[2] / "config"
CONFIGS = sorted(CONFIG.glob("*.yaml"))


def _checker() -> jsonschema.Draft7Validator:
    schema = json.loads((CONFIG / "schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def _changed(path: str, value: Any) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(json.dumps(SMALL))
    *blocks, last = path.split("|")
    found = config
    for block in blocks:
        found = found.setdefault(block, {})
    found[last] = value
    return config


def test_the_schema_is_that_of_the_settings() -> None:
    assert json.loads((CONFIG / "schema.json").read_text()) == json.loads(json.dumps(as_schema())), "run make docs"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_that_ships_fits_and_names_the_schema(path: Path) -> None:
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")
    _checker().validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("methods|hap|prune", {"params": [0.5, 0.3]}),
        ("methods|hap|reconstruct", {"images": [64, 128], "ridge": None}),
        ("pretrain|digits/resnet20", {"learning_rate": "1e-3"}),
        ("schemes|mixed", {"mix": [4, 8], "size": 0.7}),
        ("curvatures|stable", {"until": {"params": 0.3, "overlap": 0.2}}),
        ("deploy", {}),
        ("finetune|all|distill", 0.5),
    ],
)
def test_what_the_settings_take_fits(path: str, value: Any) -> None:
    config = _changed(path, value)
    _checker().validate(config)
    Run(config)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pretran", {"all": {"epochs": 1}}),
        ("pretrain|all|epoch", 3),
        ("pretrain|all|epochs", "many"),
        ("pretrain|all|nesterov", 1),
        ("pretrain|resnet21", {"epochs": 1}),
        ("prepare|resnet20", {"test_images": 3}),
        ("grid|models", ["vgg"]),
        ("grid|datasets", "digits"),
        ("grid|seeds", [0.5]),
        ("machine|step", "quick"),
        ("methods|hap|criterion", ["trace"]),
        ("methods|hap|finetune", {"epochs": [1, 2]}),
        ("methods|hap|prune", {"criterion": "trace"}),
        ("schemes|qat8|bit", 8),
        ("name", "a name"),
    ],
)
def test_a_typo_or_a_wrong_type_fails_here_and_there(path: str, value: Any) -> None:
    config = _changed(path, value)
    with pytest.raises(jsonschema.ValidationError):
        _checker().validate(config)
    with pytest.raises(SettingsError):
        Run(config)
