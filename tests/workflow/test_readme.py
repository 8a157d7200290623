"""What the pages say to type must work: every command is executed, and a new one wants an entry here that says how.

The pages are the README, that of the configuration and CONTRIBUTING.md. Blocks of their commands are marked ``sh``;
commands within a sentence are found by their first word.
"""

import ast
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml

from ehap.runtime.device import device_name, slug
from tests.workflow.conftest import GIT, ROOT, SMALL, copy_finished, copy_project, planned, run_in
from tests.workflow.test_run import CELL

PAGES = ("README.md", "config/README.md", "CONTRIBUTING.md", "docs/gpu_session.md")
STARTS = re.compile(r"(make|snakemake|dvc|pip|python|uv|pytest|git|docker|\.venv/bin/\S+) ")


@dataclass(frozen=True)
class Here:
    """Executed as written in a project of which the small run is done, as run ``demo`` and as run ``paper``."""

    says: str


@dataclass(frozen=True)
class Planned:
    """Snakemake plans it with the configuration that ships."""

    says: str


@dataclass(frozen=True)
class Recipe:
    """What make would do, as ``make --dry-run`` says it; too long, or for a network, to be done here."""

    says: str


@dataclass(frozen=True)
class Elsewhere:
    """Executed by a test of its own, which has the essential part of the command, or a constant of its file has."""

    test: str
    part: str


