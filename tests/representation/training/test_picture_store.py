"""Pictures are decoded once, wherever they are kept; the pixels are those that decoding anew gives."""

import errno
import hashlib
import os
import sys

import numpy as np
import pytest
import torch

from moon_rec.errors import EncoderError, ShopError
from representation.posttraining.augmentation import AugmentationConfig
from representation.posttraining.batches import Batches
from representation.posttraining.mixture import TABLE_2
from representation.posttraining.pairs import logged_pairs, own_pairs
from representation.posttraining.schedule import Schedule
from representation.training import picture_store
from representation.training.picture_store import PictureStore
from tests.representation.conftest import COLOURS, SHAPES, picture
from tests.representation.training.test_distributed import together

FILES = [picture(colour, shape, 1) for colour in COLOURS for shape in SHAPES]
NAMES = [f"picture {row}" for row in range(len(FILES))]


@pytest.fixture
def decoded(monkeypatch):
    """Counts decoded pictures by name."""
    counts: dict[str, int] = {}
    decode = picture_store.decode

    def counting(data, where):
        counts[where] = counts.get(where, 0) + 1
        return decode(data, where)

    monkeypatch.setattr(picture_store, "decode", counting)
    return counts


@pytest.fixture(params=["memory", "scratch"])
def place(request, monkeypatch):
    if request.param == "scratch":
        monkeypatch.setattr(picture_store, "MOST_BYTES_KEPT", 0)
    return request.param


def test_decoded_once_over_epochs(little_shop, encoder, known, decoded, place):
    """Every pair of every kind several times over, with grounds of other pictures."""
    plan = Schedule(
        logged_pairs(little_shop), own_pairs(little_shop), dict(TABLE_2), {"image": 0.5}, 400, 8, 0
    )
    batches = Batches(little_shop, encoder, plan, known, AugmentationConfig())
    for step in range(400):
        batches.make(step)
    assert len(decoded) > 100 and set(decoded.values()) == {1}


def test_what_is_decoded_ahead_is_what_is_used(little_shop, encoder, known, decoded, place):
    """Of a short schedule, whose kinds are far from through with their pairs."""
    plan = Schedule(
        logged_pairs(little_shop), own_pairs(little_shop), dict(TABLE_2), {"image": 0.5}, 12, 4, 0
    )
    ahead = Batches(little_shop, encoder, plan, known, None)
    ahead.decode_ahead()
    ahead.decode_ahead()
    before = dict(decoded)
    for step in range(12):
        ahead.make(step)
    assert decoded == before and set(before.values()) == {1}
    decoded.clear()
    lazy = Batches(little_shop, encoder, plan, known, None)
    for step in range(12):
        lazy.make(step)
    assert decoded == before


def test_pixels_are_the_same(place, capsys):
    fresh = PictureStore(FILES, NAMES, 8, keep=False)
    store = PictureStore(FILES, NAMES, 8)
    assert ("kept in a scratch file" in capsys.readouterr().err) == (place == "scratch")
    store.decode_ahead(np.array([3, 5, 3]), "some")
    for rows in ([2, 5, 2, 3], [], list(range(16)), [15, 0]):
        assert (store.take(rows) == fresh.take(rows)).all()
        assert store.take(rows).shape == (len(rows), 8, 8, 3)


def test_scratch_is_bounded(decoded, monkeypatch, capsys):
    monkeypatch.setattr(picture_store, "MOST_BYTES_KEPT", 0)
    store = PictureStore(FILES, NAMES, 8, scratch_bytes=16 * 8 * 8 * 3 - 1)
    assert "decoded anew each time" in capsys.readouterr().err
    store.decode_ahead(np.arange(16), "none")
    store.take([1])
    store.take([1])
    assert decoded == {"picture 1": 2}


