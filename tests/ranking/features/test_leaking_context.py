"""Context that knows the label is refused by name; what is known before the page is read."""

import numpy as np
import polars as pl
import pytest

from moon_rec.config import load_config
from moon_rec.errors import ConfigError, RankingError
from ranking.features import FeatureConfig, RankingTables
from ranking.features.context import OUTCOMES
from ranking.features.counters import COUNTER_COLUMNS
from ranking.features.preparation import Preparation

LEAKING = {
    "itself": lambda clicked, noise: clicked.astype(float),
    "noisy": lambda clicked, noise: clicked + 0.2 * noise,
    "reversed": lambda clicked, noise: 1.0 - clicked,
    "middle": lambda clicked, noise: np.where(clicked, 0.0, np.sign(noise)),
    "seconds": lambda clicked, noise: np.where(clicked, np.abs(noise), np.nan),
    "not_seen": lambda clicked, noise: np.where(clicked, np.nan, 1.0),
    "order": lambda clicked, noise: np.where(clicked & (noise > 0.5), 9.0 + noise, 0.0),
}


@pytest.fixture(scope="module")
def leaking(planted, make_shop, tmp_path_factory):
    """The planted shop with a column for each way of knowing the label, and honest ones."""
    shown = planted.frames["impressions"]
    clicked = shown["clicked"].to_numpy()
    noise = np.random.default_rng(0).normal(size=clicked.size)
    columns = {name: pl.Series(make(clicked, noise)) for name, make in LEAKING.items()}
    columns["strong"] = pl.Series(clicked + noise)
    early = (shown["time"] < planted.shop.cut_time).to_numpy()
    columns["only_later"] = pl.Series(np.where(early, noise, clicked))
    frames = {
        **planted.frames,
        "impressions": shown.with_columns(columns.pop(name).alias(name) for name in list(columns)),
    }
    return make_shop(frames, tmp_path_factory.mktemp("leaking") / "shop")


@pytest.mark.parametrize("missing", ["flag", "mean"])
@pytest.mark.parametrize("name", LEAKING)
def test_a_column_that_knows_the_label_is_refused_with_its_numbers(leaking, name, missing):
    config = FeatureConfig(context=("strong", name), missing_context=missing)
    with pytest.raises(RankingError) as caught:
        Preparation.fit(leaking, config)
    said = str(caught.value)
    assert (
        f"context column {name!r} knows clicked in the train period: " in said and "\n" not in said
    )
    for piece in ("AUC", " rows", f'trusted_context=["{name}"]', "leave it out"):
        assert piece in said


@pytest.mark.parametrize("name", LEAKING)
def test_a_column_asked_for_by_name_is_read(leaking, name):
    config = FeatureConfig(context=("strong", name), trusted_context=(name,))
    assert RankingTables.build(leaking, config).num_context >= 2


def test_a_strong_column_and_one_that_tells_nothing_of_train_are_read(leaking):
    """What a column knows is judged on train rows alone: nothing after the cut is looked at."""
    config = FeatureConfig(context=("strong", "only_later", "dwell"), counters="none")
    assert Preparation.fit(leaking, config).num_context == 3


def test_purchases_as_the_label_are_judged_by_purchases(leaking):
    config = FeatureConfig(label="purchased", context=("itself",), counters="none")
    assert Preparation.fit(leaking, config).num_context == 1
    with pytest.raises(RankingError, match="'seconds' knows clicked"):
        Preparation.fit(leaking, FeatureConfig(context=("seconds",)))


def test_a_position_that_puts_clicks_first_or_last_is_refused_where_it_is_read(
    planted, make_shop, tmp_path
):
    assert (
        Preparation.fit(planted.shop, FeatureConfig(use_position=True, counters="none")).num_context
        == 1
    )
    for order, sign in {"first": -1, "last": 1}.items():
        rank = (sign * pl.col("clicked").cast(pl.Int32)).rank("ordinal").over("request_id")
        shown = planted.frames["impressions"].with_columns(position=rank.cast(pl.Int32) - 1)
        shop = make_shop({**planted.frames, "impressions": shown}, tmp_path / order)
        message = "'position' knows clicked in the train period: its order within requests alone has AUC 1.0000.*"
        for config in (
            FeatureConfig(use_position=True, counters="none"),
            FeatureConfig(context=("position",)),
        ):
            with pytest.raises(RankingError, match=message + '="position"'.replace("=", r"=\[")):
                Preparation.fit(shop, config)
        trusted = FeatureConfig(use_position=True, trusted_context=("position",), counters="none")
        assert Preparation.fit(shop, trusted).num_context == 1
        assert Preparation.fit(shop, FeatureConfig()).num_context == len(COUNTER_COLUMNS)


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("name", [*OUTCOMES, "request_id", "search_id", "user_id", "item_id"])
def test_outcomes_and_keys_are_no_context_whoever_is_trusted(planted, name, trusted):
    for label in ("clicked", "purchased"):
        config = FeatureConfig(
            label=label, context=("dwell", name), trusted_context=(name,) if trusted else ()
        )
        with pytest.raises(
            RankingError, match=f"{name!r} is an? (outcome|key).*leave it out"
        ) as caught:
            RankingTables.build(planted.shop, config)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dwell", "position"])
def test_trust_in_what_is_not_read_is_no_setting(name):
    with pytest.raises(ConfigError, match=f"{name!r}, which is not read") as caught:
        load_config(FeatureConfig, None, [f'trusted_context=["{name}"]'])
    assert "\n" not in str(caught.value)


def test_trust_in_nothing_leaves_the_digest_that_saved_rankers_have():
    """As it was before the setting was there."""
    assert FeatureConfig(counters="none").digest() == "0118c91a7cad082a"
    trusting = FeatureConfig(context=("dwell",), trusted_context=("dwell",))
    assert trusting.digest() != FeatureConfig(context=("dwell",)).digest()
    assert FeatureConfig.model_validate_json(trusting.model_dump_json()) == trusting


def test_a_shop_of_a_day_convicts_no_column(planted, make_shop, tmp_path):
    """Five rows that agree by chance: too few to judge by."""
    shown = planted.frames["impressions"]
    early = shown.filter(pl.col("time") < planted.shop.cut_time).head(6)
    late = shown.filter(pl.col("time") >= planted.shop.cut_time)
    assert early["clicked"].n_unique() == 2
    rows = pl.concat([early, late]).with_columns(same=pl.col("clicked").cast(pl.Float64))
    shop = make_shop({**planted.frames, "impressions": rows}, tmp_path / "shop")
    assert Preparation.fit(shop, FeatureConfig(context=("same",))).num_context == 1
