"""Segments of a table of scores: whole, disjoint, and nothing lost without its name."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moon_rec.errors import RankingError
from ranking.judging.judgement import evaluate
from ranking.judging.segments import groups_of, segments_of
from ranking.metrics import auc


def table(seed=0, rows=1200, users=100):
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "request_id": np.arange(rows) // 6,
            "item_id": np.arange(rows) % 6,
            "user_id": random.integers(0, users, rows),
            "label": random.integers(0, 2, rows).astype(np.int8),
            "score": random.random(rows),
            "is_cold": random.random(rows) < 0.3,
            "category": pl.Series(random.choice(["Home", "Shoes", "Hats"], rows)).set(
                pl.Series(random.random(rows) < 0.1), None
            ),
            "history_length": random.poisson(6, rows) * (random.random(rows) < 0.8),
            "price": np.where(random.random(rows) < 0.05, np.nan, random.gamma(2, 30, rows)),
        }
    )


@given(st.integers(0, 1000), st.sampled_from(["category", "history_length", "price", "is_cold"]))
@settings(max_examples=25)
def test_groups_share_no_row_and_leave_none(seed, column):
    scores = table(seed, rows=150)
    rows = np.array(list(groups_of(scores, column).values()))
    assert (rows.sum(axis=0) == 1).all()


def test_values_make_groups_and_missing_ones_are_unknown():
    scores = table()
    groups = groups_of(scores, "category")
    assert list(groups) == ["Hats", "Home", "Shoes", "unknown"]
    assert (groups["Home"] == (scores["category"] == "Home").fill_null(False).to_numpy()).all()
    assert groups["unknown"].sum() == scores["category"].null_count()
    assert groups_of(scores, "price")["unknown"].sum() == scores["price"].is_nan().sum()


def test_counts_are_cut_at_quantiles_with_zero_apart():
    scores = table()
    groups = groups_of(scores, "history_length")
    lengths = scores["history_length"].to_numpy()
    assert next(iter(groups)) == "0"
    assert (groups["0"] == (lengths == 0)).all()
    for name, rows in list(groups.items())[1:]:
        ends = [float(end) for end in name.split(" to ")]
        assert (lengths[rows].min(), lengths[rows].max()) == (ends[0], ends[-1])
    quarters = [
        rows.sum() for name, rows in groups_of(scores, "price").items() if name != "unknown"
    ]
    assert len(quarters) == 4 and max(quarters) - min(quarters) <= 1


def test_metrics_of_a_group_are_those_of_its_rows():
    scores = table()
    found = evaluate(scores, num_resamples=10, by=["category"])
    home = scores.filter(pl.col("category") == "Home")
    by_hand = auc(home["label"].to_numpy(), home["score"].to_numpy())
    assert found["auc[category=Home]"].value == pytest.approx(by_hand, abs=1e-12)
    assert found["auc[category=Home]"].count == home.height
    assert "category = Home only" in found["gauc_users[category=Home]"].definition
    plain = evaluate(scores, num_resamples=10)
    assert {name: found[name] for name in plain} == plain


def test_what_cannot_be_judged_is_named_with_its_reason():
    scores = table().with_columns(
        part=pl.when(pl.col("user_id") < 5)
        .then(pl.lit("few"))
        .when(pl.col("label") == 1)
        .then(pl.lit("clicks"))
        .otherwise(pl.lit("none"))
    )
    found = segments_of(scores, ["part"])
    assert [one.key for one in found.judged] == ["", "_cold", "_warm"]
    reasons = {one.name: one.reason for one in found.left_out}
    assert reasons == {
        "part = few": "fewer users than 20",
        "part = clicks": "clicks alone",
        "part = none": "no click",
    }
    few = scores.filter(pl.col("user_id") < 5)
    assert f"part = few: {few.height} rows of 5 users, fewer" in str(found.left_out[1])
    assert "auc[part=few]" not in evaluate(scores, num_resamples=2, by=["part"])


def test_only_the_largest_of_many_values_are_judged_and_the_others_named():
    scores = table().with_columns(word=pl.Series([f"w{min(row % 50, 9)}" for row in range(1200)]))
    found = segments_of(scores, ["word"], min_users=1, max_segments=3)
    assert [one.key for one in found.judged[3:]] == ["[word=w0]", "[word=w1]", "[word=w9]"]
    assert len(found.left_out) == 7
    assert "not among the 3 largest" in found.left_out[0].reason


def test_users_of_one_class_are_counted():
    scores = pl.DataFrame(
        {
            "user_id": [1, 1, 2, 2, 3, 3],
            "label": [1, 0, 1, 1, 0, 0],
            "is_cold": [False] * 6,
        }
    )
    (whole, warm), left_out = segments_of(scores).judged, segments_of(scores).left_out
    assert (whole.num_users, whole.num_two_class_users, whole.num_clicks) == (3, 1, 3)
    assert warm.num_rows == 6
    assert [(one.name, one.reason) for one in left_out] == [("cold items", "nothing to judge")]


def test_errors():
    scores = table()
    with pytest.raises(RankingError, match=r"no column 'colour'.*category"):
        segments_of(scores, ["colour"])
    with pytest.raises(RankingError, match="group by text or numbers"):
        groups_of(scores.with_columns(nested=pl.concat_list("item_id")), "nested")
    with pytest.raises(RankingError, match="1,200 different values"):
        groups_of(scores.with_columns(word=pl.Series(map(str, range(1200)))), "word")
    with pytest.raises(RankingError, match="min_users 0"):
        segments_of(scores, min_users=0)
