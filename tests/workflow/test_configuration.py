"""YAML as it was typed: what a reader would take for something else is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ehap.errors import SettingsError
from ehap.workflow.configuration import check_files, read_run
from tests.workflow.conftest import ROOT, SMALL, copy_project, snakemake_in

WHOLE = 'write it with the digits 0 to 9 alone, or "{}" for the text'
POINT = 'write a number with digits and a point, or "{}" for the text'
WORD = 'write true or false, or "{}" for the text'


def _refused(folder: Path, text: str) -> str:
    path = folder / "run.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as of_check:
        check_files([path])
    with pytest.raises(SettingsError) as of_reader:
        read_run(path)
    said = str(of_check.value)
    assert said == str(of_reader.value)
    assert "\n" not in said
    assert said.startswith(f"{path}, line ") or "document" in said
    return said.removeprefix(f"{path}, line ").removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\ngrid: {}\nname: b", "3: the key 'name' stands twice in one block, first in line 1; keep one."),
        ("qat:\n  all: {}\n  all: {}", "3: qat: the key 'all' stands twice in one block, first in line 2; keep one."),
        (
            "a: {b: [{c: 1, d: 2, c: 3}]}",
            "1: a.b[0]: the key 'c' stands twice in one block, first in line 1; keep one.",
        ),
        ('a: 1\n"a": 2', "2: the key 'a' stands twice in one block, first in line 1; keep one."),
        (
            "a: &x {b: 1}\nc: {<<: *x, <<: *x}",
            "2: c: the key '<<' stands twice in one block, first in line 2; keep one.",
        ),
        ('{\n\t"a": 1,\n\t"a": 2\n}', "3: the key 'a' stands twice in one block, first in line 2; keep one."),
        ("8: a", '1: the key 8 is not read as text; write "8".'),
        ("a: {no: 1}", '1: a: no would be read as false; write true or false, or "no" for the text.'),
        ("a: {null: 1}", '1: a: the key null is not read as text; write "null".'),
        ("? [a]\n: 1", "1: a key that is a list or a block; keys are names."),
        ("a: 1\n---\nb: 1", "expected one YAML document, got several; remove the lines ---."),
        ("a: !!python/tuple [1]", "1: a: the tag !!python/tuple is not for configurations; leave it out."),
        ("a: !mine b", '1: a: the tag !mine is not for configurations; write "b" for the text.'),
        ("a: &a {b: *a}", "1: a.b: a block that is part of itself by its alias; write it out."),
        ("a: =", '1: a: the tag !!value is not for configurations; write "=" for the text.'),
        ("a: {", "2: expected YAML (did not find expected node content); indent with spaces, see config/demo.yaml."),
    ],
)
def test_what_is_not_plain_is_refused_with_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    assert _refused(tmp_path, text) == said


@pytest.mark.parametrize(
    ("typed", "read", "advice"),
    [
        *((word, "true", WORD) for word in ("yes", "Yes", "ON", "on")),
        *((word, "false", WORD) for word in ("no", "NO", "off")),
        ("010", "8", WHOLE),
        ("-017", "-15", WHOLE),
        ("0x1F", "31", WHOLE),
        ("0b11", "3", WHOLE),
        ("1:30", "90", WHOLE),
        ("1_000", "1000", WHOLE),
        ("1_0e-3", "10e-3", WHOLE),
        ("1_0.5", "10.5", POINT),
        ("1:30.5", "90.5", POINT),
        (".inf", "inf", POINT),
        ("-.INF", "-inf", POINT),
        (".nan", "nan", POINT),
        ("1.0e+999", "inf", POINT),
        ("2026-01-02", "2026-01-02", 'write "{}" for the text'),
        ("2026-01-02 10:00:00", "2026-01-02 10:00:00", 'write "{}" for the text'),
    ],
)
def test_a_value_that_yaml_reads_as_another_is_refused_and_quoted_it_is_text(
    tmp_path: Path, typed: str, read: str, advice: str
) -> None:
    path = tmp_path / "run.yaml"
    for text, where in ((f"a:\n  b: {typed}", "2: a.b"), (f"a: [c, {typed}]", "1: a[1]")):
        said = _refused(tmp_path, text)
        found = "0.01" if read == "10e-3" else read
        assert said == f"{where}: {typed} would be read as {found}; {advice.format(typed)}."
    path.write_text(f'a: [\'{typed}\', "{typed}"]\n"{typed}": |\n  {typed}\n')
    check_files([path])


def test_what_no_reader_can_make_is_refused_as_well(tmp_path: Path) -> None:
    assert _refused(tmp_path, "a: !!float b").startswith("1: a: b is no valid value; write a number with digits")
    assert _refused(tmp_path, "a: 2026-13-45") == '1: a: 2026-13-45 is no valid value; write "2026-13-45" for the text.'


def _passes(folder: Path, text: str) -> Any:
    path = folder / "run.yaml"
    path.write_text(text)
    check_files([path])
    return yaml.safe_load(text)


def test_plain_values_anchors_and_merge_keys_pass(tmp_path: Path) -> None:
    numbers = "[0, -1, +2, 128, 1.5, -0.25, 1., 1.5e-3, 1e-3, 08]"
    assert _passes(tmp_path, f"a: {numbers}")["a"][:5] == [0, -1, 2, 128, 1.5]
    assert _passes(tmp_path, "a: [true, False, null, ~, y, n, one_2, 3-4, v1.0.0]")["a"][4:6] == ["y", "n"]
    merged = _passes(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]\nd: {<<: [*a, {z: 1}]}")
    assert merged["b"] == {"x": 1, "y": 3}
    assert _passes(tmp_path, "--- \na: 1\n...\n") == {"a": 1}
    assert _passes(tmp_path, "") is None


def test_a_number_with_an_exponent_is_still_one(tmp_path: Path) -> None:
    config = json.dumps(SMALL | {"qat": {"all": {"epochs": 1, "learning_rate": "LR", "batch_size": 16}}})
    (tmp_path / "run.yaml").write_text(config.replace('"LR"', "1e-3"))
    assert read_run(tmp_path / "run.yaml").qat("digits", "resnet20", "hap", "qat8").learning_rate == 1e-3


def test_json_is_read_with_its_tabs(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(SMALL, indent="\t"))
    assert read_run(tmp_path / "run.json").name == "small"


def test_every_configuration_that_ships_passes() -> None:
    paths = sorted((ROOT / "config").glob("*.yaml"))
    check_files(paths)
    assert all(read_run(path).name for path in paths)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("\nprune:", "\nprune: {}\nprune:", "the key 'prune' stands twice in one block"),
        ("train_images: 48", "train_images: 060", "prepare.all.train_images: 060 would be read as 48"),
    ],
)
def test_snakemake_stops_at_it_in_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    folder = copy_project(tmp_path)
    text = yaml.safe_dump(SMALL)
    assert text.count(old) == 1
    (folder / "run.yaml").write_text(text.replace(old, new))
    result = snakemake_in(folder, "--dry-run")
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error in the configuration: ")]
    assert f"{folder / 'run.yaml'}, line " in line
    assert said in line
    assert "Traceback" not in result.stdout + result.stderr
