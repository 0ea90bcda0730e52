"""Opening, splitting and digesting a shop; writing one whole or not at all."""

import json
import os
import shutil
from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from moon_rec.errors import MoonRecError, ShopError
from moon_rec.shop import Shop, ShopWriter
from moon_rec.shop import writer as writing
from moon_rec.shop.schema import FILES, columns_of

from .conftest import CUT, START, TEST, impressions, items, searches


def write(out, item_frames, further=None, **options):
    about = {"name": "n", "source": "s", "is_simulated": True, "cut_time": CUT, "test_time": TEST}
    with ShopWriter(out, **(about | options)) as writer:
        writer.write("items", item_frames)
        writer.write("impressions", impressions())
        writer.write("searches", searches())
        for table, frame in (further or {}).items():
            writer.write(table, frame)
    return Shop.open(out)


def test_what_is_written_is_read(shop):
    assert (shop.name, shop.source, shop.is_simulated) == ("hand", "by hand", False)
    assert (shop.cut_time, shop.test_time) == (CUT, TEST)
    assert shop.truth is None
    assert shop.users.collect()["age"].to_list() == [20, 30, 40]
    for table in ("items", "searches", "impressions"):
        assert dict(shop.table(table).collect_schema()) == columns_of(table)
    read = shop.items.collect()
    assert_frame_equal(read.select(items().columns), items())
    assert read["brand"].null_count() == 6
    assert_frame_equal(shop.impressions.collect(), impressions(), check_dtypes=False)
    shop.validate()


def test_periods_part_the_rows(shop):
    parts = {
        period: shop.in_period(shop.impressions, period).collect()
        for period in ("train", "validation", "test")
    }
    assert [len(part) for part in parts.values()] == [12, 4, 4]
    assert parts["train"]["time"].max() < CUT <= parts["validation"]["time"].min()
    assert parts["validation"]["time"].max() < TEST <= parts["test"]["time"].min()


def test_a_row_at_a_cut_belongs_after_it(shop):
    moments = pl.DataFrame({"time": [CUT, TEST]})
    assert shop.in_period(moments, "train").collect().height == 0
    assert shop.in_period(moments, "validation").collect()["time"].to_list() == [CUT]
    assert shop.in_period(moments, "test").collect()["time"].to_list() == [TEST]


def test_unknown_period(shop):
    with pytest.raises(ShopError, match="period 'tset' is unknown: choose one of train"):
        shop.in_period(shop.impressions, "tset")


def test_bytes_do_not_depend_on_chunking(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "PICTURE_ROW_GROUP", 4)
    whole = write(tmp_path / "a", items())
    parts = write(tmp_path / "b", [items()[:3], items()[3:5].lazy(), items()[5:]])
    assert whole.digest == parts.digest
    assert (whole.path / "items.parquet").read_bytes() == (
        parts.path / "items.parquet"
    ).read_bytes()


def test_digest_tells_contents_and_cuts_but_not_names(tmp_path):
    first = write(tmp_path / "a", items())
    assert write(tmp_path / "b", items(), name="other", source="else").digest == first.digest
    changed = items().with_columns(price=pl.lit(1.0))
    assert write(tmp_path / "c", changed).digest != first.digest
    assert write(tmp_path / "d", items(), cut_time=CUT - timedelta(1)).digest != first.digest


def test_digest_survives_a_copy(shop, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(shop.path, copy)
    os.utime(copy / "manifest.json", (0, 0))
    assert Shop.open(copy).digest == shop.digest


def test_a_manifest_by_hand_is_enough(shop):
    path = shop.path / "manifest.json"
    values = json.loads(path.read_text())
    digest = shop.digest
    for name in ("rows", "sizes", "fingerprints"):
        del values[name]
    values["cut_time"] = "2025-03-07T02:00:00+02:00"
    path.write_text(json.dumps(values))
    again = Shop.open(shop.path)
    assert again.digest == digest
    assert again.cut_time == CUT


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("cut_time", "soon", "'soon' is not a time"),
        ("is_simulated", "no", "is_simulated is 'no', wanted bool"),
        ("schema_version", 9, "schema_version is 9, wanted 1"),
        ("rows", {"items": "six"}, "wanted table -> int"),
    ],
)
def test_a_broken_manifest_is_named(shop, name, value, message):
    path = shop.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(ShopError, match=message) as error:
        Shop.open(shop.path)
    assert "\n" not in str(error.value)


