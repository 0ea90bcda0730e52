"""UCI Online Retail: real purchases with product texts, as a shop without pictures, searches or real non-clicks.

How its rows are read; none of it is said by a paper:
- A customer's rows of one moment are one request (an invoice); each distinct product of it is clicked, carted and purchased.
  Rows without customer, without description, with quantity <= 0 (returns) or of services (postage, fees) are left out.
- **The non-clicks are sampled** (`moon_rec.shop.non_clicks`): nobody recorded what customers saw. `num_negatives` a purchase are drawn
  among the products listed by then, half of them (`popular_share`) by purchases so far, the others uniformly. Popular ones alone
  would make every new product a purchase, uniform ones alone would make popularity tell nearly everything. What was bought in
  the same invoice is never drawn; what the customer bought at other times may be (`excluded`), for shops buy the same thing
  again, and to leave it out would make "had it before" the mark of a purchase. Click rates and calibration are those of
  the sampling.
- Positions are unknown: 0. The description, with its spaces made single, is the product (the file may lack stock codes).
- A product is listed at its first sale to anyone, at its first price; it has no category: "Giftware".
- Anything after a moment plays no part in that moment's negatives.
"""

from pathlib import Path

import polars as pl
import pydantic

from moon_rec.bounds import MOST_COUNTED, InnerShare, Seed, Share
from moon_rec.config import Config
from moon_rec.errors import ShopError, first_line
from moon_rec.packed import open_zip, refuse_packed_bomb
from moon_rec.parquet_bounds import refuse_bombs
from moon_rec.shop.non_clicks import Excluded, NonClickConfig
from moon_rec.shop.readers.interactions.sampling import with_non_clicks
from moon_rec.shop.readers.sources import find_file, require_columns
from moon_rec.shop.readers.split import check_shares, split_times
from moon_rec.shop.shop import Shop
from moon_rec.shop.writer import ShopWriter
from moon_rec.values import as_ours

WHAT = "UCI Online Retail: online_retail.parquet, or the publisher's Online Retail.xlsx or .csv"
FILES = (
    "online_retail.parquet",
    "Online Retail.xlsx",
    "Online Retail.csv",
    "online_retail.csv",
    "OnlineRetail.csv",
)

COLUMNS: dict[str, pl.DataType] = {
    "Description": pl.String(),
    "Quantity": pl.Int64(),
    "InvoiceDate": pl.Datetime("us"),
    "UnitPrice": pl.Float64(),
    "CustomerID": pl.Int64(),
    "Country": pl.String(),
}

SERVICES = (
    "POSTAGE",
    "DOTCOM POSTAGE",
    "CARRIAGE",
    "NEXT DAY CARRIAGE",
    "MANUAL",
    "DISCOUNT",
    "SAMPLES",
    "BANK CHARGES",
    "AMAZON FEE",
    "ADJUST BAD DEBT",
    "CRUK COMMISSION",
)
"""Descriptions, upper-cased, that are no products."""

MOST_WORKBOOK_BYTES = 4 << 30


class OnlineRetailConfig(Config):
    """How Online Retail becomes a shop.

    Attributes:
        num_negatives, popular_share, excluded, seed: of the sampled non-clicks, as of `NonClickConfig`.
        cut_share, test_share: shares of the purchases before `cut_time` and `test_time`.
        num_customers: only the customers with the smallest ids, for a quick look; None takes all.
    """

    num_negatives: int = pydantic.Field(default=4, ge=1, le=100)
    popular_share: Share = 0.5
    excluded: Excluded = "request"
    cut_share: InnerShare = 0.8
    test_share: InnerShare = 0.9
    num_customers: int | None = pydantic.Field(default=None, ge=2, le=MOST_COUNTED)
    seed: Seed = 0

    @property
    def non_clicks(self) -> NonClickConfig:
        """The settings of the sampler."""
        names = ("num_negatives", "popular_share", "excluded", "seed")
        return NonClickConfig(**{name: getattr(self, name) for name in names})


def import_online_retail(
    folder: str | Path,
    out: str | Path,
    config: OnlineRetailConfig | None = None,
    overwrite: bool = False,
) -> Shop:
    """Write Online Retail as a shop.

    Raises:
        ShopError: the file or a column is missing, or no purchase is left.
    """
    config = config or OnlineRetailConfig()
    check_shares(config.cut_share, config.test_share)
    sales, items = _sales_and_items(_read(find_file(folder, FILES, WHAT)))
    invoices = sales.filter(pl.col("user_id").is_not_null())
    if config.num_customers is not None:
        kept = invoices["user_id"].unique().sort().head(config.num_customers)
        invoices = invoices.filter(pl.col("user_id").is_in(kept.implode()))
    if invoices.height == 0:
        raise ShopError(
            f"{folder}: no purchase by a known customer is left; take the publisher's file"
        )
    positives = _positives(invoices)
    cut_time, test_time = split_times(positives["time"], config.cut_share, config.test_share)
    impressions, recipe = with_non_clicks(
        positives, items, config.non_clicks, str(folder), cut_time
    )
    with ShopWriter(
        out,
        name="online-retail",
        source="UCI Online Retail; no searches, no pictures",
        is_simulated=False,
        cut_time=cut_time,
        test_time=test_time,
        overwrite=overwrite,
        validate=str(folder),
        non_clicks=recipe,
    ) as writer:
        writer.write("items", items)
        writer.write("impressions", impressions)
        writer.write("users", _users(invoices))
    return Shop.open(out)


