"""The package as an index gives it: sdist and wheel, and what pip installs from them in a new environment."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ehap.workflow.digest import PIN

pytestmark = pytest.mark.minutes

ROOT = Path(__file__).parents[1]
CORE = {"ehap", "numpy", "safetensors", "tqdm"}
FROM_VENV = {"pip", "setuptools"}
OF_QUANTIZATION = {"torchao", "onnx", "onnxscript", "onnxruntime", "scipy"}
OF_OTHERS = {"torchvision", "scikit-learn", "pandas", "snakemake", "dvc"}


def _run(*command: str | Path, folder: Path) -> str:
    """Return what a command prints, warnings included; it sees nothing of this repository."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _sources() -> list[str]:
    """Return the files of the repository, those included that are not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an sdist and of the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    for name in _sources():
        copy = folder / "sources" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", "sources", folder=folder)
    return folder / "dist"


def _only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def test_an_index_takes_both(built: Path) -> None:
    files = sorted(built.iterdir())
    assert [path.suffix for path in files] == [".whl", ".gz"]
    said = _run(sys.executable, "-m", "twine", "check", "--strict", *files, folder=built)
    assert said.count("PASSED") == len(files)


def test_the_wheel_holds_the_package_and_no_more(built: Path) -> None:
    with zipfile.ZipFile(_only(built, "*.whl")) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {name for name in _sources() if name.startswith("ehap/")}
    assert {"ehap/py.typed", "ehap/__init__.pyi", "ehap/report/assets/page.js"} <= names


def test_the_sdist_holds_what_the_wheel_is_built_from(built: Path) -> None:
    with tarfile.open(_only(built, "*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in _sources() if name.startswith("ehap/")} <= names
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names


def _with_requirements(name: str, extras: frozenset[str] = frozenset()) -> Iterator[Distribution]:
    """Yield an installed package and all that it requires, packages several times."""
    found = distribution(name)
    yield found
    for requirement in map(Requirement, found.requires or []):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            yield from _with_requirements(requirement.name, frozenset(requirement.extras))


def _borrow(name: str, folder: Path) -> None:
    """Fill a folder with links to a package that is installed here, and to what it requires."""
    folder.mkdir()
    for each in _with_requirements(name):
        for part in {file.parts[0] for file in each.files or []} - {"..", "__pycache__"}:
            if not (folder / part).is_symlink():
                (folder / part).symlink_to(Path(str(each.locate_file(part))))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a new environment that has torch; its gigabytes are borrowed from this one."""
    folder = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", folder / "venv", folder=folder)
    _borrow("torch", folder / "borrowed")
    (_packages(folder / "venv") / "borrowed.pth").write_text(f"{folder / 'borrowed'}\n")
    pins = (PIN.match(line) for line in (ROOT / "envs/lock.txt").read_text().splitlines())
    (folder / "constraints.txt").write_text("".join(f"{pin[0].strip()}\n" for pin in pins if pin))
    return folder / "venv/bin/python"


def _packages(venv: Path) -> Path:
    return _only(venv, "lib/python*/site-packages")


def _installed(venv: Path) -> set[str]:
    """Return the names of what pip has put into an environment."""
    found = distributions(path=[str(_packages(venv))])
    return {canonicalize_name(each.metadata["Name"]) for each in found} - FROM_VENV


def _install(python: Path, wheel: Path, extra: str) -> None:
    pinned = ["--only-binary", ":all:", "--constraint", python.parents[2] / "constraints.txt"]
    _run(python, "-m", "pip", "install", "--quiet", *pinned, f"{wheel}{extra}", folder=wheel.parent)


def test_the_core_works_by_itself_and_quantization_comes_with_its_extra(
    built: Path, python: Path, tmp_path: Path
) -> None:
    venv, wheel, script = python.parents[1], _only(built, "*.whl"), ROOT / "tests/front_door.py"
    (tmp_path / "readme.py").write_text(_lines_of_the_readme())
    _install(python, wheel, "")
    assert _installed(venv) == CORE
    said = _run(python, "-I", script, "core", tmp_path, folder=tmp_path)
    assert said.splitlines()[-1] == f"core works: {_packages(venv) / 'ehap'}"
    _install(python, wheel, "[quantization]")
    assert _installed(venv) >= CORE | OF_QUANTIZATION
    assert not _installed(venv) & OF_OTHERS
    said = _run(python, "-I", script, "all", tmp_path, folder=tmp_path)
    assert said.splitlines()[-1] == f"all works: {_packages(venv) / 'ehap'}"


def _lines_of_the_readme() -> str:
    (lines,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return str(lines)
