"""Steps that ride in one job of a cluster: a step that fails takes none of the finished ones with it."""

import copy
from collections import Counter
from pathlib import Path

import pytest

from tests.workflow.cluster_runs import HANGS, SAID, copied_with_environment, runs
from tests.workflow.conftest import SMALL, write_config
from tests.workflow.slurm import jobs_done, missing, slurm
from tests.workflow.test_run import CELL

EVALUATED = f"results/small/evaluate/{CELL}/dense/record.json"
FAILS_ONCE = """
marker = Path("failed-once")
if not marker.exists():
    marker.touch()
    raise SystemExit("error: this step fails once.")
"""
COUNTS = """    with open("trainings.txt", "a") as journal:
        journal.write("one more\\n")
"""


@pytest.mark.minutes
@pytest.mark.services
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_training_that_has_ended_outlives_the_evaluation_behind_it_in_its_job(tmp_path: Path) -> None:
    project = copied_with_environment(tmp_path / "a user's grid")
    write_config(project, copy.deepcopy(SMALL) | {"machine": {"device": "auto"}})
    script = project / "workflow_scripts/evaluate.py"
    script.write_text(script.read_text().replace("execute(", f"from pathlib import Path\n{FAILS_ONCE}\nexecute(", 1))
    loop = project / "ehap/training/loop.py"
    begin = "    run = _Run("
    assert begin in loop.read_text()
    loop.write_text(loop.read_text().replace(begin, COUNTS + begin, 1))
    (tmp_path / "slurm").mkdir()
    with slurm(tmp_path / "slurm", cpus=4), runs() as start:
        assert start(project, EVALUATED).wait(HANGS) == 0, (project / SAID).read_text()
        ended = Counter(job["JobState"] for job in jobs_done(tmp_path / "slurm"))
    assert ended == {"COMPLETED": 2, "FAILED": 1}  # prepare and, at the second attempt, pretrain with evaluate_dense
    assert (project / EVALUATED).exists()
    assert (project / "trainings.txt").read_text() == "one more\n"
