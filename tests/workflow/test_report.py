"""What Snakemake itself shows of a run: its report, and the picture of the rules in the README."""

import re
import subprocess
from pathlib import Path

from tests.workflow.conftest import ROOT, snakemake_in
from tests.workflow.warm_python import warm_python


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
    made = {path.stem for path in (project / "results/small").rglob("*.*")} | {"workflow"}
    captions = {path.stem: path.read_text() for path in (project / "rules/report").glob("*.rst")}
    assert set(captions) - made == {
        "training_free",
        "training_free_images",
        "deployment",
        "latency",
        "precisions",
    }  # this run has none
    for name in set(captions) & made:
        assert captions[name].split(":")[0].split(",")[0].split("\n")[0] in page, name
    for name in ("Tables", "Pictures", "pruned_accuracy", "accuracy_by_size", "kept_shares", "digits"):
        assert name in page
    assert not re.findall(r"<(?:script|link)[^>]*(?:src|href)=.https?:", page)  # self-contained


def test_the_picture_of_the_rules_in_the_readme_is_that_of_the_workflow() -> None:
    found = set()
    for config in ("demo", "short_way"):  # that have all rules together
        command = [
            warm_python(),
            "-m",
            "snakemake",
            "--rulegraph",
            "mermaid-js",
            "--configfile",
            f"config/{config}.yaml",
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert _edges(done.stdout)
        found |= _edges(done.stdout)
    readme = (ROOT / "README.md").read_text()
    shown = readme[readme.index("```mermaid") :].split("```")[1]
    assert _edges(shown) == found
