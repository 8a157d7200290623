"""Every record, to be searched and opened."""

from math import isnan, nan

from ehap.report.blocks import Cell, Row, Section, Table
from ehap.report.cells import nothing
from ehap.report.material import Material
from ehap.results.format import duration


def records_section(material: Material) -> Section:
    """Return every record, to be searched and opened."""
    rows = []
    for index, (path, record) in enumerate(material.records):
        said = [f"{record.get(key, '')}" for key in ("stage", "dataset", "model", "method", "scheme", "curvature")]
        seconds = float(record.get("duration_s", nan))
        cells = (
            *(Cell(text) for text in said),
            Cell(str(record.get("seed", "")), record.get("seed", -1)),
            Cell("" if isnan(seconds) else duration(seconds), 0.0 if isnan(seconds) else seconds),
            Cell(str(record.get("device", ""))),
            Cell(path, path, (index,)),
        )
        rows.append(Row(cells, said[1], said[2], said[3]))
    columns = ("stage", "dataset", "model", "method", "scheme", "curvature", "#seed", "#time", "device", "record")
    lead = "Every number above comes from one of these records: values, settings, seed, code digest and versions."
    table = Table("records", f"{len(rows)} records", columns, rows)
    return Section("records", "Records", lead, [table] if rows else [nothing(material, "prepare")])
