"""Online Retail from hand-made rows of its form, and from the real file where it is."""

from datetime import datetime, timedelta

import polars as pl
import pytest

from moon_rec.errors import ShopError
from moon_rec.shop.readers import OnlineRetailConfig, import_online_retail

DAY = datetime(2011, 1, 3, 9)
CONFIG = OnlineRetailConfig(num_negatives=2, cut_share=0.6, test_share=0.8)


def rows():
    """Twenty days on which two of three customers buy two of six products each, and what must be left out."""
    made = []
    for day in range(20):
        for customer in (1.0, 2.0 if day % 2 else 3.0):
            for product in (day % 6, (day + 2 + int(customer)) % 6):
                made.append((f"MUG  {product} ", 3, day, 1.5 + product, customer, "France"))
    made += [
        ("MUG 0", -3, 4, 1.5, 1.0, "France"),
        ("POSTAGE", 1, 4, 18.0, 1.0, "France"),
        (None, 1, 4, 1.0, 1.0, "France"),
        ("ONLY UNKNOWN", 1, 4, 1.0, None, "France"),
        ("MUG 5", 1, 0, 7.75, None, "France"),
    ]
    return pl.DataFrame(
        [(*row[:2], DAY + timedelta(days=row[2]), *row[3:]) for row in made],
        schema={
            "Description": pl.String,
            "Quantity": pl.Int32,
            "InvoiceDate": pl.Datetime("ns"),
            "UnitPrice": pl.Float64,
            "CustomerID": pl.Float64,
            "Country": pl.String,
        },
        orient="row",
    )


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    rows().write_parquet(tmp_path / "raw" / "online_retail.parquet")
    return tmp_path / "raw"


def check_sampling(shop, num_negatives):
    """Non-clicks: listed by then, not bought in the invoice, at most so many a purchase."""
    impressions = shop.impressions.collect()
    assert impressions.select("request_id", "item_id").is_unique().all()
    joined = impressions.join(shop.items.collect(), on="item_id")
    others = joined.filter(~pl.col("clicked"))
    assert (others["listed_at"] <= others["time"]).all()
    counts = impressions.group_by("request_id").agg(
        bought=pl.col("clicked").sum(), others=(~pl.col("clicked")).sum()
    )
    assert (counts["others"] <= num_negatives * counts["bought"]).all()
    assert impressions["purchased"].equals(impressions["clicked"])
    return counts


def test_invoices_become_requests(raw, tmp_path):
    shop = import_online_retail(raw, tmp_path / "shop", CONFIG)
    shop.validate()
    items = shop.items.collect()
    assert items["title"].to_list() == [f"MUG {number}" for number in range(6)]
    assert items["item_id"].to_list() == [1, 2, 3, 4, 5, 6]
    assert items["listed_at"][5] == DAY and items["price"][5] == 7.75
    bought = shop.impressions.filter("clicked").collect()
    wanted = (
        rows()
        .filter(pl.col("Description").str.starts_with("MUG  "))
        .select(
            title=pl.col("Description").str.replace("  ", " ").str.strip_chars(),
            user_id=pl.col("CustomerID").cast(pl.Int64),
            time=pl.col("InvoiceDate").cast(pl.Datetime("us")),
        )
    )
    found = bought.join(items, on="item_id").select("title", "user_id", "time")
    assert set(found.rows()) == set(wanted.rows())
    counts = check_sampling(shop, 2)
    assert counts["others"].sum() > 20
    assert shop.non_clicks is not None and shop.non_clicks.number == 2
    assert "never a positive of the same request" in shop.non_clicks.rules
    assert shop.users.collect()["user_id"].to_list() == [1, 2, 3]
    assert shop.searches.collect().height == 0


def test_the_same_seed_gives_the_same_bytes_another_does_not(raw, tmp_path):
    config = CONFIG.model_copy(update={"num_negatives": 1})  # of six products two are not all
    first, again = (import_online_retail(raw, tmp_path / name, config) for name in "ab")
    assert first.digest == again.digest
    other = import_online_retail(raw, tmp_path / "c", config.model_copy(update={"seed": 1}))
    assert other.digest != first.digest


def test_later_sales_change_no_earlier_request(raw, tmp_path):
    """Marked sales of the last day, of a new product, leave all requests before them as they were."""
    before = import_online_retail(raw, tmp_path / "a", CONFIG).impressions.collect()
    late = (
        rows()
        .tail(1)
        .with_columns(
            Description=pl.lit("ZZ MARKED"),
            InvoiceDate=pl.lit(DAY + timedelta(days=30)).cast(pl.Datetime("ns")),
            CustomerID=pl.lit(1.0),
        )
    )
    pl.concat([rows(), late]).write_parquet(raw / "online_retail.parquet")
    after = import_online_retail(raw, tmp_path / "b", CONFIG).impressions.collect()
    kept = pl.col("time") < DAY + timedelta(days=29)
    bought = ["request_id", "user_id", "item_id", "time", "clicked"]
    assert (
        after.filter(kept & pl.col("clicked"))
        .select(bought)
        .equals(before.filter("clicked").select(bought))
    )
    assert 7 not in after.filter(kept)["item_id"]


def test_csv_as_published(raw, tmp_path):
    frame = rows().with_columns(pl.col("InvoiceDate").dt.strftime("%-m/%-d/%Y %-H:%M"))
    (raw / "csv").mkdir()
    frame.write_csv(raw / "csv" / "Online Retail.csv")
    one = import_online_retail(raw, tmp_path / "a", CONFIG)
    other = import_online_retail(raw / "csv", tmp_path / "b", CONFIG)
    assert one.digest == other.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("UnitPrice", "Country"), "has no column UnitPrice, Country: it has"),
        (
            lambda f: f.with_columns(pl.col("CustomerID") + 0.4),
            r"online_retail\.parquet: CustomerID row 0: .*\.4 is no whole number",
        ),
        (
            lambda f: f.with_columns(pl.col("Quantity") + 0.5),
            r"Quantity row 0: .*\.5 is no whole number",
        ),
        (
            lambda f: f.with_columns(pl.col("InvoiceDate").dt.epoch("s")),
            r"InvoiceDate row 0: \d+ is a number without a unit",
        ),
        (
            lambda f: f.with_columns(Quantity=pl.lit(-1, pl.Int32)),
            "no purchase by a known customer",
        ),
        (lambda f: f.with_columns(Quantity=pl.lit("x")), "take the publisher's file"),
        (lambda f: f.with_columns(InvoiceDate=pl.lit("soon")), "an InvoiceDate is none of"),
    ],
)
def test_broken_files_are_named(raw, tmp_path, change, message):
    change(rows()).write_parquet(raw / "online_retail.parquet")
    with pytest.raises(ShopError, match=message) as error:
        import_online_retail(raw, tmp_path / "shop", CONFIG)
    assert "\n" not in str(error.value)


def test_the_real_purchases(real_data, tmp_path):
    config = OnlineRetailConfig(num_customers=300)
    shop = import_online_retail(real_data / "online_retail", tmp_path / "shop", config)
    counts = check_sampling(shop, 4)
    assert counts["others"].sum() / counts["bought"].sum() > 3.9
    assert shop.users.collect().height == 300