def test_no_manifest_says_how_to_make_one(shop):
    (shop.path / "manifest.json").unlink()
    with pytest.raises(ShopError, match="shop import tables"):
        Shop.open(shop.path)


def test_no_folder(tmp_path):
    with pytest.raises(ShopError, match="is not a folder"):
        Shop.open(tmp_path / "none")


def test_an_error_leaves_nothing(tmp_path):
    with (
        pytest.raises(RuntimeError),
        ShopWriter(
            tmp_path / "shop",
            name="n",
            source="s",
            is_simulated=False,
            cut_time=CUT,
            test_time=TEST,
        ) as writer,
    ):
        writer.write("items", items())
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_shop_without_impressions_is_not_written(tmp_path):
    with (
        pytest.raises(ShopError, match="table impressions was never written"),
        ShopWriter(
            tmp_path / "shop",
            name="n",
            source="s",
            is_simulated=False,
            cut_time=CUT,
            test_time=TEST,
        ) as writer,
    ):
        writer.write("items", items())
    assert list(tmp_path.iterdir()) == []


def test_validate_on_writing_keeps_a_broken_shop_from_appearing(tmp_path):
    twice = pl.concat([items(), items()[:1]])
    with pytest.raises(ShopError, match=r"our log, made .*items\.item_id row 6: 11 is dup"):
        write(tmp_path / "shop", twice, validate="our log")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "shop", twice)


def test_an_existing_folder_is_kept(tmp_path):
    write(tmp_path / "shop", items())
    with pytest.raises(MoonRecError, match="exists already"):
        write(tmp_path / "shop", items())
    assert (
        write(tmp_path / "shop", items()[::-1], overwrite=True).items.collect()["item_id"][0] == 16
    )


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (items().drop("title"), "items: column title is missing from the frame written"),
        (
            items().with_columns(price=pl.lit("dear")),
            r"items\.price row 0: 'dear' is String, wanted numbers \(6 rows do\)",
        ),
        (
            [items(), items().with_columns(pl.col("item_id") + 6.5)],
            r"items\.item_id row 6: 17\.5 is no whole number \(6 rows do\)",
        ),
        (
            items().with_columns(pl.col("listed_at").dt.epoch("s")),
            r"items\.listed_at row 0: 174\d+ is a number without a unit",
        ),
        (
            [items(), items().with_columns(extra=pl.lit(1))],
            "items: a later frame has columns",
        ),
    ],
)
def test_a_frame_that_does_not_fit(tmp_path, frame, message):
    with pytest.raises(ShopError, match=message):
        write(tmp_path / "shop", frame)


def test_test_time_must_be_after_cut_time(tmp_path):
    with pytest.raises(ShopError, match="validation would be empty"):
        write(tmp_path / "shop", items(), test_time=CUT)


def test_further_columns_are_kept_and_truth_lies_apart(tmp_path):
    truth = impressions().select("request_id", "item_id", click_probability=pl.lit(0.25))
    shop = write(
        tmp_path / "shop", items().with_columns(season=pl.lit("may")), further={"truth": truth}
    )
    assert shop.items.collect()["season"].unique().to_list() == ["may"]
    assert shop.truth is not None
    assert shop.truth.collect().height == 20
    assert (shop.path / FILES["truth"]).parent.name == "truth"
    assert START < CUT
    shop.validate()
