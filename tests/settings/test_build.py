import numpy
import pytest

from ehap.errors import SettingsError
from ehap.settings import Pretrain, Prune, Trace, build


def test_a_mapping_becomes_checked_settings() -> None:
    settings = build(Pretrain, {"epochs": 3, "learning_rate": "1e-3", "weight_decay": 0})
    assert (settings.epochs, settings.learning_rate, settings.weight_decay, settings.batch_size) == (3, 0.001, 0.0, 128)


def test_what_a_command_line_gives_as_text_becomes_what_is_expected() -> None:
    settings = build(Pretrain, {"epochs": "3", "learning_rate": "0.1", "nesterov": "false"})
    assert (settings.epochs, settings.learning_rate, settings.nesterov) == (3, 0.1, False)
    assert build(Prune, {"criterion": "random", "params": "0.1", "round_to": "8"}).round_to == 8


@pytest.mark.parametrize(
    ("kind", "mapping", "message"),
    [
        (Pretrain, {"epochs": 3, "lerning_rate": 0.1}, "pretrain.lerning_rate: unknown setting.*'learning_rate'"),
        (Pretrain, {"epochs": 3}, "pretrain: missing learning_rate"),
        (Pretrain, {"epochs": "three", "learning_rate": 0.1}, "pretrain.epochs: expected a whole number, got 'three'"),
        (Pretrain, {"epochs": True, "learning_rate": 0.1}, "pretrain.epochs: expected a whole number, got True"),
        (Pretrain, {"epochs": 3, "learning_rate": "fast"}, "pretrain.learning_rate: expected a number, got 'fast'"),
        (Pretrain, {"epochs": 3, "learning_rate": float("nan")}, "learning_rate must be above 0, got nan"),
        (Pretrain, {"epochs": "3.5", "learning_rate": 0.1}, "pretrain.epochs: expected a whole number, got '3.5'"),
        (Pretrain, {"epochs": 3, "learning_rate": 1, "nesterov": "no"}, "nesterov: expected true or false, got 'no'"),
        (Pretrain, {"epochs": 0, "learning_rate": 0.1}, "epochs must be at least 1, got 0"),
        (Pretrain, [], "pretrain: expected a mapping of settings, got \\[\\]"),
        (Trace, {"batch_size": 8, "precision": "fp8"}, "trace.precision: unknown value 'fp8'; expected one of fp32"),
        (Prune, {"criterion": "trace", "prune_ratio": 1.5}, r"prune: prune_ratio must lie in \[0, 1\), got 1.5"),
        (Prune, {"criterion": "trace"}, "give either prune_ratio"),
        (Prune, {"criterion": "trace", "params": 0.5, "round_to": 0}, "round_to must be at least 1, got 0"),
        (Prune, {"criterion": "trace", "prune_ratio": 0.5, "params": 0.5}, "give either prune_ratio"),
    ],
)
def test_a_wrong_setting_is_named(kind: type, mapping: object, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build(kind, mapping)


def test_a_count_that_is_no_whole_number_is_named() -> None:
    for value in (1.5, True):
        with pytest.raises(SettingsError, match=rf"min_channels must be a whole number, got {value}"):
            Prune(criterion="trace", params=0.5, min_channels=value)  # type: ignore[arg-type]
    assert Prune(criterion="trace", params=0.5, min_channels=numpy.int64(2)).min_channels == 2  # type: ignore[arg-type]
