"""A log that is read in parts is the log that is read at once; a text that is read at once is the text that is read by every way."""

import numpy as np
import polars as pl
import pytest

from moon_rec.shop import Shop
from moon_rec.shop.commands import main
from moon_rec.shop.readers.interactions import numbered, rows, typed
from moon_rec.shop.readers.interactions.config import LogColumns
from moon_rec.shop.readers.interactions.scratch import Scratch
from moon_rec.values import TIME, Meanings
from tests.moon_rec.shop.readers.interactions import layouts


def log(folder, outcomes=True):
    """Pages in no order of time, some shown twice, some without words, one row without a user."""
    found = layouts.behaviour().sample(fraction=1.0, shuffle=True, seed=3)
    found = pl.concat([found, found.head(40)])
    columns = {
        "user": pl.format("u{}", "user"),
        "item": pl.format("i{}", "item"),
        "time": pl.col("time"),
        "query": pl.when(pl.col("page") % 3 > 0).then(pl.format("q {}", pl.col("item") % 5)),
        "note": pl.col("place"),
    }
    if outcomes:
        columns |= {
            "clicked": pl.col("clicked").cast(pl.Int8),
            "carted": pl.col("clicked") & (pl.col("page") % 2 == 0),
        }
    found = found.select(**columns)
    found = found.with_columns(user=pl.when(pl.int_range(pl.len()) != 17).then("user"))
    found.write_csv(folder / "log.csv")


@pytest.mark.parametrize("outcomes", [True, False], ids=["clicks", "positives"])
@pytest.mark.parametrize("more", [[], ["--set", "page_gap=3600"]], ids=["moments", "gaps"])
def test_the_size_of_parts_changes_nothing(outcomes, more, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    log(tmp_path, outcomes)
    words = ["import", "interactions", "log.csv", "--set", "incomplete=dropped", *more]
    main([*words, "--out", "whole"])
    monkeypatch.setattr(numbered, "PART_ROWS", 53)
    monkeypatch.setattr(rows, "BATCH_ROWS", 31)
    main([*words, "--out", "parts"])
    assert Shop.open("whole").digest == Shop.open("parts").digest
    said = capsys.readouterr()
    assert "have no user" in said.out + said.err


def test_pages_are_those_of_a_plain_loop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log(tmp_path)
    monkeypatch.setattr(numbered, "PART_ROWS", 53)
    main(["import", "interactions", "log.csv", "--set", "incomplete=dropped", "--out", "shop"])
    rows_read = [row for row in pl.read_csv("log.csv").iter_rows(named=True) if row["user"]]
    pages = {(row["time"], row["user"]) for row in rows_read}
    number = {page: place for place, page in enumerate(sorted(pages), 1)}
    wanted: dict[tuple, list] = {}
    for row in rows_read:
        page = number[row["time"], row["user"]]
        found = wanted.setdefault((page, row["item"]), [False, False])
        found[0] |= bool(row["clicked"])
        found[1] |= row["carted"] == "true" or row["carted"] is True
    shop = Shop.open("shop")
    own = pl.read_parquet("shop/ids/item.parquet")
    written = shop.impressions.collect().join(own, left_on="item_id", right_on="id")
    assert {
        (row["request_id"], row["own"]): [row["clicked"], row["carted"]]
        for row in written.iter_rows(named=True)
    } == wanted
    for _, page in written.group_by("request_id"):
        assert sorted(page["position"]) == list(range(page.height))


def test_rows_without_a_name_of_their_page_are_pages_by_user_and_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = layouts.behaviour().with_columns(request_id=pl.when(pl.col("page") > 5).then("page"))
    found.drop("page", "place").write_csv("log.csv")
    main(["import", "interactions", "log.csv", "--out", "shop"])
    written = Shop.open("shop").impressions.collect()
    alike = ["user_id", "time"]
    assert written["request_id"].n_unique() == found["page"].n_unique()
    assert written.group_by(alike).agg(pl.col("request_id").n_unique())["request_id"].max() == 1


TEXTS = {
    "seconds": (["1709251200", "1709251201", None], Meanings(time_unit="s"), TIME),
    "seconds with points": (["1709251200", "1709251201.0", "", "x", "-5"], Meanings("s"), TIME),
    "days and times": (["2024-03-01", "2024-03-01 10:00:00", "soon"], Meanings(), TIME),
    "times": (["2024-03-01 10:00:00", "2024-03-31 02:30:00", None], Meanings(), TIME),
    "zones": (["2024-03-01T10:00:00Z", "2024-03-01 10:00+01:00"], Meanings(), TIME),
    "digits": (["1", "0", None, "1"], Meanings(), pl.Boolean()),
    "words": (["1", "yes", "", "maybe", " 0 "], Meanings(), pl.Boolean()),
    "places": (["3", "4", None], Meanings(), pl.Int32()),
    "places with points": (["3.0", "4", "x", "9999999999"], Meanings(), pl.Int32()),
}


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("name", list(TEXTS))
def test_a_batch_of_one_way_is_read_as_every_way_reads_it(name, zone, monkeypatch):
    texts, meanings, wanted = TEXTS[name]
    column = pl.Series("x", texts, pl.String)
    times = LogColumns(time_zone=zone)

    def value(rows):
        how = typed.value_reading("x", pl.String(), wanted, meanings, times)
        assert how.value is not None
        return rows.to_frame().select(how.value.alias("x")).to_series()

    quick = [value(column), *(value(column[row : row + 1]) for row in range(column.len()))]
    monkeypatch.setattr(typed, "_at_once", lambda name, how, ways, wanted: how)
    plain = value(column)
    assert quick[0].equals(plain) and pl.concat(quick[1:]).equals(plain)


def test_a_broken_rule_leaves_null():
    """What `frame_inputs.py` relies on: a column without nulls breaks no rule."""
    for texts, meanings, wanted in TEXTS.values():
        frame = pl.DataFrame({"x": pl.Series(texts, dtype=pl.String)})
        how = typed.value_reading("x", pl.String(), wanted, meanings)
        assert how.value is not None
        for rule in how.broken:
            bad = frame.select(rule.bad.fill_null(False)).to_series()
            assert frame.select(how.value).to_series().filter(bad).is_null().all()


def test_scratch_gives_back_what_was_written():
    random = np.random.default_rng(0)
    scratch, wanted = Scratch(np.int64), {part: [] for part in range(7)}
    for _ in range(20):
        parts, values = random.integers(0, 7, 50), random.integers(0, 1 << 60, 50)
        scratch.scatter(parts, values)
        for part, value in zip(parts, values, strict=True):
            wanted[part].append(value)
    assert [list(part) for part in scratch] == [wanted[part] for part in range(7)]
    assert scratch.size(3) == len(wanted[3]) and not scratch.read(9).size
