"""A new criterion touches at most three places besides its own file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN_FILE = """
def score(seen):
    return 3 * (seen.delta * seen.value).sum(3).square().double()

def reference(layer):
    curvature = layer.probabilities[:, None] * layer.gates
    largest = 3 * layer.gates.square().sum(0)
    centred = layer.gates - curvature.sum(0)
    return 3 * (layer.probabilities[:, None] * centred.square()).sum(0), largest

def of_network(network, seed):
    from ehap.graph.layers import layer_weights
    return {name: weight.detach().flatten(1).amax(1).double() for name, weight in layer_weights(network).items()}
"""
DERIVATIVES = {
    "ehap/settings/criteria.py": ("CRITERIA = {", '    "triple": Criterion("curvature", "Six times the gate."),'),
    "ehap/curvature/criteria.py": (
        "SCORES = {",
        '    "triple": LayerScore(triple.score, triple.reference, at_gates=True),',
    ),
    "ehap/pruning/criteria.py": ("OF_CURVATURE: ", '    "triple": as_found,'),
}
WEIGHTS = {
    "ehap/settings/criteria.py": ("CRITERIA = {", '    "largest": Criterion("weights", "Largest weight."),'),
    "ehap/pruning/criteria.py": ("OF_NETWORK: ", '    "largest": triple.of_network,'),
}
USE = """
import torch
from ehap.curvature import channel_scores
from ehap.models import build_model
from ehap.pruning import plan
from ehap.pruning.criteria import scores_from, scores_of
from ehap.settings import Prune
from ehap.settings.documentation import criteria

network = build_model("resnet20", 10, seed=0).eval()
found = channel_scores(network, torch.randn(2, 3, 32, 32), torch.tensor([1, 2]), "triple", "gate")
assert torch.allclose(found["triple"]["conv1"], 6 * found["gate"]["conv1"])
for scores, name in (
    (scores_from(network, "triple", found["triple"]), "triple"),
    (scores_of(network, "largest", 0), "largest"),
):
    print(name, plan(network, scores, Prune(criterion=name, params=0.5), (3, 32, 32)).parameters)
assert "| `triple` | curvature | Six times the gate. |" in criteria()
"""


def test_a_new_criterion_touches_three_places_at_most(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "ehap", tmp_path / "ehap", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "ehap/graph/triple.py").write_text(OWN_FILE)
    for places in (DERIVATIVES, WEIGHTS):
        assert len(places) <= 3
        for name, (anchor, line) in places.items():
            path = tmp_path / name
            before, after = path.read_text().split(anchor, 1)
            head, rest = after.split("\n", 1)
            text = f"{before}{anchor}{head}\n{line}\n{rest}"
            import_line = "" if "settings" in name or "import triple" in text else "from ehap.graph import triple\n"
            docstring, code = text.split('"""\n', 1)
            path.write_text(f'{docstring}"""\n{import_line}{code}')
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", USE]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["triple", "largest"]
