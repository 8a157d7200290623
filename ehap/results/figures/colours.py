"""The colours of charts: names that the page's themes define, and their values for files."""

import re
from typing import Any

COLOURS = 10
LIGHT = {
    "card": "#ffffff",
    "text": "#1b2430",
    "muted": "#5d6977",
    "line": "#e3e7ec",
    "track": "#e1e6ed",
    **dict(
        zip(
            (f"c{index}" for index in range(COLOURS)),
            (
                "#4d5866",
                "#0072b2",
                "#009e73",
                "#d55e00",
                "#b4649a",
                "#3d97d3",
                "#b57d00",
                "#7b6d3f",
                "#332288",
                "#a82255",
            ),
            strict=True,
        )
    ),
}
"""The page's light theme; the first of the numbered colours is that of the dense network."""
NAMED = re.compile(r"var\(--(\w+)\)")
MIXED = re.compile(r"color-mix\(in oklab, (#\w{6}) (\d+)%, (#\w{6})\)")
TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
FROM_CONES = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)
"""Linear sRGB to the cones' responses and back. Source: Ottosson 2020, https://bottosson.github.io/posts/oklab/."""


def colour(index: int) -> str:
    """Return the theme's colour of that number; beyond the last one, the same colours again, nearer to the text's."""
    plain, again = f"var(--c{index % COLOURS})", index // COLOURS
    return f"color-mix(in oklab, {plain} {100 / (1 + again):.0f}%, var(--text))" if again else plain


def resolved(value: Any) -> Any:
    """Return a specification with the colours of the light theme instead of their names."""
    if isinstance(value, dict):
        return {key: resolved(each) for key, each in value.items()}
    if isinstance(value, list):
        return [resolved(each) for each in value]
    if not isinstance(value, str) or "var(--" not in value:
        return value
    plain = NAMED.sub(lambda found: LIGHT[found[1]], value)
    return MIXED.sub(lambda found: _mixed(found[1], int(found[2]) / 100, found[3]), plain)


def _mixed(one: str, share: float, other: str) -> str:
    """Return the mixture of two colours in Oklab, whose axes are linear in the cube roots of the cones' responses."""
    roots = [[value ** (1 / 3) for value in _product(TO_CONES, _linear(each))] for each in (one, other)]
    mixture = [(share * first + (1 - share) * second) ** 3 for first, second in zip(*roots, strict=True)]
    return "#" + "".join(f"{_coded(value):02x}" for value in _product(FROM_CONES, mixture))


def _product(matrix: Any, vector: list[float]) -> list[float]:
    return [sum(one * other for one, other in zip(row, vector, strict=True)) for row in matrix]


def _linear(code: str) -> list[float]:
    shares = [int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]  # noqa: PLR2004 (sRGB)


def _coded(value: float) -> int:
    share = min(max(value, 0.0), 1.0)
    return round(255 * (12.92 * share if share <= 0.0031308 else 1.055 * share ** (1 / 2.4) - 0.055))  # noqa: PLR2004 (sRGB)
