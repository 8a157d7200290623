"""What a run from nothing makes, for every state that is asked for."""

import json
import shutil
from pathlib import Path

from filelock import FileLock

from tests.workflow.random_runs.grid import START, State, write_state
from tests.workflow.random_runs.project import Project, copy_of

WITHOUT_EFFECT = ("threads",)


class References:
    """Runs from nothing, each made once.

    Args:
        folder: Where they are noted; several processes may share it.
        template: The project with stubs, without results.
    """

    def __init__(self, folder: Path, template: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.template, self.made = folder, template, 0

    def of(self, state: State) -> dict[str, str]:
        """Return the SHA-256 of every file by path, after a run from nothing."""
        path = self._place(state)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                self._make(path, state)
        found: dict[str, str] = json.loads(path.read_text())
        return found

    def has(self, state: State) -> bool:
        """Say whether there is one already."""
        return self._place(state).exists()

    def _place(self, state: State) -> Path:
        changed = {name: value for name, value in state.items() if value != START[name] and name not in WITHOUT_EFFECT}
        name = "-".join(f"{key}{value}".replace(" ", "") for key, value in sorted(changed.items())) or "start"
        return self.folder / f"{name}.json"

    def _make(self, path: Path, state: State) -> None:
        folder = path.with_suffix("")
        shutil.rmtree(folder, ignore_errors=True)
        project: Project = copy_of(self.template, folder)
        write_state(folder, state)
        ended = project.run()
        assert ended.code == 0, ended.said
        path.write_text(json.dumps(project.contents()))
        shutil.rmtree(folder)
        self.made += 1
