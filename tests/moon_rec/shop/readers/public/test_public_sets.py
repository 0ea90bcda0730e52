"""Each public set in the exact form of its publisher, made small: what was put in comes out, and what is left out is said."""

import shutil
import tomllib
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.shop import Histories, Shop
from moon_rec.shop.commands import main
from moon_rec.shop.own_ids import with_own_ids
from moon_rec.shop.readers.interactions import InteractionsConfig
from moon_rec.shop.readers.interactions.guess import USUAL
from moon_rec.shop.readers.public import public_set, public_sets
from moon_rec.shop.readers.public.page import page
from representation import bring
from tests.moon_rec.shop.readers.interactions.layouts import NUM_ITEMS, START
from tests.moon_rec.shop.readers.public import forms

ROOT = Path(__file__).resolve().parents[5]


class Expected(NamedTuple):
    """What a form gives: user and item as the set writes them (a function of the invented numbers), the columns beside the declared ones of
    log, items and users, pictures, and pieces of what is said."""

    user: object = str
    item: object = str
    log: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    users: tuple[str, ...] | None = None
    num_pictures: int = 0
    says: tuple[str, ...] = ()
    has_outcomes: bool = True
    has_times: bool = True
    num_items: int = NUM_ITEMS


POSITIVES = {"has_outcomes": False}
EXPECTED = {
    "recbole": Expected(items=("genre:token_seq",), users=("age:token", "gender:token")),
    "mmrec": Expected(**POSITIVES, says=("image_feat.npy --shop", "--ids rows")),
    "rechorus": Expected(**POSITIVES, says=("dev.csv is not read: its lists of sampled candidates",)),
    "mind": Expected(
        lambda user: f"U{user}", lambda item: f"N{item}", items=("subcategory",),
        says=("120 entries of history have no times", "entity_embedding.vec is not read: vectors of entities"),
    ),
    "eb-nerd": Expected(
        item=lambda item: str(9_000_000 + item), num_pictures=1, items=("article_type", "premium"),
        log=("device_type", "is_sso_user", "gender", "postcode", "age", "is_subscriber", "session_id"),
    ),
    "amazon csv": Expected(lambda user: f"AE{user:03d}", forms.asin, items=("main_category",), num_pictures=1, **POSITIVES),
    "amazon reviews": Expected(lambda user: f"AE{user:03d}", forms.asin, items=("main_category",), num_pictures=1, **POSITIVES),
    "h-and-m": Expected(
        lambda user: f"{user:064x}", lambda item: f"{item:010d}", num_pictures=1, **POSITIVES,
        items=("product_group_name", "graphical_appearance_name", "colour_group_name", "department_name", "index_name", "section_name", "garment_group_name"),
        users=("FN", "Active", "club_member_status", "fashion_news_frequency", "age", "postal_code"),
    ),
    "kuairand": Expected(
        log=("tab", "duration_ms"),
        items=("author_id", "video_type", "upload_type", "video_duration", "server_width", "server_height", "music_id", "music_type"),
        users=(
            "user_active_degree", "is_lowactive_period", "is_live_streamer", "is_video_author", "follow_user_num", "follow_user_num_range",
            "fans_user_num", "fans_user_num_range", "friend_user_num", "friend_user_num_range", "register_days", "register_days_range",
            *(f"onehot_feat{number}" for number in range(18)),
        ),
        says=("log_random_4_22_to_5_08_pure.csv is not read: videos that were shown at random",),
    ),
    "kuaivideo-x1": Expected(says=("480 entries of pos_items have no times", "item_visual_emb_dim64.h5 is not read: HDF5")),
    "microlens-mmctr": Expected(
        item=lambda item: str(item + 1), num_items=NUM_ITEMS + 1, num_pictures=1, has_times=False,
        says=("no times, so the publisher's split stands for them", "test.parquet is not read: it has no labels", "--columns item_emb_d128 --leave-out"),
    ),
    "taobao-mm": Expected(
        item=lambda item: str(-item - 1), has_times=False, log=("130_1", "130_2", "130_3", "130_4", "130_5", "206", "213", "214"),
        says=("one user in 10 of the others is validation", "63 events from 150_2_180, the last 100 of each list in their order", "_keys.npy --scale 0.007874015748031496"),
    ),
    "tencentgr": Expected(items=("100", "101", "102", "112", "122"), users=("103",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def made():
    """(form, further words) -> folder and what was said: shops that tests only read."""
    return {}


@pytest.fixture
def imported(made, tmp_path_factory, monkeypatch, capsys):
    """A function from a form's name to its shop and what was said, inside the folder of `data` and `shop`."""

    def run(name, *further):
        if (name, further) not in made:
            folder = tmp_path_factory.mktemp("form")
            (folder / "data").mkdir()
            forms.FORMS[name](folder / "data")
            monkeypatch.chdir(folder)
            command, *words = forms.COMMANDS.get(name, name).split()
            main(["import", command, "--data", "data", "--out", "shop", *words, *further])
            made[name, further] = folder, capsys.readouterr().err
        folder, said = made[name, further]
        monkeypatch.chdir(folder)
        return Shop.open("shop"), said

    return run


@pytest.mark.parametrize("name", list(forms.FORMS))
def test_what_was_put_in_comes_out(name, imported):
    wanted = EXPECTED[name]
    shop, said = imported(name)
    shop.validate()
    for piece in wanted.says:
        assert piece in said
    rows = with_own_ids(shop.impressions.collect(), shop.path)
    put_in = forms.rows()
    if not wanted.has_times:
        put_in = put_in.unique(["user", "item"], keep="first", maintain_order=True)
    if not wanted.has_outcomes:
        assert "every row is a positive" in said and not rows["clicked"].all()
        rows, put_in = rows.filter("clicked"), put_in.filter("clicked")
    expected = pl.DataFrame(
        {
            "user_id": [wanted.user(user) for user in put_in["user"]],
            "item_id": [wanted.item(item) for item in put_in["item"]],
            "clicked": put_in["clicked"],
            "time": put_in["time"].cast(pl.Datetime("us")),
        }
    )
    if name == "h-and-m":  # days alone; what is bought twice on one is one row
        expected = expected.with_columns(
            time=pl.lit(START) + pl.duration(days=put_in["page"] // 5)
        ).unique()
    kept = ["user_id", "item_id", "clicked"] + ["time"] * wanted.has_times
    found = rows.with_columns(pl.col("user_id", "item_id").cast(pl.String)).select(kept)
    assert found.sort(pl.all()).equals(expected.select(kept).sort(pl.all()))
    declared = {"request_id", "search_id", "user_id", "item_id", "time", "position"}
    assert set(rows.columns) - declared - {"clicked", "carted", "purchased"} == set(wanted.log)


@pytest.mark.parametrize("name", list(forms.FORMS))
def test_items_and_users_have_their_columns_and_no_others(name, imported):
    wanted, (shop, _) = EXPECTED[name], imported(name)
    items = shop.items.collect()
    assert items.height == wanted.num_items
    assert items["image"].is_not_null().sum() == wanted.num_pictures
    declared = {"item_id", "spu_id", "title", "category", "brand", "attributes", "description"}
    assert set(items.columns) - declared - {"price", "image", "listed_at"} == set(wanted.items)
    if wanted.users is None:
        assert shop.users is None
    else:
        assert set(shop.users.collect().columns) == {"user_id", *wanted.users}


def test_titles_texts_and_groups_are_the_publishers(imported):
    shop, _ = imported("h-and-m")
    items = with_own_ids(shop.items.collect(), shop.path).sort("item_id")
    assert items["title"][3] == "Strap top 3" and items["description"][3] == "Top, with straps."
    assert items["spu_id"][2] == items["spu_id"][3] != items["spu_id"][4]
    assert items.filter(pl.col("image").is_not_null())["item_id"].to_list() == ["0000000003"]


def test_a_list_of_texts_is_a_path_of_categories(imported):
    shop, _ = imported("amazon csv")
    items = shop.items.collect()
    assert set(items["category"]) == {"Beauty/Face"} and set(items["brand"]) == {"Shop"}
    assert set(items["description"]) == {"One. Two."}


def test_two_layouts_of_one_set_give_one_shop(tmp_path, monkeypatch):
    for name in ("amazon csv", "amazon reviews"):
        (tmp_path / name).mkdir()
        forms.FORMS[name](tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for name in ("amazon csv", "amazon reviews"):
        main(["import", "amazon-reviews-2023", "--data", name, "--out", f"{name} shop"])
    assert Shop.open("amazon csv shop").digest == Shop.open("amazon reviews shop").digest


def test_conversions_are_purchases_and_clicks(imported):
    shop, _ = imported("tencentgr")
    rows = shop.impressions.collect()
    assert rows["purchased"].to_list() == (rows["clicked"] & (rows["item_id"] == 5)).to_list()
    assert rows["purchased"].any()


def test_a_history_file_is_events_that_histories_read(imported):
    shop, said = imported("eb-nerd")
    events = shop.events.collect()
    users = forms.rows()["user"].unique().sort().to_list()
    assert sorted(set(events["user_id"])) == users and events.height == 2 * len(users)
    assert "events repeat one of the same user, item and time" in said, "of train and validation"
    assert set(events["item_id"]) == {9_000_001, 9_000_002}
    assert events["time"].max() < shop.impressions.collect()["time"].min()
    first = shop.impressions.collect().sort("time").head(1)
    starts, ends = Histories.of(shop).before(
        first["user_id"].to_numpy(), first["time"].to_numpy(), 50
    )
    assert (ends - starts).tolist() == [2]


def test_days_of_a_clock_are_the_publishers_periods(imported):
    shop, _ = imported("taobao-mm")
    rows = shop.impressions.collect()
    assert rows["time"].n_unique() == 3
    test = shop.in_period(rows, "test").collect()
    assert test.height == 40, "the rows of the publisher's test files"
    train, validation = (
        set(shop.in_period(rows, each).collect()["user_id"]) for each in ("train", "validation")
    )
    assert train and validation and not train & validation


@pytest.mark.parametrize(
    ("name", "past"), [("taobao-mm", [-4, -5, -6]), ("microlens-mmctr", [3, 5])]
)
def test_lists_without_times_are_events_in_their_order_before_their_period(name, past, imported):
    shop, _ = imported(name)
    events, rows = shop.events.collect(), shop.impressions.collect()
    for user, periods in rows.group_by("user_id").agg(pl.col("time").unique()).rows():
        own = events.filter(pl.col("user_id") == user).sort("time")
        assert own["item_id"].to_list() == past * len(periods)
        for day in periods:
            before = own.filter(pl.col("time").is_between(day - timedelta(milliseconds=1), day))
            assert before["item_id"].to_list() == past
    test = shop.in_period(rows, "test").collect()
    starts, ends = Histories.of(shop).before(
        test["user_id"].to_numpy(), test["time"].to_numpy(), 50
    )
    assert ((ends - starts) >= len(past)).all()


def test_a_list_that_may_hold_another_rows_label_is_left_out(tmp_path, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    forms.taobao_mm(tmp_path / "data")
    file = tmp_path / "data" / "test" / "test-shard-000000.parquet"
    rows = pl.read_parquet(file)
    user = rows["129_1"].value_counts(sort=True)["129_1"][0]
    later = pl.Series([[-4, -5, -6, -9]], dtype=pl.List(pl.Int64))
    first = pl.int_range(pl.len()) == pl.arg_where(pl.col("129_1") == user).first()
    rows.with_columns(
        pl.when(first).then(pl.lit(later).first()).otherwise("150_2_180").alias("150_2_180")
    ).write_parquet(file)
    monkeypatch.chdir(tmp_path)
    main(["import", "taobao-mm", "--data", "data", "--out", "shop"])
    assert "1 users' lists of a period differ from row to row" in capsys.readouterr().err
    events = Shop.open("shop").events.collect().filter(pl.col("user_id") == user)
    assert events.filter(pl.col("time") > datetime(2000, 1, 2)).height == 0


def test_settings_of_the_user_go_over_the_map(imported):
    shop, _ = imported(
        "kuairand",
        "--set",
        "log.keep=[]",
        "--set",
        "items.keep=['author_id']",
        "--set",
        "name=mine",
    )
    assert shop.name == "mine" and "tab" not in shop.impressions.collect_schema()
    assert (
        "author_id" in shop.items.collect_schema() and "music_id" not in shop.items.collect_schema()
    )


@pytest.mark.parametrize(
    ("file", "table"), [("video_features_basic_pure", "items"), ("user_features_pure", "users")]
)
def test_a_column_that_nobody_listed_is_left_out_and_named(
    file, table, tmp_path, monkeypatch, capsys
):
    (tmp_path / "data").mkdir()
    forms.kuairand(tmp_path / "data")
    path = tmp_path / "data" / "data" / f"{file}.csv"
    header, *rest = path.read_text().splitlines()
    path.write_text("\n".join([f"{header},ctr", *(f"{line},0.5" for line in rest)]))
    monkeypatch.chdir(tmp_path)
    main(["import", "kuairand", "--data", "data", "--out", "shop"])
    assert "ctr left out: KuaiRand" in capsys.readouterr().err
    assert "ctr" not in Shop.open("shop").table(table).collect_schema()


@pytest.mark.parametrize(("name", "described"), list(public_sets()))
def test_a_map_names_columns_that_are_listed(name, described):
    for layout in described.layouts:
        config = InteractionsConfig.model_validate(layout.map)
        for table, columns in layout.tables.items():
            roles = [getattr(getattr(config, table), role) for role in USUAL.get(table, {})]
            keep = getattr(getattr(config, table), "keep", None) or ()
            unfolded = ("item_id", "action_type", "timestamp") if name == "tencentgr" else ()
            for column in [*(role for role in roles if role), *keep]:
                assert column.split("[")[0] in {*columns.columns, *unfolded}, (layout.name, column)
            assert set(columns.may_lack) <= set(columns.columns)
            assert set(columns.types) <= set(columns.columns)


VECTORS = {
    "mmrec": ("image_feat.npy", 24, 8),
    "microlens-mmctr": ("item_info.parquet", 24, 128),
    "taobao-mm": ("scl_emb_int8_p90_values.npy", 24, 16),
}


@pytest.mark.parametrize("name", list(VECTORS))
def test_the_command_that_is_said_brings_the_shipped_vectors(name, imported, tmp_path):
    """The line is run as it stands; every item has its own vector."""
    file, number, dim = VECTORS[name]
    shop, said = imported(name)
    line = next(
        each for each in said.splitlines() if "representation.bring" in each and file in each
    )
    words = line.split("representation.bring ")[1].replace("TABLE", str(tmp_path / "table")).split()
    bring.main(words)
    table = EmbeddingTable.open(tmp_path / "table")
    assert len(table) == number and table.dim == dim
    assert set(table.ids.tolist()) <= set(shop.items.collect()["item_id"])
    vectors, is_there = table.lookup(table.ids[:1])
    assert is_there.all()
    if name == "mmrec":
        assert np.allclose(vectors[0], np.load(f"data/{file}", allow_pickle=False)[table.ids[0]])
    if name == "taobao-mm":
        keys = np.load("data/feature_map/scl_emb_int8_p90_keys.npy", allow_pickle=False)
        row = int(np.flatnonzero(keys == table.ids[0])[0])
        assert np.allclose(
            vectors[0], np.load(f"data/feature_map/{file}", allow_pickle=False)[row] / 127
        )


def test_every_set_has_a_command_and_a_form(capsys):
    with pytest.raises(SystemExit):
        main(["import", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    tested = {forms.COMMANDS.get(name, name).split()[0] for name in forms.FORMS}
    for name, described in public_sets():
        assert f" {name} " in printed
        assert described.reader or described.refused or name in tested


def test_the_page_is_made_of_the_maps():
    assert (ROOT / "docs" / "public_sets.md").read_text(encoding="utf-8") == page(), (
        "run: python -m moon_rec.shop.readers.public.page"
    )


def test_every_map_is_in_the_wheel():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "**/*.toml" in settings["tool"]["setuptools"]["package-data"]["*"]
    assert public_set("mind").title.startswith("MIND")


def test_the_real_grocery_log(real_data, tmp_path):
    """Its first rows, and all of its items."""
    text = (real_data / "grocery_amazon" / "train.csv").read_text()
    forms.lines(tmp_path / "data" / "train.csv", *text.splitlines()[:8_000])
    shutil.copy(real_data / "grocery_amazon" / "item_meta.csv", tmp_path / "data")
    main(["import", "rechorus", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "shop")])
    raw = pl.read_csv(tmp_path / "data" / "train.csv", separator="\t")
    rows = Shop.open(tmp_path / "shop").impressions.filter("clicked").collect()
    assert rows.height == raw.unique(["user_id", "item_id", "time"]).height
    assert rows["item_id"].n_unique() == raw["item_id"].n_unique()
