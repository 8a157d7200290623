"""The form of a benchmark: its arguments, its parts and its page."""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas
import torch

from ehap.runtime.device import choose_device, device_name

Row = dict[str, Any]
"""Column to value; one line of a table."""

Tables = Mapping[str, pandas.DataFrame]
"""Ending of a table's name to the table, which is empty until its first part is measured."""


@dataclass(frozen=True)
class Part:
    """One part of a benchmark; the tables are written after each.

    label: Unique name of the part; the page lists the labels that are missing.
    measure: Returns the rows of the part.
    table: Ending of the table's name that takes the rows.
    """

    label: str
    measure: Callable[[], list[Row]]
    table: str = ""


class Benchmark(ABC):
    """A benchmark, made from its checked arguments.

    ``rows`` has the rows of all parts so far, of this run and of one that it goes on from.

    Raises:
        EhapError: On creation, where arguments contradict each other or the machine.
    """

    name: ClassVar[str]
    """Name of the files, without ``bench_``; ``--name`` overrides it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.device: torch.device = choose_device(args.device, args.threads)
        self.device_name: str = device_name(self.device)
        self.rows: list[Row] = []

    @staticmethod
    @abstractmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Add the benchmark's own arguments; ``device`` and ``threads`` are always among them."""

    @abstractmethod
    def parts(self) -> list[Part]:
        """Return the parts to measure, in order."""

    @abstractmethod
    def title(self) -> str:
        """Return the heading of the page."""

    def about(self, tables: Tables) -> str:
        """Describe the numbers of the tables."""
        return ""

    def figures(self, tables: Tables) -> dict[str, bytes]:
        """Return the pictures of the tables: ending of the file name to SVG."""
        return {}
