"""Which colour a method has: the same in every picture of the page."""

from ehap.report.material import Material
from ehap.report.text import family
from ehap.settings.names import DENSE


def colours_of(material: Material) -> dict[str, int]:
    """Return method family to the number of its colour; the dense network first."""
    named = [family(str(method)) for method in material.values["method"].unique() if method and method != DENSE]
    return {name: index for index, name in enumerate(dict.fromkeys([DENSE, *named]))}
