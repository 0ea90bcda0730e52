"""The simulated shop as a whole: repeatable, valid, in time, and true to its own plan."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from moon_rec.errors import MoonRecError
from moon_rec.shop.simulate import SimulationConfig, simulate_shop
from moon_rec.texts import normal_text

SMALL = SimulationConfig(num_items=60, num_users=20, num_requests=90, image_size=32, chunk=40)


@pytest.fixture(scope="module")
def seen(simulated):
    """Impressions with their true probability, when their item was listed, and whether that item is cold."""
    warm = simulated.in_period(simulated.impressions, "train").select("item_id").unique()
    return (
        simulated.impressions.join(simulated.truth, on=["request_id", "item_id"])
        .join(simulated.items.select("item_id", "spu_id", "listed_at"), on="item_id")
        .join(warm.with_columns(is_cold=False), on="item_id", how="left")
        .with_columns(pl.col("is_cold").fill_null(True))
        .collect()
    )


def test_same_settings_same_bytes(tmp_path):
    first, second = (simulate_shop(SMALL, tmp_path / name) for name in "ab")
    assert first.digest == second.digest
    other = simulate_shop(SMALL.model_copy(update={"seed": 1}), tmp_path / "c")
    assert other.digest != first.digest


def test_an_existing_folder_is_kept(tmp_path):
    simulate_shop(SMALL, tmp_path / "shop")
    with pytest.raises(MoonRecError, match="exists already"):
        simulate_shop(SMALL, tmp_path / "shop")


def test_its_texts_are_in_normal_form(simulated):
    """So that a rule of texts moves no figure of the demo."""
    for table, name in (("items", "title"), ("items", "category"), ("searches", "query_text")):
        texts = getattr(simulated, table).select(name, normal=normal_text(name)).collect()
        assert texts[name].equals(texts["normal"], null_equal=True)


def test_the_shop_is_valid_and_says_it_is_simulated(simulated, config):
    simulated.validate()
    assert simulated.is_simulated
    assert "simulated" in simulated.source and f"seed {config.seed}" in simulated.source
    counts = simulated.manifest.rows
    assert counts["impressions"] == counts["truth"] and counts["items"] == config.num_items


def test_nothing_is_shown_before_it_is_listed(seen):
    assert (seen["time"] >= seen["listed_at"]).all()


def test_every_period_has_its_share(simulated, seen, config):
    shares = [
        simulated.in_period(seen, period).collect().height / seen.height
        for period in ("train", "validation", "test")
    ]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.01)


def test_a_request_follows_its_search_within_its_period(simulated):
    requests = simulated.impressions.select("request_id", "search_id", "user_id", "time").unique()
    joined = requests.join(simulated.searches, on="search_id", suffix="_searched").collect()
    assert joined.height == joined["search_id"].n_unique() == simulated.manifest.rows["searches"]
    assert (joined["user_id"] == joined["user_id_searched"]).all()
    delay = (joined["time"] - joined["time_searched"]).dt.total_milliseconds()
    assert delay.min() >= 0 and delay.max() < 5_000
    for border in (simulated.cut_time, simulated.test_time):
        assert ((joined["time"] < border) == (joined["time_searched"] < border)).all()


def test_kinds_of_requests_come_as_planned(simulated, config):
    kinds = simulated.searches.select(
        image=pl.col("query_image").is_not_null(), text=pl.col("query_text").is_not_null()
    ).collect()
    count = kinds.height
    assert (kinds["image"] | kinds["text"]).all()
    assert count / config.num_requests == pytest.approx(0.7, abs=0.03)
    assert (kinds["image"] & ~kinds["text"]).sum() / count == pytest.approx(0.45, abs=0.04)
    assert (kinds["image"] & kinds["text"]).sum() / count == pytest.approx(0.25, abs=0.04)


def test_positions_count_from_one(seen, config):
    positions = seen.group_by("request_id").agg(pl.col("position").sort(), count=pl.len())
    assert (positions["position"].list.first() == 1).all()
    assert (positions["position"].list.last() == positions["count"]).all()
    assert positions["count"].max() == config.request_size


def test_a_purchase_was_carted_and_a_cart_was_clicked(seen):
    assert seen.filter("purchased").height > 100
    assert seen.filter(pl.col("purchased") & ~pl.col("carted")).is_empty()
    assert seen.filter(pl.col("carted") & ~pl.col("clicked")).is_empty()


def test_the_truth_is_calibrated_in_every_tenth(seen):
    rank = pl.col("click_probability").rank("ordinal") - 1
    for _, rows in seen.group_by(rank * 10 // pl.len()):
        assert len(rows) > 2_000
        probability = rows["click_probability"].to_numpy()
        error = np.sqrt((probability * (1 - probability)).sum()) / len(probability)
        assert abs(rows["clicked"].mean() - probability.mean()) < 4 * error


def test_the_click_rate_and_the_best_auc_are_as_documented(seen, config):
    assert seen["clicked"].mean() == pytest.approx(config.click_rate, abs=0.01)
    assert 0.81 < roc_auc_score(seen["clicked"], seen["click_probability"]) < 0.88
    cold = seen.filter("is_cold")
    assert 0.78 < roc_auc_score(cold["clicked"], cold["click_probability"]) < 0.89


def test_a_fifth_of_the_test_impressions_is_on_cold_items(simulated, seen):
    assert 0.15 < simulated.in_period(seen, "test").collect()["is_cold"].mean() < 0.25


def test_shoppers_differ_in_how_much_they_do(seen):
    counts = seen.group_by("user_id").len()["len"].sort()
    assert counts[-30:].sum() > 3 * counts[:30].sum()


def test_a_myntra_shop(real_data, tmp_path):
    settings = SimulationConfig(catalogue="myntra", num_items=150, num_users=20, num_requests=60)
    shop = simulate_shop(settings, tmp_path / "shop", data=real_data / "myntra")
    shop.validate()
    assert "Myntra" in shop.source and "simulated prices" in shop.source
    items = shop.items.collect()
    assert items["description"].null_count() == 150 and items["image"].null_count() == 0


def test_every_drawn_picture_has_its_true_box(simulated, config):
    """One a picture, within it, apart in truth/."""
    boxes = simulated.true_boxes
    assert boxes is not None
    for table, key, column in (
        ("items", "item_id", "image"),
        ("searches", "search_id", "query_image"),
    ):
        shown = simulated.table(table).filter(pl.col(column).is_not_null()).select(key).collect()
        found = boxes.filter(table=table)
        assert sorted(found["id"]) == sorted(shown[key])
        size = config.image_size
        assert found.select(
            ((pl.col("x0") >= 0) & (pl.col("y0") >= 0) & (pl.col("x1") > pl.col("x0"))).all(),
            ((pl.col("y1") > pl.col("y0")) & (pl.max_horizontal("x1", "y1") <= size))
            .all()
            .alias("b"),
        ).row(0) == (True, True)
    assert not any(column in simulated.items.collect_schema() for column in ("x0", "x1"))
