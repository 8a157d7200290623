"""Pruning in rounds: what each round is scored on, how far it goes, and where a broken run goes on."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from ehap.artifacts.datasets import Data, load_data
from ehap.artifacts.job import Job
from ehap.curvature import channel_scores
from ehap.data import CIFAR_SHAPE, hessian_batch
from ehap.errors import SettingsError
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.pruning import Scores, plan, prune, random_scores
from ehap.pruning.plan import PruningPlan
from ehap.records import Identity
from ehap.settings import Prune, Trace
from ehap.settings.prune import Rounds
from ehap.stages import prune as prune_once
from ehap.stages import prune_rounds as rounds
from ehap.training import recalibrate_
from tests.jobs import job_of, write_images

CELL = Identity(stage="prune", dataset="digits", model="resnet20", seed=0, method="gates")
CPU = torch.device("cpu")
SETTINGS = Rounds(
    prune=Prune(criterion="gate", params=0.2, rounds=4),
    trace=Trace(estimator="exact", criteria=("gate",), batch_size=8),
)


@pytest.fixture
def job(tmp_path: Path) -> Job[Rounds]:
    """The job of a cell, its states in a folder."""
    write_images(tmp_path / "data", 20, 20)
    return job_of(tmp_path, SETTINGS, CELL, "data", states=tmp_path / "states")


@pytest.mark.parametrize(
    ("budget", "shares"),
    [
        ({"params": 0.25}, [0.5, 0.25]),
        ({"flops": 0.36}, [0.6, 0.36]),
        ({"prune_ratio": 0.75}, [0.5, 0.75]),
    ],
)
def test_each_round_leaves_the_same_share_of_what_the_one_before_has_left(
    budget: dict[str, float], shares: list[float]
) -> None:
    settings = Prune(criterion="gate", with_magnitude=True, rounds=2, **budget)  # type: ignore[arg-type]
    (name,) = budget
    each = [rounds.part(settings, number) for number in (1, 2)]
    assert [getattr(one, name) for one in each] == pytest.approx(shares)
    assert all(one.rounds == 1 for one in each)


def test_the_stage_of_one_round_refuses_several(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"rounds must be 1 in stage prune, got 4: .* run stage prune_rounds"):
        prune_once.run(job_of(tmp_path, SETTINGS.prune, CELL))


def test_what_is_left_is_scored_with_statistics_of_its_own_and_what_is_gone_has_zero(job: Job[Rounds]) -> None:
    network, images = build_model("resnet20", 10, seed=0), load_data(job, CPU)
    chosen = plan(
        network, random_scores(layer_weights(network), 0), CIFAR_SHAPE, *Prune(criterion="random", params=0.4).parts
    )
    found = rounds.scored(network, chosen, images, job, CPU)
    smaller = prune(network, chosen)
    recalibrate_(smaller, images.train[0], images.info, 2048, CELL.seed)
    batch = hessian_batch(*images.train, images.info, 8, CELL.seed)
    wanted = channel_scores(smaller, *batch, "gate")["gate"]
    for layer, kept in chosen.kept.items():
        if layer in wanted:
            torch.testing.assert_close(found[layer][kept], wanted[layer].double())
        gone = sorted(set(range(len(found[layer]))) - set(kept))
        assert not found[layer][gone].any()
    assert found["layer3.2.conv2"].any()


def test_a_broken_run_goes_on_after_its_last_round_to_the_same_plan(
    job: Job[Rounds], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build_model("resnet20", 10, seed=0)
    scores, done = random_scores(layer_weights(network), 0), []

    def scored(_: object, chosen: PruningPlan, __: Data, job: Job[Rounds], ___: object) -> Scores:
        done.append(sum(map(len, chosen.kept.values())))
        if len(done) == 3:
            raise KeyboardInterrupt
        return random_scores(layer_weights(network), len(chosen.kept["conv1"]) + job.identity.seed)

    monkeypatch.setattr(rounds, "scored", scored)
    stateless = rounds.planning(replace(job, states=None))
    with pytest.raises(KeyboardInterrupt):
        stateless.plan(network, scores)
    unbroken = stateless.plan(network, scores)
    assert unbroken.parameters <= 0.2 * unbroken.dense_parameters
    done.clear()
    with pytest.raises(KeyboardInterrupt):
        rounds.planning(job).plan(network, scores)
    again = rounds.planning(job).plan(network, scores)
    assert len(done) == 4  # the third was asked for twice, the first two once
    assert done[2] == done[3]
    assert asdict(again) == asdict(unbroken)
    assert not list((tmp_path / "states").rglob("state.pt"))
