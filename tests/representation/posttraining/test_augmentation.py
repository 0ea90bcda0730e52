"""Altered views: repeatable, of the right form, and nothing at all where nothing is asked for."""

import numpy as np

from representation.posttraining.augmentation import AugmentationConfig, altered

STILL = AugmentationConfig(turn=0, zoom=0, shift=0, flip=0, light=0, tint=0)


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
