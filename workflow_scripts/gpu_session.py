"""Run costs, GPU tests and trainings on one GPU in a few minutes; see docs/gpu_session.md."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the project itself may not be installed
runpy.run_module("ehap.session", run_name="__main__")
