"""Write config/SETTINGS.md, every setting with its default and meaning, and config/schema.json, which editors read."""

import json
import sys
from pathlib import Path

from ehap.errors import EhapError
from ehap.runtime.files import write_atomically
from ehap.settings.documentation import as_markdown
from ehap.settings.schema import as_schema

CONFIG = Path(__file__).parents[1] / "config"
try:
    write_atomically(CONFIG / "SETTINGS.md", as_markdown().encode())
    write_atomically(CONFIG / "schema.json", (json.dumps(as_schema(), indent=1, ensure_ascii=False) + "\n").encode())
except EhapError as error:
    sys.exit(f"error: {error}")
