"""A share of the images is not fitted, and judges."""

import logging

import pytest
import torch
from torch import Tensor, nn

from ehap.errors import DataError, NumericsError, StoppedError
from ehap.graph.channels import channel_graph
from ehap.pruning import prune
from ehap.repair.reconstruction import reconstruct
from ehap.repair.unseen import relative_error, split_images
from tests.checkpointers import Memory

Kept = dict[str, list[int]]


def _kept(model: nn.Module) -> Kept:
    widths = channel_graph(model).widths()
    return {name: list(range(width)) for name, width in widths.items()} | {"conv1": [0, 1, 3], "block1.conv1": [0, 2]}


def _images(count: int) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("count", "held_out", "judging"), [(3, 0.125, 1), (64, 0.125, 8), (5000, 0.125, 128), (64, 0.9, 57), (64, 0.0, 0)]
)
def test_the_share_is_at_least_one_image_and_at_most_128(count: int, held_out: float, judging: int) -> None:
    split = split_images(count, held_out, seed=1)
    assert len(split.judging) == judging
    assert sorted([*split.judging.tolist(), *split.fitted.tolist()]) == list(range(count))
    assert (split.fitted.diff() > 0).all()  # in their order
    assert split.shown()[:judging].tolist() == split.judging.tolist()
    assert len(set(split.shown().tolist())) == min(count, 128)
    assert torch.equal(split_images(count, held_out, seed=1).judging, split.judging)
    if 0 < judging < 128 < count:
        assert not torch.equal(split_images(count, held_out, seed=2).judging, split.judging)


def test_too_few_images_to_hold_one_out_are_refused() -> None:
    with pytest.raises(DataError, match=r"at least 2 images to fit layers to, got 1 and 1 held out .*; 0 fits all\)"):
        split_images(2, 0.125, seed=0)
    assert len(split_images(2, 0.0, seed=0).fitted) == 2
    with pytest.raises(DataError, match=r"in \[0, 1\), got nan"):
        split_images(20, float("nan"), seed=0)


def test_the_error_is_that_of_the_outputs_over_the_dense_networks_variance(tiny: nn.Module) -> None:
    dense, images = tiny.double(), _images(300)  # more than one pass takes
    pruned = prune(dense, _kept(dense))
    wanted, found = dense(images), pruned(images)
    expected = ((found - wanted)[:5].square().mean() / wanted.var(0, correction=0).mean()).item()
    assert relative_error(dense, pruned, images, 5) == pytest.approx(expected, rel=1e-9)
    assert relative_error(dense, dense, images, 5) == 0
    same = images[:1].expand(6, -1, -1, -1)
    assert relative_error(dense, pruned, same, 1) > 1e6  # nothing depends on the image
    assert relative_error(dense, dense, same, 1) < 100  # of rounding errors only


def test_nothing_is_fitted_to_the_images_that_judge(tiny: nn.Module) -> None:
    dense, images = tiny.double(), _images(40)
    pruned, kept = prune(dense, _kept(dense)), _kept(dense)
    split, others = split_images(40, 0.25, seed=3), images.clone()
    others[split.judging] = 100 * torch.rand(len(split.judging), 3, 8, 8, dtype=torch.float64)
    found, same = (reconstruct(dense, pruned, kept, each, seed=3, held_out=0.25) for each in (images, others))
    tensors = same.network.state_dict()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in found.network.state_dict().items())
    alone = reconstruct(dense, pruned, kept, images[split.fitted], seed=3, held_out=0)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in alone.network.state_dict().items())
    assert {fit.images for fit in found.fits} == {30}
    assert alone.unseen is None
    assert found.unseen is not None
    assert found.unseen.images == 10
    shown = images[split.shown()]
    assert found.unseen.before == pytest.approx(relative_error(dense, pruned, shown, 10), rel=1e-9)
    assert found.unseen.after == pytest.approx(relative_error(dense, found.network, shown, 10), rel=1e-9)
    assert found.unseen.after < 0.5 * found.unseen.before


def test_a_repair_that_makes_a_network_worse_is_said_in_one_line(
    tiny: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    dense, kept = tiny.double(), _kept(tiny)
    pruned = prune(dense, kept)
    with caplog.at_level(logging.WARNING, logger="ehap"):
        good = reconstruct(dense, pruned, kept, _images(64))
        assert not caplog.records
        bad = reconstruct(dense, pruned, kept, _images(16), ridge=1e-9, held_out=0.75)  # four, learnt by heart
    assert good.unseen is not None
    assert bad.unseen is not None
    assert good.unseen.after < good.unseen.before
    assert bad.unseen.after > 1.5 * bad.unseen.before
    (line,) = caplog.messages
    percents = f"{100 * bad.unseen.before:.1f} % -> {100 * bad.unseen.after:.1f} %"
    assert line == (
        "the reconstruction made the network worse on 12 images that it had not seen: relative error of the outputs "
        f"{percents}; give more images, or a higher ridge"
    )


@pytest.mark.parametrize("stop_after", [1, 6])
def test_a_repair_that_was_broken_off_is_judged_as_an_unbroken_one(tiny: nn.Module, stop_after: int) -> None:
    kept, images = _kept(tiny), _images(24).float()
    pruned = prune(tiny, kept)
    whole, broken = reconstruct(tiny, pruned, kept, images), Memory(stop_after)
    with pytest.raises(StoppedError):
        reconstruct(tiny, pruned, kept, images, checkpointer=broken)
    found = reconstruct(tiny, pruned, kept, images, checkpointer=Memory(start=broken.states[-1]))
    assert found.unseen == whole.unseen


@pytest.mark.parametrize(
    ("images", "ridge"), [(torch.ones(8, 3, 8, 8), 1e-7), (_images(5).float(), 1e-7)], ids=["all alike", "few"]
)
def test_a_ridge_that_single_precision_cannot_resolve_is_refused(tiny: nn.Module, images: Tensor, ridge: float) -> None:
    kept = _kept(tiny)
    pruned = prune(tiny, kept)
    with pytest.raises(
        NumericsError, match=r"a ridge of 1e-07 does not settle.*float32.*Raise the ridge .* more image"
    ):
        reconstruct(tiny, pruned, kept, images, ridge)
    assert reconstruct(tiny, pruned, kept, images).network is not pruned  # the default settles them
    many = torch.cat([images, _images(200)[100:].float()])
    assert reconstruct(tiny, pruned, kept, many, ridge).network is not pruned  # so do more images
    dense = tiny.double()
    assert reconstruct(dense, prune(dense, kept), kept, images.double(), ridge).fits  # so do more digits
