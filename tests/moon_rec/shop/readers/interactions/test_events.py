"""From a log and what there is beside it to a table of events: files, kinds in words, rows of the log that are no impressions."""

from datetime import datetime, timedelta

import polars as pl

from moon_rec.shop import Histories, Shop
from moon_rec.shop.commands import main
from moon_rec.shop.own_ids import with_own_ids
from moon_rec.shop.readers.interactions import (
    EventColumns,
    InteractionsConfig,
    LogColumns,
    import_interactions,
)

START = datetime(2024, 3, 1)
HOUR = timedelta(hours=1)
KEYS = ["user_id", "item_id", "time"]


def log() -> pl.DataFrame:
    """Forty pages of two items for five users, ids in words, one of two clicked."""
    rows = [
        (f"u{page % 5}", f"i{(page + 3 * place) % 7}", START + page * HOUR, place == page % 2)
        for page in range(40)
        for place in range(2)
    ]
    return pl.DataFrame(rows, schema=["user", "item", "time", "clicked"], orient="row")


def acts() -> pl.DataFrame:
    """Views, carts and purchases of old and new users and items, one of them before the log begins; the last two are one act."""
    rows = [
        ("u1", "i9", START - HOUR, "View"),
        ("u9", "i2", START + 90 * HOUR, "view"),
        ("u2", "i3", START + 5 * HOUR, "addtocart"),
        ("u2", "i3", START + 6 * HOUR, "view"),
        ("u2", "i3", START + 6 * HOUR, "purchase"),
    ]
    return pl.DataFrame(rows, schema=["visitorid", "sku", "ts", "event_type"], orient="row")


def imported(folder, **options) -> Shop:
    log().write_parquet(folder / "log.parquet")
    acts().write_parquet(folder / "acts.parquet")
    return import_interactions([folder / "log.parquet"], folder / "shop", events=[folder / "acts.parquet"], **options)  # fmt: skip


def own(shop: Shop) -> pl.DataFrame:
    assert shop.events is not None
    return with_own_ids(shop.events.collect(), shop.path).sort("time", "user_id")


WANTED = pl.DataFrame(
    {
        "user_id": ["u1", "u2", "u2", "u9"],
        "item_id": ["i9", "i3", "i3", "i2"],
        "time": [START - HOUR, START + 5 * HOUR, START + 6 * HOUR, START + 90 * HOUR],
        "clicked": True,
        "carted": [False, True, False, False],
        "purchased": [False, False, True, False],
    }
)


def test_a_file_of_events_by_the_usual_names(tmp_path, capsys):
    shop = imported(tmp_path)
    assert own(shop).equals(WANTED)
    plain = import_interactions([tmp_path / "log.parquet"], tmp_path / "plain")
    by_words = [with_own_ids(each.impressions.collect(), each.path) for each in (plain, shop)]
    assert by_words[0].equals(by_words[1]), "the log does not know of the events"
    assert (plain.cut_time, plain.test_time) == (shop.cut_time, shop.test_time)
    said = capsys.readouterr().err
    assert "1 events repeat one of the same user, item and time; outcomes are joined" in said
    assert "events: user = visitorid (by its name)" in said
    shop.validate()  # item i9 was first seen in an event, before the log begins


