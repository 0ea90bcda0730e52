"""What reasoning is worth, in two steps a training: what is sought, that measured cells are kept, and paired figures of what is written."""

import json

import numpy as np
import polars as pl
import pytest

from benchmarks import reasoning
from moon_rec.shop.engagement import engagements
from representation.reasoning.batches import ReasoningBatches
from tests.representation.conftest import (  # noqa: F401
    encoder,
    encoder_path,
    little_shop,
    tiny_config,
)

QUICK = "--steps 2 --batch-size 2 --seeds 0 --graded 3 --rewarded 4 --searches 12 --gallery 20 --threads 1 --set answer_tokens=3 --set group_size=2"


@pytest.fixture(scope="module")
def measured(little_shop, encoder_path, tmp_path_factory):  # noqa: F811
    """A run's folder, and the products that each set of batches was of."""
    out, seen = tmp_path_factory.mktemp("reasoning"), []
    with pytest.MonkeyPatch.context() as patch:
        plain = ReasoningBatches.__init__

        def noted(self, *given, **named):
            plain(self, *given, **named)
            seen.append(set(self._items["item_id"]))

        patch.setattr(ReasoningBatches, "__init__", noted)
        words = [str(little_shop.path), "--start", str(encoder_path), "--out", str(out)]
        reasoning.main([*words, *QUICK.split()])
        reasoning.main([*words, *QUICK.split()])
    return out, seen


def test_reasoning_is_rewarded_on_products_that_no_training_saw(little_shop, measured):  # noqa: F811
    """Of the start and of two arms' ends, and of two trainings; the second run makes nothing anew."""
    later = little_shop.items.filter(pl.col("listed_at") >= little_shop.cut_time).collect()
    after = set(later["item_id"])
    is_held_out = [items <= after for items in measured[1]]
    assert sorted(is_held_out) == [False, False, True, True, True]
    assert all(items.isdisjoint(after) for items in measured[1] if not items <= after)


def test_reasoning_is_told_before_and_after(measured):
    rows = {row["arm"]: row for row in json.loads((measured[0] / "reasoning.json").read_text())["rows"]}  # fmt: skip
    assert list(rows) == list(reasoning.ARMS) and "written" not in rows["plain"]
    for arm in ("contrast alone", "joint"):
        written = rows[arm]["written"]
        assert set(written) == set(reasoning.WRITTEN)
        for name, one in written.items():
            gained = one["after"]["value"] - one["before"]["value"]
            assert one["gained"]["value"] == pytest.approx(gained), name
            assert one["before"]["count"] == (2 if name.startswith("held_out") else 3)
        assert set(rows[arm]["roll_outs"]["0"]["first"]) >= {"reward", "valid", "attribute_f1"}
    assert "minus contrast alone" in rows["joint"]["written"]["attribute_f1"]
    assert rows["joint"]["recall"]["count"] == 12


def test_reasoning_seeks_what_was_purchased(little_shop):  # noqa: F811
    searches, items = reasoning.sought(little_shop, 12, 20)
    bought = engagements(little_shop, "purchased", "test").collect()
    wanted = bought.join(searches, on="search_id", how="semi")["item_id"]
    assert searches.height == 12 and items.height == 20 and set(wanted) <= set(items["item_id"])
    assert searches["query_image"].is_null().all() and np.all(np.diff(items["item_id"]) > 0)
    assert reasoning.sought(little_shop, None, None)[1].height == 48
