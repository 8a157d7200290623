import pytest
import torch
from torchvision.transforms import v2

from ehap.data import (
    DATASETS,
    Normalised,
    augment,
    draw_augmentation,
    draw_epoch,
    hessian_batch,
    normalise,
    plain_batches,
    training_batches,
)

INFO = DATASETS["cifar10"]


def _images(count: int) -> torch.Tensor:
    return torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_normalise_is_torchvisions() -> None:
    images = _images(4)
    reference = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(INFO.mean, INFO.std)])(images)
    assert torch.allclose(normalise(images, INFO), reference, atol=1e-6)


def test_every_augmented_image_is_a_crop_of_its_padded_self_and_all_crops_occur() -> None:
    image = _images(1)
    padded = torch.nn.functional.pad(image, (4, 4, 4, 4))[0]
    images = image.expand(4000, -1, -1, -1)
    out = augment(images, *draw_augmentation(images, torch.Generator().manual_seed(1), flip=True))
    crops = {}
    for y in range(9):
        for x in range(9):
            crop = padded[:, y : y + 32, x : x + 32]
            crops[crop.numpy().tobytes()] = (y, x, 0)
            crops[crop.flip(2).numpy().tobytes()] = (y, x, 1)
    found = [crops[item.numpy().tobytes()] for item in out]  # KeyError: not a crop of the padded image
    assert len(set(found)) == 162  # 9 · 9 offsets, mirrored or not: torchvision's RandomCrop and flip have the same
    counts = torch.tensor([found.count(key) for key in set(found)], dtype=torch.float)
    chi_square = ((counts - 4000 / 162) ** 2 / (4000 / 162)).sum()
    assert chi_square < 161 + 5 * (2 * 161) ** 0.5  # uniform, to five standard deviations
    assert abs(sum(key[2] for key in found) / 4000 - 0.5) < 0.04


@pytest.mark.parametrize(("height", "width", "around"), [(32, 32, 4), (16, 16, 2), (224, 160, 20), (4, 4, 1)])
def test_the_crop_moves_an_image_by_an_eighth_of_its_shorter_side(height: int, width: int, around: int) -> None:
    images = torch.full((500, 1, height, width), 255, dtype=torch.uint8)
    shown = augment(images, *draw_augmentation(images, torch.Generator().manual_seed(0), flip=False)) == 0
    rows, columns = shown.all(3).sum(2), shown.all(2).sum(2)
    assert (int(rows.max()), int(columns.max())) == (around, around)


def test_without_flip_no_image_is_mirrored() -> None:
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    image[..., :16] = 255
    images = image.expand(64, -1, -1, -1)
    out = augment(images, *draw_augmentation(images, torch.Generator().manual_seed(1), flip=False))
    assert (out[:, :, 16, 10] == 255).all()
    assert (out[:, :, 16, 26] == 0).all()


def test_an_epoch_shows_every_image_once_and_keeps_the_last_batch() -> None:
    images, labels = _images(10), torch.arange(10)
    draws = draw_epoch(images, torch.Generator().manual_seed(0), flip=True)
    batches = list(training_batches(images, labels, INFO, 4, draws))
    assert [len(targets) for _, targets in batches] == [4, 4, 2]
    assert sorted(torch.cat([targets for _, targets in batches]).tolist()) == list(range(10))


def test_the_rest_of_an_epoch_is_that_of_the_whole_one() -> None:
    images, labels = _images(10), torch.arange(10)
    draws = draw_epoch(images, torch.Generator().manual_seed(0), flip=True)
    whole = list(training_batches(images, labels, INFO, 4, draws))
    for done in range(4):
        rest = list(training_batches(images, labels, INFO, 4, draws, done))
        assert len(rest) == len(whole) - done
        assert all(torch.equal(one[0], other[0]) for one, other in zip(rest, whole[done:], strict=True))


def test_plain_batches_keep_the_order() -> None:
    images, labels = _images(7), torch.arange(7)
    batches = list(plain_batches(images, labels, INFO, 3))
    assert torch.cat([targets for _, targets in batches]).tolist() == list(range(7))
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), normalise(images, INFO))


def test_the_hessian_batch_is_drawn_without_replacement_by_its_seed() -> None:
    images, labels = _images(50), torch.arange(50)
    first, targets = hessian_batch(images, labels, INFO, 20, seed=1)
    assert len(set(targets.tolist())) == 20
    assert torch.equal(first, normalise(images[targets], INFO))
    assert hessian_batch(images, labels, INFO, 20, seed=1)[1].tolist() == targets.tolist()
    assert hessian_batch(images, labels, INFO, 20, seed=2)[1].tolist() != targets.tolist()


def test_images_that_are_normalised_are_cropped_as_pixels_are_with_black_around_them() -> None:
    pixels, labels = _images(12), torch.arange(12)
    images = normalise(pixels, INFO)
    black = normalise(torch.zeros(1, 3, 1, 1, dtype=torch.uint8), INFO).flatten().tolist()
    draws = draw_epoch(images, torch.Generator().manual_seed(0), flip=True)
    as_floats = Normalised(padding=tuple(black), crop=True, flip=True)
    found, expected = (
        [*training_batches(each, labels, info, 5, draws)] for each, info in ((images, as_floats), (pixels, INFO))
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_without_crop_images_stay_where_they_are_and_are_mirrored_all_the_same() -> None:
    images, labels = torch.randn(12, 5, 9, 6, dtype=torch.float64), torch.arange(12)
    info = Normalised(padding=(0.0,) * 5, crop=False, flip=True)
    draws = draw_epoch(images, torch.Generator().manual_seed(0), info.flip, info.crop)
    for inputs, targets in training_batches(images, labels, info, 5, draws):
        for found, label in zip(inputs, targets, strict=True):
            mirrored = bool(draws.mirrored[draws.order == label])
            assert torch.equal(found, images[label].flip(2) if mirrored else images[label])
    assert 0 < int(draws.mirrored.sum()) < 12


def test_normalised_images_are_copied_so_that_no_network_writes_over_them() -> None:
    images = torch.randn(2, 3, 4, 4)
    before = images.clone()
    for inputs, _ in plain_batches(images, torch.arange(2), Normalised((0.0,) * 3, crop=True, flip=False)):
        inputs.zero_()
    assert torch.equal(images, before)
