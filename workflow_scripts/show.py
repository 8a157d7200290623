"""Print a run's main table and where the others are."""

import sys
from pathlib import Path

tables = Path(sys.argv[1]) / "tables"
print("\n" + (tables / "overview.md").read_text())
page = tables.with_name("report") / "index.html"
if page.exists():
    print(f"All of it as one page, for a browser: {page}")
for folder in (tables, tables.with_name("further")):
    if folder.is_dir():
        print(f"In {folder}:")
        print("  " + "  ".join(path.name for path in sorted(folder.iterdir())))
