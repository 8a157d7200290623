"""Charts of results, one module a kind: the page embeds them, ``svg`` writes them as files."""

from ehap.results.figures.rendering import svg

__all__ = ["svg"]