def test_the_command_and_its_draft(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    log().write_csv("log.csv")
    acts().write_csv("acts.csv", separator="\t")
    words = ["import", "interactions", "log.csv", "--events", "acts.csv"]
    main([*words, "--guess", "map.toml"])
    said = capsys.readouterr().out
    assert "events, as it will stand" in said and "would be refused" not in said
    assert 'kind = "event_type"' in (tmp_path / "map.toml").read_text()
    main([*words, "--map", "map.toml", "--out", "shop"])
    assert "events" in capsys.readouterr().out
    assert own(Shop.open("shop")).equals(WANTED)


def test_rows_of_the_log_that_are_no_impressions(tmp_path, capsys):
    """The same acts within the log, by a rule on its column of kinds: the same shop, to the digest."""
    wanted = imported(tmp_path)
    columns = {"user": "visitorid", "item": "sku", "time": "ts"}
    other = acts().select(kind="event_type", clicked=False, **columns)
    mixed = pl.concat([log().with_columns(kind=pl.lit("shown")), other], how="diagonal")
    mixed.sample(fraction=1, shuffle=True, seed=1).sort("time", maintain_order=False)
    mixed.write_csv(tmp_path / "mixed.csv")
    rule = LogColumns(kind="kind", event_kinds=("view", "AddToCart", "purchase"), keep=())
    found = import_interactions([tmp_path / "mixed.csv"], tmp_path / "mixed", config=InteractionsConfig(log=rule))  # fmt: skip
    assert found.digest == wanted.digest
    assert "5 rows are events (addtocart, purchase, view)" in capsys.readouterr().err


def test_positives_alone_with_views_as_events(tmp_path):
    """View, cart and purchase without impressions: purchases are positives, and what was viewed is no non-click."""
    rows = [
        (f"u{n % 4}", f"i{(n * n + n // 4) % 11}", START + n * HOUR, ("view", "view", "buy")[n % 3])
        for n in range(240)
    ]
    frame = pl.DataFrame(rows, schema=["user", "item", "time", "what"], orient="row")
    frame.write_parquet(tmp_path / "log.parquet")
    rule = LogColumns(kind="what", event_kinds=("view",))
    shop = import_interactions([tmp_path / "log.parquet"], tmp_path / "shop", config=InteractionsConfig(log=rule))  # fmt: skip
    assert shop.events is not None
    log_rows, views = shop.impressions.collect(), shop.events.collect()
    assert log_rows["clicked"].sum() == (frame["what"] == "buy").sum()
    assert views.height == (frame["what"] == "view").sum()
    had = views.select("user_id", "item_id").unique()
    others = log_rows.filter(~pl.col("clicked"))
    assert others.height and others.join(had, on=["user_id", "item_id"]).is_empty()


def test_lists_of_a_user_are_unfolded(tmp_path):
    """EB-NeRD's history: a row a user, items and times as lists of one length."""
    log().write_parquet(tmp_path / "log.parquet")
    history = pl.DataFrame(
        {
            "user_id": ["u1", "u2", "u3"],
            "article_id_fixed": [["i1", "i9"], ["i4"], []],
            "impression_time_fixed": [[START - 2 * HOUR, START - HOUR], [START - HOUR], []],
        },
        schema_overrides={"impression_time_fixed": pl.List(pl.Datetime("us"))},
    )
    history.write_parquet(tmp_path / "history.parquet")
    shop = import_interactions([tmp_path / "log.parquet"], tmp_path / "shop", events=[tmp_path / "history.parquet"])  # fmt: skip
    assert own(shop).select(KEYS).rows() == [
        ("u1", "i1", START - 2 * HOUR),
        ("u1", "i9", START - HOUR),
        ("u2", "i4", START - HOUR),
    ]
    assert Histories.of(shop).item_ids.size == 40 + 3


def test_units_and_thresholds_of_their_own(tmp_path):
    log().write_parquet(tmp_path / "log.parquet")
    rated = pl.DataFrame(
        {
            "user": ["u1", "u1", "u2"],
            "item": ["i1", "i2", "i2"],
            "time": [1709254800, 1709254900, 1709254800],
            "clicked": [4, 2, 5],
        }
    )
    rated.write_parquet(tmp_path / "rated.parquet")
    own_log = log().with_columns(pl.col("time").dt.epoch("ms"), clicked=pl.col("clicked") * 5)
    own_log.write_parquet(tmp_path / "log.parquet")
    config = InteractionsConfig(time_unit="ms", clicked_at_least=4, events=EventColumns(time_unit="s"))  # fmt: skip
    shop = import_interactions([tmp_path / "log.parquet"], tmp_path / "shop", config=config, events=[tmp_path / "rated.parquet"])  # fmt: skip
    assert own(shop).select(KEYS).rows() == [
        ("u1", "i1", datetime(2024, 3, 1, 1)),
        ("u2", "i2", datetime(2024, 3, 1, 1)),
    ]


def test_the_order_of_files_changes_no_history(tmp_path):
    shop = imported(tmp_path)
    acts().sample(fraction=1, shuffle=True, seed=3).write_parquet(tmp_path / "acts.parquet")
    again = import_interactions([tmp_path / "log.parquet"], tmp_path / "again", events=[tmp_path / "acts.parquet"])  # fmt: skip
    assert own(again).equals(own(shop))
