"""config/SETTINGS.md says what the settings are."""

import dataclasses
import importlib
import pkgutil
from pathlib import Path

import pytest

import ehap.settings
from ehap.errors import SettingsError
from ehap.settings import Training
from ehap.settings.budget import Budget, Limits, Ranking
from ehap.settings.criteria import Criterion
from ehap.settings.documentation import BLOCKS, as_markdown, section
from ehap.settings.names import Model, Order
from ehap.settings.renamed import Renamed
from ehap.settings.scheme import Scheme
from ehap.settings.stages import Stage

PAGE = Path(__file__).parents[2] / "config/SETTINGS.md"


def test_the_page_is_what_the_settings_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == as_markdown(), "say make docs"


def test_every_kind_of_settings_stands_on_the_page() -> None:
    modules = [
        importlib.import_module(f"ehap.settings.{each.name}") for each in pkgutil.iter_modules(ehap.settings.__path__)
    ]
    kinds = {kind for module in modules for kind in vars(module).values() if isinstance(kind, type)}
    own = {Training, Order, Model, Stage, Criterion, Renamed, Budget, Limits, Ranking, Scheme}
    assert {kind for kind in kinds if dataclasses.is_dataclass(kind)} - own == set(BLOCKS.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    """What both have.

    share: Of what there is,
        or | was.
    """

    share: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind(Base):
    """A kind of settings.

    first, second: Widths.
    """

    first: int
    second: tuple[int, ...] = (1, 2)


def test_a_table_has_the_type_the_default_and_the_meaning_of_each_setting() -> None:
    assert section("kind", Kind).splitlines()[4:] == [
        "| key | value | default | meaning |",
        "|---|---|---|---|",
        "| `share` | a number or `null` | `null` | Of what there is, or \\| was. |",
        "| `first` | a whole number | required | Widths. |",
        "| `second` | list of whole numbers | `[1, 2]` | Widths. |",
    ]


@pytest.mark.parametrize(
    ("docstring", "message"),
    [
        ("A kind.\n\nfirst: A width.", "Kind.second: the docstring has no line for it"),
        ("A kind.\n\nfirst, second, third: Widths.", "Kind.third: there is no such setting"),
    ],
)
def test_a_docstring_that_misses_a_setting_or_has_one_too_many_is_refused(
    docstring: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kind, "__doc__", docstring)
    with pytest.raises(SettingsError, match=message):
        section("kind", Kind)
