"""Records to one long table: a row for each value of each record."""

from collections.abc import Iterable
from pathlib import Path

import pandas

from ehap.records import read_record
from ehap.results.former import current
from ehap.results.order import TIMED
from ehap.runtime.progress import logger

CELL = ["dataset", "model", "method", "scheme", "curvature"]
WHERE = ["stage", *CELL, "seed", "device", "instructions"]
COLUMNS = [*WHERE, "quantity", "unit", "value"]


def collect(paths: Iterable[Path]) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Read records, in today's words.

    Of several records of one network, stage and device the first counts; the log names the others.

    Args:
        paths: A run's own records before those of other runs: each network counts once in a mean over seeds.

    Returns:
        values: COLUMNS; one row a value, empty text where a record has no such field.
        settings: WHERE, setting, value; one row a setting.

    Raises:
        DataError: A record is missing or not JSON.
    """
    values, settings = [], []
    first: dict[tuple[object, ...], Path] = {}
    for path in paths:
        record = current(read_record(path))
        where = {key: record.get(key, "") for key in WHERE}
        timed = where["stage"] in TIMED  # elsewhere processors of one name are one device
        known = first.setdefault((*(where[key] for key in WHERE[:-1]), where["instructions"] if timed else ""), path)
        if known is not path:
            if known.read_bytes() != path.read_bytes():
                logger.warning("%s is left out: %s is of the same network, stage and device", path, known)
            continue
        for quantity, item in record["values"].items():
            values.append({**where, "quantity": quantity, "unit": item["unit"], "value": item["value"]})
        settings += [{**where, "setting": name, "value": value} for name, value in record["settings"].items()]
    return (
        pandas.DataFrame(values, columns=COLUMNS),
        pandas.DataFrame(settings, columns=[*WHERE, "setting", "value"]),
    )


def over_seeds(values: pandas.DataFrame) -> pandas.DataFrame:
    """Return mean, sample standard deviation (NaN for one seed) and n over seeds; devices are never mixed."""
    keys = [*CELL, "device", "quantity", "unit"]
    grouped = values.groupby(keys, sort=False)["value"].agg(mean="mean", std="std", n="count")
    return grouped.reset_index()
