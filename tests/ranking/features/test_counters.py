"""Counters against a literal loop; what comes later, at the same instant or in the same request never enters one."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moon_rec.config import load_config
from moon_rec.errors import ConfigError
from ranking.features import PERIODS, FeatureConfig, RankingTables
from ranking.features.counters import COUNTER_COLUMNS, KEYS, Counters, counters_said
from ranking.features.impressions import in_requests
from ranking.features.preparation import Preparation

CONFIG = FeatureConfig(history_length=4, query_history_length=2)
NONE = FeatureConfig(counters="none")


def literal(frames, rows, config, cut):
    """The twelve numbers of each row of `rows` (user_id, item_id, start), row by row and impression by impression."""
    items = {row["item_id"]: row for row in frames["items"].iter_rows(named=True)}

    def key_of(kind, row):
        parts = []
        for part in kind.split("_"):
            if part == "user":
                parts.append(row["user_id"])
            elif row["item_id"] not in items:
                return None
            else:
                item = items[row["item_id"]]
                parts.append(row["item_id"] if part == "item" else item[part])
        return None if None in parts else tuple(parts)

    log = list(frames["impressions"].iter_rows(named=True))
    found = []
    for row in rows.iter_rows(named=True):
        moment = min(row["start"], cut) if config.counters == "frozen" else row["start"]
        before = [one for one in log if one["time"] < moment]
        rate = (sum(one[config.label] for one in before) + 1) / (len(before) + 2)
        numbers = []
        for kind in KEYS:
            own = key_of(kind, row)
            same = [one[config.label] for one in before if own and key_of(kind, one) == own]
            smoothed = (sum(same) + config.counter_prior * rate) / (
                len(same) + config.counter_prior
            )
            numbers += [np.log1p(len(same)), smoothed]
        found.append(numbers)
    return np.array(found)


def counted(shop, config, rows):
    counters = Counters.of(shop, config)
    assert counters is not None
    return counters.beside(rows).select(COUNTER_COLUMNS).to_numpy()


def coarse(frames, random, hours=12):
    """The planted log with many ties in time, rows mixed up, some brands and categories alike or missing."""
    shown = frames["impressions"].with_columns(pl.col("time").dt.truncate(f"{hours}h"))
    shown = shown.with_columns(
        purchased=pl.Series(random.random(shown.height) < 0.3) & pl.col("clicked")
    )
    return {**frames, "impressions": shown.sample(fraction=1, shuffle=True, seed=3)}


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        FeatureConfig(counters="frozen"),
        FeatureConfig(counter_prior=0.5),
        FeatureConfig(label="purchased"),
    ],
    ids=["rolling", "frozen", "another prior", "another label"],
)
def test_counters_are_those_of_a_literal_loop(planted, make_shop, tmp_path, config):
    frames = coarse(planted.frames, np.random.default_rng(0))
    shop = make_shop(frames, tmp_path / "shop")
    rows = in_requests(frames["impressions"]).gather_every(60)
    strangers = rows.head(4).with_columns(
        item_id=pl.Series([5, 5, 7, 7]), user_id=pl.Series([1000, 1, 1, 1001])
    )  # an item outside the catalogue, a user nobody knows
    rows = pl.concat([rows, strangers, rows.tail(2).with_columns(pl.col("start") + timedelta(365))])
    wanted = literal(frames, rows, config, shop.cut_time)
    found = counted(shop, config, rows)
    assert np.allclose(found, wanted, rtol=1e-12, atol=0)
    assert (wanted[:, ::2] > 0).any(axis=0).all(), "a counter that is never more than nothing"


def test_a_first_instant_counts_nothing(planted):
    rows = in_requests(planted.frames["impressions"]).head(1)
    found = counted(planted.shop, CONFIG, rows)[0]
    assert found.tolist() == [0, 0.5] * len(KEYS)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    moment=st.integers(0, 17),
    seed=st.integers(0, 999),
    kind=st.sampled_from(["rolling", "frozen"]),
)
def test_later_labels_and_those_of_the_same_instant_change_no_bit_of_a_row(
    planted, make_shop, tmp_path_factory, moment, seed, kind
):
    """Whatever the labels from an instant on are, rows up to and at that instant have the same features, to the bit."""
    random = np.random.default_rng(seed)
    frames = coarse(planted.frames, random)
    shown = frames["impressions"]
    times = shown["time"].unique().sort()
    at = times[moment % times.len()]
    other = shown.with_columns(
        clicked=pl.when(pl.col("time") < at)
        .then("clicked")
        .otherwise(pl.Series(random.random(shown.height) < random.random()))
    )
    config = FeatureConfig(counters=kind)
    rows = in_requests(shown).filter(pl.col("start") <= at)
    found = [
        counted(make_shop({**frames, "impressions": log}, tmp_path_factory.mktemp("later") / "shop"), config, rows)
        for log in (shown, other)
    ]  # fmt: skip
    assert found[0].tobytes() == found[1].tobytes()


def test_no_label_leaks_through_ties(planted, make_shop, tmp_path):
    """A log of one instant an item's only rows: counters that saw the instant would tell each label; these tell none."""
    shown = planted.frames["impressions"].with_columns(pl.col("time").dt.truncate("6h"))
    fresh = shown.with_columns(item_id=pl.int_range(pl.len()) % 120 * 7)
    shop = make_shop({**planted.frames, "impressions": fresh}, tmp_path / "shop")
    rows = in_requests(fresh)
    flipped = fresh.with_columns(~pl.col("clicked"))
    twin = make_shop({**planted.frames, "impressions": flipped}, tmp_path / "twin")
    for instant in rows["start"].unique().sort().gather([0, 5, 20]):
        at = rows.filter(pl.col("start") == instant)
        before = fresh.filter(pl.col("time") < instant)
        clean = make_shop(
            {
                **planted.frames,
                "impressions": pl.concat(
                    [before, flipped.filter(pl.col("time") >= instant)]
                ),
            },
            tmp_path / f"clean{instant.timestamp()}",
        )  # fmt: skip
        assert counted(shop, CONFIG, at).tobytes() == counted(clean, CONFIG, at).tobytes()
    assert not np.array_equal(counted(shop, CONFIG, rows), counted(twin, CONFIG, rows))


