"""What Snakemake itself shows of a run: its report, and the picture of the rules in the README."""

import re
import subprocess
import sys
from pathlib import Path

from tests.workflow.conftest import ROOT, snakemake_in


def _edges(text: str) -> set[tuple[str, str]]:
    names = dict(re.findall(r"(\w+)\[(\w+)\]", text))
    pairs = [
        (first, one)
        for first, several in re.findall(r"(\w+) --> (\w+(?: & \w+)*)", text)
        for one in several.split(" & ")
    ]
    return {(names.get(first, first), names.get(second, second)) for first, second in pairs}


def test_the_report_holds_every_table_and_picture_with_its_caption(project: Path) -> None:
    result = snakemake_in(project, "--report", "results/small/snakemake_report.html")
    assert result.returncode == 0, result.stdout + result.stderr
    page = (project / "results/small/snakemake_report.html").read_text()
    for caption in sorted((project / "rules/report").glob("*.rst")):
        first = caption.read_text().split(":")[0].split(",")[0].split("\n")[0]
        assert first in page, caption.name
    for name in ("Tables", "Pictures", "pruned_accuracy", "accuracy_by_size", "kept_shares", "digits"):
        assert name in page
    assert not re.findall(r"<(?:script|link)[^>]*(?:src|href)=.https?:", page)  # self-contained


def test_the_picture_of_the_rules_in_the_readme_is_that_of_the_workflow() -> None:
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js", "--configfile", "config/demo.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    readme = (ROOT / "README.md").read_text()
    shown = readme[readme.index("```mermaid") :].split("```")[1]
    assert _edges(done.stdout)
    assert _edges(shown) == _edges(done.stdout)
