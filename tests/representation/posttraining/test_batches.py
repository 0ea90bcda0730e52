"""Batches shared by processes, and their hard negatives: the parts are those of the whole."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from representation.posttraining.augmentation import AugmentationConfig
from representation.posttraining.batches import Batches, parts_of, share_of
from representation.posttraining.mixture import KINDS, TABLE_2
from representation.posttraining.pairs import logged_pairs, own_pairs
from representation.posttraining.schedule import Schedule
from representation.training.picture_store import PictureStore

STEPS = 24


class EveryIdBlocked:
    """Blocks what is the positive's item but the positive itself, and nothing else."""

    def blocked(
        self,
        rows: pl.DataFrame,
        item_ids: np.ndarray,
        spu_ids: np.ndarray,
        positives: np.ndarray | None = None,
    ) -> np.ndarray:
        found = rows["item_id"].to_numpy()[:, None] == item_ids
        if positives is not None:
            found[np.arange(len(found)), positives] = False
        return found


class NextItems:
    """The items after the positive by id; for every third pair there is none, and for some it is listed after the cut."""

    def draw(
        self, rows: pl.DataFrame, count: int, step: int, pictured: bool | None = None
    ) -> np.ndarray:
        ids = rows["item_id"].to_numpy()[:, None] + 1 + np.arange(count)
        ids[::3] = -1
        return ids

    def is_clicked(self, rows: pl.DataFrame, item_ids: np.ndarray) -> np.ndarray:
        return item_ids % 2 == 0


@pytest.fixture(scope="module")
def plan(little_shop):
    return Schedule(
        logged_pairs(little_shop),
        own_pairs(little_shop),
        dict(TABLE_2),
        {"image": 0.5},
        STEPS,
        8,
        0,
    )


