"""A new criterion touches at most three files besides its own, and a configuration can name it."""

import shutil
from pathlib import Path

from tests.additions import MOST, ROOT, edited, insert, said

OF_GATES = '''"""A criterion from derivatives: three times that of the gate."""


def score(seen):
    return 3 * (seen.delta * seen.value).sum(3).square().double()


def reference(layer):
    curvature = layer.probabilities[:, None] * layer.gates
    largest = 3 * layer.gates.square().sum(0)
    centred = layer.gates - curvature.sum(0)
    return 3 * (layer.probabilities[:, None] * centred.square()).sum(0), largest
'''
OF_WEIGHTS = '''"""A criterion from weights: the largest one."""

from ehap.graph.layers import layer_weights


def largest(network, _seed):
    return {name: weight.detach().flatten(1).amax(1).double() for name, weight in layer_weights(network).items()}
'''
USE = """
import torch
from ehap.curvature import channel_scores
from ehap.models import build_model
from ehap.pruning import plan
from ehap.pruning.criteria import scores_from, scores_of
from ehap.settings import Run
from ehap.settings.documentation import criteria

run = Run({
    "name": "new",
    "grid": {"datasets": ["digits"], "models": ["resnet20"], "seeds": [0], "methods": ["gates", "weights"],
             "schemes": []},
    "pretrain": {"all": {"epochs": 1, "learning_rate": 0.05}},
    "trace": {"all": {"batch_size": 16, "samples": 2}},
    "curvatures": {"exact": {"estimator": "exact", "criteria": ["gate", "triple"]}},
    "prune": {"all": {"params": 0.5}},
    "finetune": {"all": {"epochs": 1, "learning_rate": 0.01}},
    "methods": {"gates": {"criterion": "triple", "curvature": "exact"}, "weights": {"criterion": "largest"}},
})
network = build_model("resnet20", 10, seed=0).eval()
asked = run.trace("digits", "resnet20", "exact").criteria
found = channel_scores(network, torch.randn(2, 3, 32, 32), torch.tensor([1, 2]), *asked)
assert torch.allclose(found["triple"]["conv1"], 6 * found["gate"]["conv1"])
for method in run.grid.methods:
    settings = run.prune("digits", "resnet20", method)
    name = settings.criterion
    curvature = run.curvature(method)
    scores = scores_from(network, name, found[name]) if curvature else scores_of(network, name, 0)
    print(method, name, curvature, plan(network, scores, (3, 32, 32), *settings.parts).parameters < 200_000)
for name in ("triple", "largest"):
    assert f"| `{name}` | " in criteria()
"""


def _copied(folder: Path) -> Path:
    shutil.copytree(ROOT / "ehap", folder / "ehap", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _add_criterion_from_derivatives(folder: Path) -> None:
    (folder / "ehap/curvature/triple.py").write_text(OF_GATES)
    entry = '    "triple": Criterion("curvature", "Six times the gate."),\n'
    insert(folder, "ehap/settings/criteria.py", '    "trace": Criterion', entry)
    score = '    "triple": LayerScore(triple.score, triple.reference, at_gates=True),\n'
    insert(folder, "ehap/curvature/criteria.py", '    "trace": LayerScore', score)
    insert(folder, "ehap/curvature/criteria.py", "from ehap.curvature import", "from ehap.curvature import triple\n")
    insert(folder, "ehap/pruning/criteria.py", '    "diagonal": ', '    "triple": as_found,\n')


def _add_criterion_from_weights(folder: Path) -> None:
    (folder / "ehap/pruning/largest.py").write_text(OF_WEIGHTS)
    entry = '    "largest": Criterion("weights", "Largest weight."),\n'
    insert(folder, "ehap/settings/criteria.py", '    "random": Criterion', entry)
    insert(folder, "ehap/pruning/criteria.py", '    "magnitude": ', '    "largest": largest,\n')
    insert(folder, "ehap/pruning/criteria.py", "from ehap.pruning.scores", "from ehap.pruning.largest import largest\n")


def test_new_criteria_touch_three_files_at_most_and_rank_from_a_configuration(tmp_path: Path) -> None:
    of_weights = _copied(tmp_path / "of_weights")
    _add_criterion_from_weights(of_weights)
    assert len(edited(of_weights)) <= MOST
    both = _copied(tmp_path / "both")
    _add_criterion_from_derivatives(both)
    assert len(edited(both)) <= MOST
    _add_criterion_from_weights(both)
    assert said(both, USE) == "gates triple exact True\nweights largest None True\n"
