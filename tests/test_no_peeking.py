"""Nothing after the cut reaches training: whatever is planted there, all that training reads stays the same to the bit."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moon_rec import Shop, simulate_shop
from moon_rec.shop.engagement import engagements, exposure_counts
from moon_rec.shop.simulate import SimulationConfig
from moon_rec.shop.writer import ShopWriter
from ranking.features import FeatureConfig, RankingTables
from representation.model.tokenizer import shop_texts, train_tokenizer
from representation.posttraining.pairs import logged_pairs
from representation.pretraining.questions import ask
from representation.pretraining.train import _train_items

MARK = "zzqxmark"
FIRST_ID = 987_650_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    config = SimulationConfig(num_items=150, num_users=60, num_requests=500, seed=3)
    return simulate_shop(config, tmp_path_factory.mktemp("shops") / "plain")


def plant(shop: Shop, out, seconds: list[int], shown: bool = True) -> Shop:
    """The shop with marked items, searches, events and clicked-and-bought impressions of old and new items after its cut.

    Args:
        shown: whether items are planted as impressions, too, or as events alone.
    """
    times = [shop.cut_time + timedelta(seconds=second) for second in seconds]
    ids = list(range(FIRST_ID, FIRST_ID + len(times)))
    items, searches = shop.items.collect(), shop.searches.collect()
    impressions = shop.impressions.collect()
    users = searches["user_id"].sample(len(times), with_replacement=True, seed=1)
    new_items = items.head(1).select(pl.all().repeat_by(len(times)).explode()).with_columns(
        item_id=pl.Series(ids),
        spu_id=pl.Series(ids),
        title=pl.lit(MARK),
        category=pl.lit(f"{MARK}/{MARK}"),
        brand=pl.lit(MARK),
        description=pl.lit(MARK),
        price=pl.lit(9e6),
        listed_at=pl.Series(times, dtype=pl.Datetime("us")),
    )  # fmt: skip
    new_searches = pl.DataFrame({"search_id": ids, "user_id": users, "time": times}).with_columns(
        query_text=pl.lit(MARK), query_image=pl.lit(None, dtype=pl.Binary)
    )
    base = {
        "request_id": ids,
        "search_id": ids,
        "user_id": users,
        "time": times,
    }
    flags = {"position": 0, "clicked": True, "carted": True, "purchased": True}
    old = pl.DataFrame(
        {**base, "item_id": items["item_id"].sample(len(ids), with_replacement=True, seed=2)}
    )
    new = pl.DataFrame({**base, "item_id": ids})
    planted = pl.concat([old, new]).with_columns(**{k: pl.lit(v) for k, v in flags.items()})
    with ShopWriter(
        out,
        name=shop.name,
        source=shop.source,
        is_simulated=True,
        cut_time=shop.cut_time,
        test_time=shop.test_time,
    ) as writer:
        writer.write("items", pl.concat([items, new_items.select(items.columns)]))
        acts = planted.with_columns(pl.col("time") + timedelta(microseconds=1))
        writer.write("events", acts.unique(["user_id", "item_id", "time"], maintain_order=True))
        if shown:
            searches = pl.concat([searches, new_searches.select(searches.columns)])
            planted = planted.select(impressions.columns).cast(impressions.schema)
            impressions = pl.concat([impressions, planted])
        writer.write("searches", searches)
        writer.write("impressions", impressions)
    return Shop.open(out)


def what_training_reads(shop: Shop) -> dict[str, object]:
    """Everything that is learnt from or counted before the cut, in comparable form."""
    tokenizer = train_tokenizer(shop_texts(shop), 600)
    items = _train_items(shop)
    found: dict[str, object] = {
        "texts": sorted(shop_texts(shop)),
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        "questions": [(one.question, one.context, one.answer) for one in ask(items)],
        "pretraining items": items["item_id"].to_list(),
        "exposures": exposure_counts(shop).collect().sort("item_id").rows(),
    }
    for kind in ("clicked", "carted", "purchased"):
        frame = engagements(shop, kind, period="train").collect()
        found[f"engagements {kind}"] = frame.sort(frame.columns).rows()
    for kind, frame in logged_pairs(shop).items():
        found[f"pairs {kind}"] = frame.rows()
    return found | ranking_reads(shop)


def ranking_reads(shop: Shop) -> dict[str, object]:
    """Vocabularies, and each train request with its rows and histories by raw id."""
    tables = RankingTables.build(shop, FeatureConfig(history_length=5, query_history_length=3))
    train = tables.periods["train"]
    found: dict[str, object] = {
        f"vocabulary {name}": list(map(str, vocabulary.values))
        for name, vocabulary in tables.vocabularies.items()
    }
    found["sizes"] = tables.num_embeddings
    found["train"] = [train.request_ids.tolist(), train.user_ids.tolist(), train.labels.tolist()]
    found["train items"] = tables.items.ids[train.items].tolist()
    found["train features"] = {
        name: rows[train.items].tolist() for name, rows in tables.items.features.items()
    }
    spans = [
        (tables.history_events, tables.items, train.history_starts, train.history_ends),
        (tables.query_events, tables.queries, train.query_starts, train.query_ends),
    ]
    for number, (events, catalogue, starts, ends) in enumerate(spans):
        found[f"history {number}"] = [
            catalogue.ids[events[start:end]].tolist()
            for start, end in zip(starts, ends, strict=True)
        ]
    return found


@settings(max_examples=5)
@given(st.lists(st.integers(0, 3 * 86_400), min_size=1, max_size=40), st.booleans())
def test_what_is_planted_after_the_cut_is_found_nowhere(shop, tmp_path_factory, seconds, shown):
    planted = plant(shop, tmp_path_factory.mktemp("planted") / "shop", seconds, shown)
    before, after = what_training_reads(shop), what_training_reads(planted)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert after[name] == value, f"{name} changed with events after the cut"
        assert MARK not in str(after[name]) and str(FIRST_ID)[:5] not in str(after[name])


def test_the_same_events_before_the_cut_are_found(shop, tmp_path):
    """The test above can fail: a second before the cut, the marks are seen by all that learns."""
    planted = plant(shop, tmp_path / "shop", [-1] * 5)
    before, after = what_training_reads(shop), what_training_reads(planted)
    changed = {name for name in before if before[name] != after[name]}
    for name in ("texts", "tokenizer", "questions", "exposures", "pairs text", "train", "sizes"):
        assert name in changed, name
    assert np.any([MARK in text for text in after["texts"]])  # type: ignore[attr-defined]


def test_events_before_the_cut_are_found_by_histories_alone(shop, tmp_path):
    """Positives, exposures and labels are those of impressions: encoders and the notion of a cold item learn nothing of events."""
    planted = plant(shop, tmp_path / "shop", [-3_600 * hours for hours in range(1, 200)], False)
    before, after = what_training_reads(shop), what_training_reads(planted)
    of_items = {"texts", "tokenizer", "questions", "pretraining items", "train features"}
    assert {name for name in before if before[name] != after[name]} - of_items == {
        *("history 0", "vocabulary item", "vocabulary category", "vocabulary brand", "sizes"),
    }
