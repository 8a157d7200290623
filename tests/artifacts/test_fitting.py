"""Curves of a training beside its results."""

import subprocess
import sys
from pathlib import Path

from ehap.artifacts.fitting import event_writer
from ehap.records import Identity
from ehap.training import Epoch

CELL = Identity(stage="pretrain", dataset="digits", model="resnet20", seed=0)
EPOCH = Epoch(epoch=1, learning_rate=0.1, train_loss=1.0, train_accuracy=10.0, test_accuracy=10.0, seconds=1.0)
FULL = """
import logging, resource, sys, time
from pathlib import Path
from ehap.artifacts.fitting import event_writer
from tests.artifacts.test_fitting import EPOCH, CELL
logging.getLogger("ehap").addHandler(logging.StreamHandler())
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
with event_writer(Path(sys.argv[1]), CELL) as report:
    for _ in range(200):
        report(EPOCH)
print("the training is done")
"""


def test_event_files_lie_in_the_folder_of_the_job(tmp_path: Path) -> None:
    with event_writer(tmp_path, CELL) as report:
        assert report is not None
        report(EPOCH)
    (file,) = tmp_path.rglob("events.out.*")
    assert file.parent == tmp_path / "pretrain/digits/resnet20/seed0"
    assert b"test_accuracy" in file.read_bytes()
    with event_writer(None, CELL) as nothing:
        assert nothing is None


def test_a_training_goes_on_where_its_curves_cannot_be_written(tmp_path: Path) -> None:
    for limit in ("0", "500"):
        command = [sys.executable, "-W", "ignore", "-c", FULL, str(tmp_path), limit]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "the training is done\n"
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"no further TensorBoard curves in {tmp_path}/pretrain/digits/resnet20/seed0 (")
        assert "File too large" in line