def test_a_full_disk_is_said_once_and_survived(decoded, monkeypatch, capsys):
    monkeypatch.setattr(picture_store, "MOST_BYTES_KEPT", 0)
    store, write = PictureStore(FILES, NAMES, 8), os.pwrite

    def writing(file, data, offset):
        if offset >= 4 * len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data, offset)

    monkeypatch.setattr(os, "pwrite", writing)
    fresh = PictureStore(FILES, NAMES, 8, keep=False).take(np.arange(16))
    decoded.clear()
    for _ in range(2):
        assert (store.take(np.arange(16)) == fresh).all()
    assert capsys.readouterr().err.count("No space left") == 1
    assert decoded["picture 3"] == 1 and decoded["picture 9"] > 1


def test_scratch_leaves_no_file(monkeypatch, tmp_path):
    monkeypatch.setattr(picture_store, "MOST_BYTES_KEPT", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = PictureStore(FILES, NAMES, 8)
    store.take([1])
    assert not list(tmp_path.iterdir())


def test_refusals(place):
    store = PictureStore([None, b"no picture", *FILES], ["row 0", "row 1", *NAMES], 8)
    with pytest.raises(EncoderError, match="row 0 is null where a picture is needed"):
        store.take([0])
    with pytest.raises(ShopError, match="row 1: 10 bytes do not decode"):
        store.decode_ahead(np.array([1, 2]), "broken")
    assert (store.take([2]) == PictureStore(FILES, NAMES, 8).take([0])).all()


def test_for_another_device_it_gives_a_tensor_there():
    store = PictureStore(FILES, NAMES, 16)
    near, far = (store.take_to([3, 1, 3], torch.device(name)) for name in ("cpu", "meta"))
    assert (near.numpy() == store.take([3, 1, 3])).all() and far.device.type == "meta"
    assert far.shape == near.shape and far.dtype == torch.uint8
    into = np.zeros((2, 16, 16, 3), np.uint8)
    assert store.take([0, 5], into) is into and (into == store.take([0, 5])).all()
    once = PictureStore(FILES, NAMES, 16, keep=False)
    assert (once.take([0, 5]) == into).all()


@pytest.mark.slow  # that a training of two processes, whose stores share a file, is that of one: posttraining/test_two_processes
def test_processes_of_a_machine_decode_each_picture_once_and_see_all(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    module = "tests.representation.training.shared_store_worker"
    said = together([sys.executable, "-m", module])
    first, second = (out.split() for out, _ in said)
    half = (len(FILES) - 1 + 1) // 2
    assert [first[:3], second[:3]] == [["0", f"{half}", f"{half}"], ["1", f"{half - 1}", f"{half}"]]
    alone = PictureStore(FILES, NAMES, 16).take(np.arange(len(FILES)))
    assert first[3] == second[3] == hashlib.sha256(alone.tobytes()).hexdigest()
    assert not list(tmp_path.iterdir())


def test_stores_of_one_process_share_what_they_decoded(decoded, monkeypatch):
    """By the bytes of the files and the size, up to so many bytes; another cut makes its own. Without it each store decodes."""
    monkeypatch.setattr(picture_store, "_shared", {})
    monkeypatch.setattr(picture_store, "_shared_room", 0)
    rows, anew = list(range(len(FILES))), PictureStore(FILES, NAMES, 8).take(range(len(FILES)))
    PictureStore(FILES, NAMES, 8).take(rows)
    assert set(decoded.values()) == {2}
    picture_store.share_squares(3 * anew[0].nbytes)
    for _ in range(2):
        np.testing.assert_array_equal(PictureStore(FILES[::-1], NAMES[::-1], 8).take(rows), anew[::-1])  # fmt: skip
    assert sorted(decoded.values()) == [3] * 3 + [4] * (len(FILES) - 3)
    assert PictureStore(FILES, NAMES, 16).take(rows[-3:]).shape == (3, 16, 16, 3)
    white = PictureStore(FILES, NAMES, 8, cut=lambda picture, side: np.full((side, side, 3), 255, np.uint8))  # fmt: skip
    assert (white.take(rows) == 255).all()
