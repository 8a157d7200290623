"""What a test reads from sections: tables, rows, texts and the records behind a cell."""

from ehap.report import Material
from ehap.report.blocks import Cell, Finding, Row, Section, Table
from ehap.report.curves import curves_section
from ehap.report.integers import integers_section
from ehap.report.latency import latency_section
from ehap.report.networks import networks
from ehap.report.overview import networks_section
from ehap.report.paper import paper_section
from ehap.report.published import published_section
from ehap.report.records import records_section
from ehap.report.repair import repair_section
from ehap.report.schemes import schemes_section
from ehap.report.settings import settings_section
from ehap.report.shapes import shapes_section
from ehap.report.traces import traces_section


def table_of(section: Section, name: str) -> Table:
    found = [block for block in section.blocks if isinstance(block, Table) and block.name == name]
    assert len(found) == 1, [block for block in section.blocks if isinstance(block, Table)]
    return found[0]


def texts(row: Row) -> list[str]:
    return [cell.text.replace("\u00a0", " ") for cell in row.cells]


def row_of(table: Table, *starts: str) -> Row:
    found = [row for row in table.rows if all(text in texts(row) for text in starts)]
    assert len(found) == 1, [texts(row) for row in table.rows]
    return found[0]


def paths_of(material: Material, cell: Cell) -> list[str]:
    return [material.records[number][0].split("/tiny/")[1] for number in cell.sources]


def findings_of(material: Material) -> list[Finding]:
    section = published_section(material, networks(material))
    return [block for block in section.blocks if isinstance(block, Finding)]


def sections_of(material: Material) -> list[Section]:
    found = networks(material)
    whole = (networks_section, repair_section, published_section)
    parts = (traces_section, settings_section, shapes_section, curves_section, schemes_section, integers_section)
    parts += (latency_section,)
    sections = [*(make(material, found) for make in whole), *(make(material) for make in (*parts, records_section))]
    return [paper_section(material)[0], *sections]
