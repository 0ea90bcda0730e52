"""A log that is its own table of items, rows without ids, and a draft of the map that says all that was said."""

import polars as pl
import pytest

from moon_rec.shop import Shop
from moon_rec.shop.commands import main

LINES = ["customer,description,time,rating"] + [
    f"{user},mug {item},2026-03-{day:02d}T10:00:00,{(user * item + day) % 5 + 1}"
    for day in range(1, 29)
    for user in (1, 2, 3)
    for item in (day % 7, (day + user) % 7 + 7)
]


@pytest.fixture
def import_sales(tmp_path, monkeypatch, capsys):
    """A function that imports sales.csv as log and as table of items, and gives all that was printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sales.csv").write_text(
        "\n".join([*LINES[:5], ",,2026-03-01T11:00:00,3", *LINES[5:]])
    )

    def run(*further):
        words = ["sales.csv", "--items", "sales.csv", "--set", "log.item=description"]
        words += ["--set", "items.item=description", "--set", "items.title=description"]
        main(["import", "interactions", *words, *further])
        printed = capsys.readouterr()
        return printed.out + printed.err

    return run


def test_items_without_an_id_are_dropped_as_rows_of_the_log_are(import_sales, tmp_path):
    said = import_sales("--set", "incomplete=dropped", "--out", "shop")
    assert "1 rows of 169 have no id and are left out" in said
    assert "154 rows repeat an id" in said
    shop = Shop.open(tmp_path / "shop")
    titles = shop.items.collect()["title"].to_list()
    assert sorted(titles) == sorted(f"mug {item}" for item in range(14))
    kept = pl.read_csv("\n".join(LINES).encode()).unique(["customer", "description", "time"])
    assert shop.impressions.filter(pl.col("clicked")).collect().height == kept.height


def test_the_draft_holds_every_setting_that_was_given(import_sales, tmp_path):
    settings = ["--set", "incomplete=dropped", "--set", "log.clicked=rating"]
    settings += ["--set", "clicked_at_least=4", "--set", 'items.keep=["rating"]']
    settings += ["--set", "page_gap=60"]
    import_sales(*settings, "--guess", "map.toml")
    import_sales(*settings, "--out", "by_settings")
    main(
        [
            "import",
            "interactions",
            "sales.csv",
            "--items",
            "sales.csv",
            "--map",
            "map.toml",
            "--out",
            "by_draft",
        ]
    )
    first, second = (Shop.open(tmp_path / name) for name in ("by_settings", "by_draft"))
    assert first.digest == second.digest


def test_the_draft_of_sampled_non_clicks_holds_their_recipe(import_sales, tmp_path):
    settings = ["--set", "incomplete=dropped", "--set", "non_clicks.num_negatives=2"]
    import_sales(*settings, "--guess", "map.toml")
    assert "[non_clicks]\nnum_negatives = 2" in (tmp_path / "map.toml").read_text()


def test_a_picture_may_be_named_by_the_id(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text("userId,movieId,timestamp,clicked\n1,5,1500000000,1\n")
    (tmp_path / "movies.csv").write_text("movieId,title\n5,Heat\n")
    words = ["log.csv", "--items", "movies.csv", "--set", "items.image=movieId", "--guess"]
    main(["import", "interactions", *words])
    printed = capsys.readouterr().out
    assert 'image = "movieId"\nitem = "movieId"' in printed and "Not found" not in printed
