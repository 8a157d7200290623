"""Print the main table of a run and the places of the others."""

import sys
from pathlib import Path

tables = Path(sys.argv[1]) / "tables"
print("\n" + (tables / "overview.md").read_text())
page = tables.with_name("report") / "index.html"
if page.exists():
    print(f"The page of all results, for a browser: {page}")
for folder in (tables, tables.with_name("further")):
    if folder.is_dir():
        print(f"In {folder}:")
        print("  " + "  ".join(path.name for path in sorted(folder.iterdir())))
