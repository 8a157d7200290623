"""Print a run's main table and where the others are."""

import sys
from pathlib import Path

tables = Path(sys.argv[1]) / "tables"
print("\n" + (tables / "overview.md").read_text())
for folder in (tables, tables.with_name("further")):
    if folder.is_dir():
        print(f"In {folder}:")
        print("  " + "  ".join(path.name for path in sorted(folder.iterdir())))