def test_order_of_the_file_changes_nothing(planted, make_shop, tmp_path):
    mixed = planted.frames["impressions"].sample(fraction=1, shuffle=True, seed=1)
    shop = make_shop({**planted.frames, "impressions": mixed}, tmp_path / "shop")
    one, other = (RankingTables.build(each, CONFIG) for each in (planted.shop, shop))
    for period in PERIODS:
        assert np.array_equal(one.periods[period].context, other.periods[period].context)


def test_frozen_counts_stay_as_they_were_at_the_cut(planted):
    """The rolling ones go on; on train rows the two are one."""
    frozen, rolling = (
        RankingTables.build(planted.shop, FeatureConfig(counters=kind)).periods
        for kind in ("frozen", "rolling")
    )
    assert np.array_equal(frozen["train"].context, rolling["train"].context)
    for period in ("validation", "test"):
        requests = frozen[period]
        of_item: dict[int, bytes] = {}
        for item, numbers in zip(requests.item_ids.tolist(), requests.context, strict=True):
            assert of_item.setdefault(item, numbers[:2].tobytes()) == numbers[:2].tobytes()
        assert (rolling[period].context[:, 0] >= requests.context[:, 0] - 1e-6).all()
        assert not np.array_equal(rolling[period].context, requests.context)


def test_scales_are_those_of_train_rows_and_are_saved(planted, tmp_path):
    tables = RankingTables.build(planted.shop, CONFIG)
    train = tables.periods["train"].context
    assert np.allclose(train.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(train.std(axis=0), 1, atol=1e-3)
    tables.preparation.save(tmp_path / "kept")
    again = RankingTables.build(planted.shop, preparation=Preparation.load(tmp_path / "kept"))
    assert np.array_equal(again.periods["test"].context, tables.periods["test"].context)


def test_no_counters_are_the_tables_of_before(planted, tmp_path):
    """And the digest, and what was saved then reads as what it was."""
    tables = RankingTables.build(planted.shop, NONE)
    assert tables.num_context == 0 and tables.counters == "none"
    assert NONE.digest() == "0118c91a7cad082a"
    tables.preparation.save(tmp_path / "kept")
    file = tmp_path / "kept" / "preparation.json"
    text = file.read_text()
    for line in ('    "counters": "none",\n', '    "counter_prior": 20.0,\n'):
        assert line in text or line.replace(",\n", "\n") in text
        text = text.replace(line, "")
    file.write_text(text)
    assert Preparation.load(tmp_path / "kept").config == NONE


def test_a_train_period_of_one_moment_has_no_counters_and_says_so(
    planted, make_shop, tmp_path, capsys
):
    cut = planted.shop.cut_time
    shown = planted.frames["impressions"].with_columns(
        time=pl.when(pl.col("time") < cut).then(cut - timedelta(days=1)).otherwise("time")
    )
    shop = make_shop({**planted.frames, "impressions": shown}, tmp_path / "shop")
    tables = RankingTables.build(shop, CONFIG)
    assert tables.num_context == 0 and tables.counters == "none"
    assert "none is before another: no counters are read" in capsys.readouterr().err


def test_a_context_column_may_not_be_called_as_a_counter_is():
    with pytest.raises(ConfigError, match=r"counter_item_rate.*rename that column") as caught:
        load_config(FeatureConfig, None, ['context=["counter_item_rate"]'])
    assert "\n" not in str(caught.value)


def test_counters_are_said_in_words():
    assert counters_said("none", "; ") == "; no counters"
    assert "its own period" in counters_said("rolling") and "cut" in counters_said("frozen")