def _refuse_large_workbook(path: Path) -> None:
    """A workbook is a zip archive, which its reader unpacks whole."""
    try:
        with open_zip(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except ValueError as error:
        raise ShopError(f"{path} cannot be read: {error}; download it again") from None
    if size > MOST_WORKBOOK_BYTES:
        raise ShopError(f"{path} unpacks to {size:,} bytes; save it as CSV")


def _read(path: Path) -> pl.DataFrame:
    """The columns used, of the right types, whichever form the file has."""
    if path.suffix == ".parquet":
        refuse_bombs(path, ShopError)
    elif path.suffix == ".csv":
        refuse_packed_bomb(path, ShopError)
    else:
        _refuse_large_workbook(path)
    try:
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path)
        elif path.suffix == ".csv":
            frame = pl.read_csv(path, infer_schema=False, encoding="utf8-lossy")
        else:
            frame = pl.read_excel(path)
    except ImportError:
        raise ShopError(
            f"{path}: reading it needs `pip install fastexcel`; or save it as CSV"
        ) from None
    except (
        Exception,
        pl.exceptions.PanicException,
    ) as error:  # workbooks' readers have errors of their own
        raise ShopError(f"{path} cannot be read: {first_line(error)}") from None
    require_columns(frame.columns, COLUMNS, path)
    if frame.schema["InvoiceDate"] == pl.String:
        iso = pl.col("InvoiceDate").str.to_datetime(
            "%Y-%m-%d %H:%M:%S", time_unit="us", strict=False
        )
        month_first = pl.col("InvoiceDate").str.to_datetime(
            "%m/%d/%Y %H:%M", time_unit="us", strict=False
        )
        frame = frame.with_columns(pl.coalesce(iso, month_first).alias("InvoiceDate"))
        if frame["InvoiceDate"].null_count():
            raise ShopError(
                f"{path}: an InvoiceDate is none of 2010-12-01 08:26:00 and 12/1/2010 8:26; save it so"
            )
    numbers = [name for name, dtype in COLUMNS.items() if dtype.is_numeric()]
    texts = [name for name in numbers if frame.schema[name] == pl.String]
    try:
        frame = frame.with_columns(pl.col(texts).cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        raise ShopError(f"{path}: {first_line(error)}; take the publisher's file") from None
    return pl.DataFrame(
        as_ours(frame[name], dtype, str(path), nullable=True, error=ShopError)
        for name, dtype in COLUMNS.items()
    )


def _sales_and_items(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sales `(user_id or null, item_id, time, country)` by time, and the items; an item's id is its title's rank."""
    title = pl.col("Description").str.replace_all(r"\s+", " ").str.strip_chars()
    is_sale = (
        (pl.col("Quantity") > 0) & (pl.col("UnitPrice") >= 0) & pl.col("UnitPrice").is_finite()
    )
    sales = rows.filter(is_sale).select(
        title=title,
        time="InvoiceDate",
        user_id="CustomerID",
        price="UnitPrice",
        country="Country",
    )
    is_product = (pl.col("title") != "") & ~pl.col("title").str.to_uppercase().is_in(SERVICES)
    sales = sales.filter(is_product & pl.col("time").is_not_null())
    known = sales.filter(pl.col("user_id").is_not_null()).select("title").unique()
    sales = sales.join(known, on="title", how="semi").sort("time", "title", "user_id", "price")
    items = (
        sales.group_by("title", maintain_order=True)
        .agg(listed_at=pl.col("time").first(), price=pl.col("price").first())
        .sort("title")
        .with_row_index("item_id", offset=1)
        .with_columns(pl.col("item_id").cast(pl.Int64))
        .with_columns(
            spu_id="item_id",
            category=pl.lit("Giftware"),
            attributes=pl.lit([], pl.List(pl.Struct({"name": pl.String, "value": pl.String}))),
        )
    )
    sales = sales.join(items.select("title", "item_id"), on="title", maintain_order="left")
    return sales.select("user_id", "item_id", "time", "country"), items


def _positives(invoices: pl.DataFrame) -> pl.DataFrame:
    """What was bought, an invoice a request."""
    bought = (
        invoices.select("time", "user_id", "item_id")
        .unique()
        .sort("time", "user_id", "item_id")
        .with_columns(request_id=pl.struct("time", "user_id").rle_id().cast(pl.Int64))
    )
    outcomes = dict.fromkeys(("clicked", "carted", "purchased"), pl.lit(True))
    return bought.with_columns(
        search_id=pl.lit(None, pl.Int64), position=pl.lit(0, pl.Int32), **outcomes
    )


def _users(invoices: pl.DataFrame) -> pl.DataFrame:
    by_user = invoices.sort("user_id", "time", "country").group_by("user_id", maintain_order=True)
    return by_user.agg(pl.col("country").first())
