"""Write config/SETTINGS.md: every setting with its values, default and meaning."""

from pathlib import Path

from ehap.settings.documentation import as_markdown

(Path(__file__).parents[1] / "config/SETTINGS.md").write_text(as_markdown(), encoding="utf-8")
