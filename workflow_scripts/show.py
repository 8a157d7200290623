"""Print a run's main table and where the others are."""

import sys
from pathlib import Path

tables = Path(sys.argv[1]) / "tables"
print("\n" + (tables / "overview.md").read_text())
print(f"All tables, in {tables}:")
print("  " + "  ".join(path.name for path in sorted(tables.iterdir())))
