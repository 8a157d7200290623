"""Write config/SETTINGS.md: every setting with its values, default and meaning."""

import sys
from pathlib import Path

from ehap.errors import EhapError
from ehap.runtime.files import write_atomically
from ehap.settings.documentation import as_markdown

try:
    write_atomically(Path(__file__).parents[1] / "config/SETTINGS.md", as_markdown().encode())
except EhapError as error:
    sys.exit(f"error: {error}")