SHARED = "test_readme.py::test_a_run_is_shared_as_the_readme_says"
WHEEL = "../test_wheel.py::test_the_core_works_by_itself_and_quantization_comes_with_its_extra"
COMMANDS: dict[str, Here | Planned | Recipe | Elsewhere] = {
    "make demo": Here("In results/demo/tables:"),
    "make demo PYTHON=python3.12": Recipe('"python3.12" -m venv .venv'),
    "make paper": Here("In results/paper/tables:"),
    "make next": Here("Nothing to do."),
    "make report RUN=demo": Here("report/index.html"),
    "make snakemake-report": Here("Report created"),
    "make report RUN=paper": Here("report/index.html"),
    "make keep": Recipe("keep.py results/demo"),
    "make keep RUN=paper": Elsewhere("test_readme.py::test_kept_records_are_those_of_the_run", "make keep RUN=paper"),
    "make repro": Elsewhere(
        "test_sharing.py::test_dvc_repro_runs_what_a_changed_number_asks_for_and_no_more", '"repro"'
    ),
    "make test": Recipe('-m "not services"'),
    "make test-services": Recipe("-m services"),
    "make check": Recipe("lint-imports"),
    "make format": Recipe("ruff check --fix ."),
    "make docs": Here("settings_docs.py"),
    "make lock": Recipe("uv pip compile pyproject.toml"),
    "make install": Recipe("-r envs/dev.txt"),
    "python -m benchmarks": Elsewhere(
        "../benchmarks/test_runner.py::test_help_lists_every_benchmark_with_its_purpose", "[[], "
    ),
    "make bench-train": Recipe("python -m benchmarks train"),
    "make bench-reconstruct": Recipe("python -m benchmarks reconstruct"),
    "make bench-latency": Recipe("python -m benchmarks latency"),
    "make bench-deployed": Recipe("python -m benchmarks deployed"),
    "make bench-sums": Recipe("python -m benchmarks sums"),
    "make bench-widths": Recipe("python -m benchmarks widths"),
    "make bench-plan": Recipe("python -m benchmarks plan"),
    "make bench-trace": Recipe("python -m benchmarks trace"),
    "make bench-prune": Recipe("python -m benchmarks prune"),
    "make gpu-session ARGS=--rehearse": Recipe("\npython workflow_scripts/gpu_session.py --rehearse"),
    'make gpu-session PYTHON=python3 ARGS="--out gpu_session --wheels carried/wheels --data carried/data"': Recipe(
        '"python3" workflow_scripts/gpu_session.py --out gpu_session'
    ),
    'make gpu-session PYTHON=python3 ARGS="--out gpu_session --wheels carried/wheels '
    '--config config/cifar_runners.yaml --parts trainings"': Recipe(
        "--config config/cifar_runners.yaml --parts trainings"
    ),
    ".venv/bin/snakemake -n": Planned("pretrain"),
    ".venv/bin/snakemake --cores all --forcerun prune": Planned("prune"),
    ".venv/bin/snakemake --cores 8 results/paper/evaluate/cifar10/resnet32/seed0/hap/qat8/record.json": Planned("qat"),
    ".venv/bin/snakemake --cores all --until evaluate_dense evaluate_pruned": Planned("evaluate_pruned"),
    ".venv/bin/snakemake --cores all --until trace": Planned("trace"),
    ".venv/bin/snakemake --cores all --until evaluate_quantized": Planned("evaluate_quantized"),
    ".venv/bin/snakemake --cores all --until evaluate_dense evaluate_pruned evaluate_quantized": Planned(
        "evaluate_dense"
    ),
    ".venv/bin/snakemake --cores 2 --configfile config/cifar_rankings.yaml": Planned("trace"),
    ".venv/bin/snakemake --cores 2 --configfile config/cifar_runners.yaml": Planned("trace"),
    ".venv/bin/snakemake --cores 2 --configfile config/short_way.yaml": Planned("deploy"),
    ".venv/bin/snakemake --cores 2 --configfile config/training_free.yaml": Planned("reconstruct"),
    ".venv/bin/snakemake --workflow-profile profiles/slurm": Elsewhere(
        "cluster_runs.py::runs", '"--workflow-profile", "profiles/slurm"'
    ),
    ".venv/bin/snakemake --configfile config/demo.yaml": Here("Nothing to be done"),
    ".venv/bin/snakemake --configfile config/demo.yaml --config machine='{data_folder: /datasets}'": Here(
        "Nothing to be done"
    ),
    ".venv/bin/snakemake --unlock": Elsewhere(
        "test_sharing.py::test_a_run_that_was_killed_goes_on_after_an_unlock", '"--unlock"'
    ),
    ".venv/bin/python workflow_scripts/keep.py results/demo": Here("records in measurements/"),
    "pip install .": Elsewhere(WHEEL, '_install(python, wheel, "")'),
    'pip install ".[quantization]"': Elsewhere(WHEEL, '_install(python, wheel, "[quantization]")'),
    "pip install tensorboard": Elsewhere("test_run.py::test_tensorboard_reads_the_event_files", "tensorboard"),
    "pip install --no-deps -r envs/kubernetes.txt": Elsewhere(
        "test_profiles.py::test_a_grid_on_kubernetes_is_planned_with_every_file_in_the_shared_volume",
        "envs/kubernetes.txt",
    ),
    ".venv/bin/dvc remote add --default lab /nfs/lab/ehap": Elsewhere(SHARED, "_typed_in(here, add"),
    ".venv/bin/dvc remote modify lab verify true": Elsewhere(SHARED, "_typed_in(here, verify"),
    "make push RUN=demo": Elsewhere(SHARED, "_typed_in(here, push"),
    "make pull RUN=demo": Elsewhere(SHARED, "_typed_in(there, pull"),
    "make push RUN=demo REMOTE=lab": Recipe("ehap.workflow push demo --remote lab"),
    "make push": Recipe("ehap.workflow push demo"),
    "make push FORCE=1": Elsewhere("test_push.py::test_a_push_of_a_part_does_not_forget_the_rest", '"FORCE=1"'),
    "make pull": Recipe("ehap.workflow pull demo"),
    "make pull FORCE=1": Elsewhere("test_pull.py::test_what_was_made_here_since_stays_or_is_moved_aside", '"FORCE=1"'),
    "make pull REMOTE=…": Recipe("ehap.workflow pull demo --remote …"),
    "dvc pull": Elsewhere("test_sharing.py::test_a_damaged_object_in_the_cache_is_found_and_fetched_again", '"pull"'),
    "dvc checkout": Elsewhere(
        "test_sharing.py::test_a_damaged_object_in_the_cache_is_found_and_fetched_again", '"checkout"'
    ),
    ".venv/bin/dvc metrics diff HEAD~1": Elsewhere(
        "test_sharing.py::test_metrics_of_commits_are_compared_without_a_remote", '"metrics", "diff"'
    ),
    ".venv/bin/dvc remote modify --local lab keyfile ~/.ssh/id_ed25519": Elsewhere(
        "test_remotes.py::test_a_run_is_shared_by_ssh", '"keyfile"'
    ),
    ".venv/bin/dvc remote modify lab endpointurl https://…": Elsewhere(
        "test_remotes.py::test_a_run_is_shared_by_s3", '"endpointurl"'
    ),
}


def _blocks(page: str) -> list[tuple[str, str]]:
    """Return language and text of the fenced blocks of a page."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def _typed(page: str) -> Iterator[str]:
    """Yield the commands of a page: the lines of its ``sh`` blocks without comments, and those within sentences."""
    for language, text in _blocks(page):
        if language == "sh":
            yield from filter(None, (line.split(" #")[0].strip() for line in text.splitlines()))
    sentences = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", sentences))
    yield from filter(STARTS.match, spans)


def _plans(kind: type) -> list[str]:
    return [command for command, plan in COMMANDS.items() if isinstance(plan, kind)]


def _typed_in(folder: Path, command: str) -> str:
    """Execute a command with the tools of the environment that the test runs in; return what it says."""
    return run_in(folder, "bash", "-c", command.replace(".venv/bin/", ""))


def _with_make(folder: Path, ready: bool) -> Path:
    """Give a copy of the project what make needs; ``ready`` says that its environment is made."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    if ready:
        (folder / ".venv").mkdir()
        (folder / ".venv/.ready").touch()
    return folder


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project without results; its runs have one seed, so that a plan takes a third of the time."""
    folder = copy_project(tmp_path_factory.mktemp("shipped"))
    for path in (folder / "config").glob("*.yaml"):
        path.write_text(re.sub(r"^  seeds: \[0, .*\]", "  seeds: [0]", path.read_text(), flags=re.MULTILINE))
    return _with_make(folder, ready=False)


@pytest.fixture(scope="module")
def done(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose demo, and whose paper's grid, are the small run, which is done."""
    folder = tmp_path_factory.mktemp("done") / "project"
    copy_finished(finished, folder)
    for config, name in (("demo", "demo"), ("config", "paper")):
        (folder / f"config/{config}.yaml").write_text(yaml.safe_dump(SMALL))
        (folder / "results" / name).symlink_to("small")
    return _with_make(folder, ready=True)


