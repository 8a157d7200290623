"""Profiles and environments, as far as they can be checked without a cluster, a registry or a conda channel."""

import ast
import os
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import snakemake
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.workflow.conftest import ROOT, SMALL, copy_project, planned, without_messages, write_config

SITE = Path(snakemake.__file__).parents[1]
KUBERNETES = ROOT / ".kubernetes"  # .ci/run installs envs/kubernetes.txt there
SLURM = ("--workflow-profile", "profiles/slurm")


def _yaml(path: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / path).read_text())
    return loaded


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _pins(name: str) -> dict[str, set[str]]:
    """Return the versions that a lock file has of each package; several where they depend on Python's."""
    pins: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "envs" / name).read_text(), re.MULTILINE):
        pins.setdefault(package.lower().replace("_", "-"), set()).add(version)
    return pins


def test_planning_the_paper_takes_time_in_proportion_to_its_jobs(tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    config = _yaml("config/config.yaml")
    taken = []
    for seeds in ([0], [0, 1, 2, 3, 4]):
        config["grid"]["seeds"] = seeds
        write_config(folder, config)
        begin = _processor_seconds()
        jobs = planned(folder, *SLURM, python=sys.executable)  # a child, whose time counts
        taken.append(_processor_seconds() - begin)
    assert taken[1] < 6 * taken[0]  # were it their square, some twenty times
    assert jobs["pretrain"] == 30
    assert jobs["trace"] == 150
    assert jobs["finetune"] == 240
    assert jobs["qat"] == 3 * 240
    assert jobs["deploy"] == 2 * 240  # not the networks in float
    assert sum(jobs.values()) > 2500


@pytest.mark.skipif(not KUBERNETES.exists(), reason="needs envs/kubernetes.txt, installed into .kubernetes")
def test_a_grid_on_kubernetes_is_planned_with_every_file_in_the_shared_volume(tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    write_config(folder, SMALL | {"machine": {"device": "auto"}})
    without_messages(folder)
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--workflow-profile", "profiles/kubernetes"]
    environment = os.environ | {"PYTHONPATH": f"{folder}:{KUBERNETES}"}
    done = subprocess.run(
        [*command, "--configfile", "run.yaml"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = re.findall(r"^ *output: (.*)$", done.stdout + done.stderr, re.MULTILINE)
    assert len(outputs) == sum(
        count for rule, count in planned(folder, "--configfile", "run.yaml").items() if rule != "all"
    )
    assert all(path.startswith("/shared/ehap/results/small/") for line in outputs for path in line.split(", "))
    (resources,) = (line for line in (done.stdout + done.stderr).splitlines() if "mem_mb=8000" in line)  # the traces
    assert "gpu_manufacturer=nvidia, scale=0, gpu=1" in resources


@pytest.mark.parametrize("profile", ["slurm", "kubernetes"])
def test_the_groups_of_a_cluster_are_of_rules_there_are(profile: str) -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    rules = set(re.findall(r"^(?:rule|use rule \w+ as) (\w+)", text, re.M))
    settings = _yaml(f"profiles/{profile}/config.yaml")
    assert set(settings.get("groups", {})) < rules
    assert ("groups" in settings) == (profile == "slurm")  # a pod's disk, with what was kept, goes with the pod
    always = {"max-checksum-file-size", "rerun-incomplete", "keep-going", "show-failed-logs"}
    default = _yaml("profiles/default/config.yaml")
    assert {key: settings[key] for key in always} == {key: default[key] for key in always}


@pytest.mark.parametrize(
    ("profile", "packages"),
    [
        ("default", SITE),
        ("slurm", SITE),
        pytest.param(
            "kubernetes",
            KUBERNETES,
            marks=pytest.mark.skipif(
                not KUBERNETES.exists(), reason="needs envs/kubernetes.txt, installed into .kubernetes"
            ),
        ),
    ],
)
def test_every_option_of_a_profile_is_read_by_somebody(profile: str, packages: Path) -> None:
    """An option that a plugin declares and never looks at is accepted, and does nothing."""
    settings = _yaml(f"profiles/{profile}/config.yaml")
    executor = settings.get("executor", "local")
    own = {key for key in settings if key.startswith(f"{executor}-")}
    read = _names_read(SITE / "snakemake")
    assert _fields(set(settings) - own) <= read
    if executor == "local":
        return
    of_plugin = _names_read(packages / f"snakemake_executor_plugin_{executor}")
    assert _fields({key.removeprefix(f"{executor}-") for key in own}) <= of_plugin
    assert set(settings["default-resources"]) <= of_plugin | {"mem_mb", "runtime"}


def _fields(options: set[str]) -> set[str]:
    return {option.replace("-", "_") for option in options}


def _names_read(package: Path) -> set[str]:
    """Return the names of attributes and keys that the code of a package reads somewhere."""
    nodes = [node for path in package.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    assert nodes
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    given = [argument for call in calls for argument in call.args if isinstance(argument, ast.Constant)]
    return read | {argument.value for argument in given if isinstance(argument.value, str)}


def test_the_locks_have_what_the_package_asks_for_and_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lock, dev = _pins("lock.txt"), _pins("dev.txt")
    extras = project["project"]["optional-dependencies"]
    of_results = [line for extra in ("quantization", "report", "workflow", "openvino") for line in extras[extra]]
    of_others = [line for lines in extras.values() for line in lines]
    for lines, pins in (
        ([*project["project"]["dependencies"], *of_results], lock),
        ([*of_others, *project["dependency-groups"]["dev"]], dev),
    ):
        for requirement in map(Requirement, lines):
            if requirement.name == "ehap":  # an extra that holds others
                assert requirement.extras <= set(extras)
                continue
            versions = pins[requirement.name.lower()]
            assert all(requirement.specifier.contains(version) for version in versions), requirement
    assert {name: dev.get(name) for name in lock} == lock


def test_conda_and_the_container_install_the_lock_on_a_python_that_the_package_allows() -> None:
    conda = _yaml("envs/ehap.yaml")
    *packages, pip = conda["dependencies"]
    (python,) = (line.removeprefix("python=") for line in packages if line.startswith("python="))
    assert "pip" in packages
    assert conda["channels"] == ["conda-forge"]
    assert pip == {"pip": ["-r lock.txt"]}  # beside the file, as conda reads it
    container = (ROOT / "envs/Dockerfile").read_text()
    assert f"FROM python:{python}-slim" in container
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert SpecifierSet(needed).contains(f"{python}.0")
    copied = [name for line in re.findall(r"^COPY (.*)$", container, re.M) for name in line.split()[:-1]]
    assert "envs/lock.txt" in copied
    assert all((ROOT / name).exists() for name in copied)


def test_what_kubernetes_needs_contradicts_no_pin_of_the_lock() -> None:
    lock, beside = _pins("lock.txt"), _pins("kubernetes.txt")
    assert "snakemake-executor-plugin-kubernetes" in beside
    assert {name: lock[name] for name in set(lock) & set(beside)} == {
        name: beside[name] for name in set(lock) & set(beside)
    }
