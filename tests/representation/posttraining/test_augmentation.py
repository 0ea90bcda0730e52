"""Altered views: repeatable, of the right form, nothing at all where nothing is asked for, and on a GPU what they are on a processor."""

import numpy as np
import pytest
import torch

from representation.posttraining.augmentation import (
    ROUGH,
    AugmentationConfig,
    Views,
    apply_views,
    draw_views,
)

STILL = AugmentationConfig(turn=0, zoom=0, shift=0, flip=0, light=0, tint=0)


def altered(pictures, config, random, new_ground):
    """A view of each picture of a whole batch, as arrays."""
    views = draw_views(len(pictures), pictures.shape[1], config, random, new_ground)
    others = pictures[views.grounds.others] if new_ground else None
    given = [None if one is None else torch.from_numpy(one) for one in (pictures, others)]
    return apply_views(given[0], views, given[1]).numpy()


def pictures(count=4, side=16):
    """A dark square in the middle of white."""
    values = np.full((count, side, side, 3), 255, dtype=np.uint8)
    values[:, 5:11, 5:11] = (90, 30, 60)
    return values


def test_nothing_asked_nothing_changed():
    given = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    found = altered(given, STILL, np.random.default_rng(1), new_ground=False)
    assert np.abs(found.astype(int) - given).max() <= 1


def test_new_ground_keeps_the_product():
    found = altered(pictures(), STILL, np.random.default_rng(1), new_ground=True)
    assert np.abs(found[:, 6:10, 6:10].astype(int) - (90, 30, 60)).max() <= 1
    corners = found[:, :3, :3].reshape(4, -1)
    assert (corners.std(axis=1) > 1).all()


def test_the_mirror_is_a_mirror():
    given = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    mirrored = STILL.model_copy(update={"flip": 1.0})
    found = altered(given, mirrored, np.random.default_rng(1), new_ground=False)
    assert np.abs(found.astype(int) - given[:, :, ::-1]).max() <= 1


def test_seeded():
    config = AugmentationConfig()
    one, same, other = (
        altered(pictures(), config, np.random.default_rng(seed), True) for seed in (1, 1, 2)
    )
    assert (one == same).all() and (one != other).any()
    assert one.dtype == np.uint8 and one.shape == (4, 16, 16, 3)


DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]
STRONG = AugmentationConfig(turn=60, zoom=0.4, shift=0.2, flip=0.5, light=0.5, tint=0.3)


def random_pictures(count, side=16):
    given = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    given[:, :5, :] = 250  # ground
    return given


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("new_ground", [False, True])
def test_a_whole_batch_on_its_device_is_that_of_a_few_on_a_processor(device, new_ground, monkeypatch):  # fmt: skip
    """The same draws: no byte differs by more than rounding, in several passes, too."""
    given = random_pictures(70)
    views = draw_views(70, 16, STRONG, np.random.default_rng(3), new_ground)
    others = given[views.grounds.others] if views.grounds is not None else None
    near = [None if one is None else torch.from_numpy(one) for one in (given, others)]
    wanted = apply_views(near[0], views, near[1]).numpy()
    there = [None if one is None else one.to(device) for one in near]
    for most in (100, 30):
        module = "representation.posttraining.augmentation"
        monkeypatch.setattr(f"{module}.AT_ONCE", most)
        monkeypatch.setattr(f"{module}.BYTES_AT_ONCE", most * 16 * 16 * 3)
        found = apply_views(there[0], views, there[1])
        assert found.device.type == device and found.dtype == torch.uint8
        difference = np.abs(found.cpu().numpy().astype(int) - wanted)
        assert difference.max() <= 1 and difference.mean() < 0.01
    assert np.abs(wanted.astype(int) - given).mean() > 10


@pytest.mark.parametrize("device", DEVICES)
def test_noise_of_a_device_has_the_distribution_of_arrays(device):
    """The noise, and views with it, differ in no moment or quantile by more than chance."""
    count, side = 300, 16
    near = draw_views(count, side, STRONG, np.random.default_rng(3), True)
    noise = torch.Generator(device).manual_seed(5)
    far = draw_views(count, side, STRONG, np.random.default_rng(3), True, noise)
    assert torch.equal(near.grounds.colour, far.grounds.colour)
    assert (near.grounds.others == far.grounds.others).all()
    assert far.grounds.rough.device.type == device
    values = [one.grounds.rough.cpu().double().reshape(-1) for one in (near, far)]
    size = len(values[0])
    deviation = ROUGH * np.sqrt((1 + 1 / ROUGH) / 3)  # of -20 .. 20, each as likely
    for one in values:
        assert one.min() == -ROUGH and one.max() == ROUGH
        assert abs(one.mean()) < 4 * deviation / np.sqrt(size)
        assert abs(one.std() / deviation - 1) < 4 / np.sqrt(2 * size)
        counts = np.bincount((one + ROUGH).long().numpy(), minlength=2 * ROUGH + 1)
        chi_squared = ((counts - size / 41) ** 2).sum() / (size / 41)  # 40 degrees of freedom
        assert chi_squared < 40 + 5 * np.sqrt(2 * 40)
    given = random_pictures(count)
    noisy = Views(near.moves, near.grounds._replace(rough=far.grounds.rough), near.light)
    order = near.grounds.others
    views = [
        apply_views(
            torch.from_numpy(given).to(device), one, torch.from_numpy(given[order]).to(device)
        )
        for one in (near, noisy)
    ]
    sorted_, other = (np.sort(one.cpu().numpy().reshape(-1)).astype(int) for one in views)
    assert np.abs(sorted_ - other)[:: size // 100].max() <= 1
    assert (views[0] != views[1]).any()