def test_every_command_of_the_pages_is_known_here() -> None:
    typed = {command for page in PAGES for command in _typed(page)}
    assert typed == set(COMMANDS)
    languages = {language for page in PAGES for language, _ in _blocks(page)}
    assert languages <= {"sh", "python", "yaml", "mermaid", "text"}  # in a block of none, a command would not be seen


@pytest.mark.parametrize("command", _plans(Here))
def test_a_command_works_on_the_small_run(command: str, done: Path) -> None:
    plan = COMMANDS[command]
    assert isinstance(plan, Here)
    assert plan.says in _typed_in(done, command)


@pytest.mark.parametrize("command", _plans(Planned))
def test_a_run_of_the_configurations_that_ship_is_planned(command: str, shipped: Path) -> None:
    plan = COMMANDS[command]
    assert isinstance(plan, Planned)
    said = _typed_in(shipped, f"{command} --dry-run")
    assert re.search(rf"^{plan.says} +[1-9]\d*$", said, re.MULTILINE), said


@pytest.mark.parametrize("command", _plans(Recipe))
def test_make_knows_what_to_do(command: str, shipped: Path) -> None:
    plan = COMMANDS[command]
    assert isinstance(plan, Recipe)
    assert plan.says in _typed_in(shipped, f"{command} --dry-run")


def test_a_session_on_a_gpu_makes_no_environment(shipped: Path) -> None:
    assert "venv" not in _typed_in(shipped, "make gpu-session PYTHON=python3 --dry-run")
    assert '"python3" -m venv .venv' in _typed_in(shipped, "make gpu-session --dry-run")


@pytest.mark.parametrize("command", _plans(Elsewhere))
def test_a_test_of_its_own_has_the_command(command: str) -> None:
    plan = COMMANDS[command]
    assert isinstance(plan, Elsewhere)
    name, test = plan.test.split("::")
    source = (Path(__file__).parent / name).read_text()
    nodes = ast.parse(source).body
    (function,) = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == test]
    own = [function, *function.decorator_list, *(node for node in nodes if isinstance(node, ast.Assign))]
    assert any(plan.part in (ast.get_source_segment(source, node) or "") for node in own)


def test_kept_records_are_those_of_the_run(done: Path) -> None:
    _typed_in(done, "make keep RUN=paper")
    kept = done / "measurements" / slug(device_name(torch.device("cpu"))) / "paper"
    record = f"evaluate/{CELL}/hap/record.json"
    assert (kept / record).read_bytes() == (done / "results/small" / record).read_bytes()
    assert not list(kept.rglob("*.safetensors"))
    _typed_in(done, "python workflow_scripts/keep.py results/paper --networks")
    weights = f"pretrain/{CELL}/model.safetensors"
    assert [path.relative_to(kept) for path in kept.rglob("*.safetensors")] == [Path(weights)]
    assert (kept / weights).read_bytes() == (done / "results/small" / weights).read_bytes()


def test_a_run_is_shared_as_the_readme_says(clone: Path, tmp_path: Path) -> None:
    """The block of the README, up to the push in one clone, and its pull in another."""
    (block,) = (text for language, text in _blocks("README.md") if language == "sh" and "remote add" in text)
    add, verify, push, pull = (line.split(" #")[0].strip() for line in block.splitlines())
    here = _with_make(clone, ready=True)
    _typed_in(here, add.replace("/nfs/lab/ehap", str(tmp_path / "lab")))
    _typed_in(here, verify)
    _typed_in(here, push.replace("demo", "small"))
    assert list((tmp_path / "lab").rglob("*.dir"))  # it has gone there
    run_in(here, *GIT, "commit", "--quiet", "--all", "--message", "pushed")
    run_in(tmp_path, *GIT, "clone", "--quiet", str(here), "there")
    there = _with_make(tmp_path / "there", ready=True)
    _typed_in(there, pull.replace("demo", "small"))
    assert planned(there) == {}