def made(shop, encoder, plan, **options):
    return Batches(shop, encoder, plan, EveryIdBlocked(), AugmentationConfig(), 0, **options)


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_what_one_makes(little_shop, encoder, plan, world_size):
    options = {"hard": NextItems(), "num_hard": 2}
    whole = made(little_shop, encoder, plan, **options)
    shares = [
        made(little_shop, encoder, plan, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]
    for step in range(STEPS):
        wanted, found = whole.make(step), [share.make(step) for share in shares]
        assert sum(len(part) for part in found) == len(wanted) == wanted.num_pairs == 8
        for part in found:
            assert part.kind == wanted.kind and torch.equal(part.item_ids, wanted.item_ids)
            assert torch.equal(part.blocked, wanted.blocked[part.own])
            assert not part.blocked[torch.arange(len(part)), part.positives].any()
            assert torch.equal(part.hard.ids, wanted.hard.ids)
            assert torch.equal(part.hard.blocked, wanted.hard.blocked[part.own])
        for side in ("queries", "items", "hard.items"):
            parts = [inputs_of(part, side) for part in found]
            same_inputs(parts, inputs_of(wanted, side))


def inputs_of(batch, side):
    return batch.hard.items if side == "hard.items" else getattr(batch, side)


def same_inputs(parts, whole):
    """Each process pads to its own longest row; the real tokens and all pixels are the same."""
    tokens = [row[real].tolist() for part in parts for row, real in rows_of(part)]
    assert tokens == [row[real].tolist() for row, real in rows_of(whole)]
    if whole.pixels is None:
        assert all(part.pixels is None for part in parts)
    else:
        assert torch.equal(torch.cat([part.pixels for part in parts]), whole.pixels)


def rows_of(inputs):
    return zip(inputs.token_ids, inputs.mask, strict=True)


def test_hard_negatives_are_shown_as_items(little_shop, encoder, plan):
    options = {"hard": NextItems(), "num_hard": 2}
    batches = made(little_shop, encoder, plan, **options)
    listed = little_shop.items.filter(pl.col("listed_at") < little_shop.cut_time).collect()
    spu_of = dict(listed.select("item_id", "spu_id").iter_rows())
    shown = set(listed.filter(pl.col("image").is_not_null())["item_id"])
    absent = 0
    for step in range(STEPS):
        batch = batches.make(step)
        hard, drawn = batch.hard, NextItems().draw(batch.rows, 2, step)
        with_picture = "image" in batch.kind.item
        for pair in range(8):
            for place in range(2):
                wanted = int(drawn[pair, place])
                real = wanted in (shown if with_picture else spu_of)
                absent += wanted > 0 and not real
                assert hard.mask[pair, place] == real
                assert hard.ids[pair, place] == (wanted if real else -1)
                assert hard.spu_ids[pair, place] == (spu_of[wanted] if real else -1)
        assert (hard.items.pixels is not None) == with_picture
        assert len(hard.items.mask) == 16
        assert torch.equal(hard.is_clicked, (hard.ids % 2 == 0) & hard.mask)
        columns = hard.ids.reshape(-1)
        wanted = (batch.item_ids[:, None] == columns) | (columns == -1)
        assert torch.equal(hard.blocked, wanted)
    assert absent > 0


@given(st.integers(0, 40), st.integers(1, 7), st.integers(0, 40))
def test_shares_cover_a_batch(count, world_size, first):
    shares = [share_of(count, rank, world_size) for rank in range(world_size)]
    rows = list(range(count))
    assert [row for share in shares for row in rows[share]] == rows
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1
    first = min(first, count)
    for share in shares:
        before, after = parts_of(share, first)
        assert rows[:first][before] + rows[first:][after] == rows[share]


@pytest.fixture
def far(monkeypatch):
    """Batches as for a GPU, whose part the processor does."""
    monkeypatch.setattr(Batches, "_is_far", True)


def test_a_batch_made_on_its_device_is_that_of_the_processor(little_shop, encoder, plan, far, monkeypatch):  # fmt: skip
    """To rounding, but for products on new grounds, which are drawn anew: their distribution has a test of its own."""
    found = [made(little_shop, encoder, plan).make(step) for step in range(STEPS)]
    monkeypatch.undo()
    seen = 0
    near = made(little_shop, encoder, plan)
    for step, other in enumerate(found):
        batch = near.make(step)
        for side in ("queries", "items"):
            one, there = getattr(batch, side), getattr(other, side)
            assert torch.equal(one.token_ids, there.token_ids)
            if one.pixels is None:
                assert there.pixels is None
                continue
            seen += 1
            differences = (one.pixels - there.pixels).abs().flatten(1).amax(1) * 127.5
            is_view = (batch.rows["query_item_id"] == batch.rows["item_id"]).fill_null(False)
            still = differences if side == "items" else differences[~is_view.to_numpy()]
            assert len(still) and (still < 1.01).all()
    assert seen > 4


def test_far_processes_share_what_one_makes(little_shop, encoder, plan, far):
    parts = [made(little_shop, encoder, plan, rank=rank, world_size=2) for rank in range(2)]
    whole = made(little_shop, encoder, plan)
    pictured = [step for step in range(STEPS) if plan.kinds[step].query == "image"][:3]
    for step in pictured:
        wanted = whole.make(step).queries.pixels
        found = torch.cat([part.make(step).queries.pixels for part in parts])
        assert torch.equal(found, wanted)


def test_steps_of_texts_touch_no_picture(little_shop, encoder, monkeypatch):
    """Neither are they decoded: of a mixture with pictures, steps without ask the stores for nothing."""
    mixture = {"text->title": 1.0, "text->richer-text": 1.0, "image->image": 1.0}
    mixture = {name: weight for name, weight in mixture.items() if name in KINDS}
    plan = Schedule(logged_pairs(little_shop), own_pairs(little_shop), mixture, {"text": 0.5}, STEPS, 8, 0)  # fmt: skip
    batches = made(little_shop, encoder, plan)
    asked = []
    monkeypatch.setattr(PictureStore, "take_to", lambda self, rows, device: 1 / 0)
    for step, kind in enumerate(plan.kinds):
        if "image" not in kind.query and "image" not in kind.item:
            assert batches.make(step).queries.pixels is None
            asked.append(step)
        else:
            with pytest.raises(ZeroDivisionError):
                batches.make(step)
    assert 0 < len(asked) < STEPS
