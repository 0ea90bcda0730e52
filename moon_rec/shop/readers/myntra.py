"""Myntra's fashion catalogue ("Fashion Product Images (Small)"): products with 60x80 pictures and no behaviour.

Only the raw files are read here; `moon_rec.shop.simulate` puts shoppers over them. Both forms are read: `products.csv.gz` with
`images.zip`, and the publisher's own `styles.csv` with `images/`, whose titles may hold unquoted commas. Products without a
picture are left out.
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from moon_rec.errors import ShopError, first_line
from moon_rec.shop.readers.sources import PictureSource, find_file, read_csv, require_columns

WHAT = "Myntra's products.csv.gz and images.zip (or styles.csv and images/)"

COLUMNS: dict[str, pl.DataType] = {
    "product_id": pl.Int64(),
    "title": pl.String(),
    "master_category": pl.String(),
    "sub_category": pl.String(),
    "article_type": pl.String(),
    "base_colour": pl.String(),
    "usage": pl.String(),
}

PUBLISHED = {
    "id": "product_id",
    "productDisplayName": "title",
    "masterCategory": "master_category",
    "subCategory": "sub_category",
    "articleType": "article_type",
    "baseColour": "base_colour",
    "usage": "usage",
}
"""The publisher's column names -> ours; the display name is the last column of its file."""


def read_products(folder: str | Path) -> pl.DataFrame:
    """All products that have a title and a picture, by ascending product_id.

    Returns:
        product_id, title, master_category, sub_category, article_type, base_colour, usage; the last two may be null.

    Raises:
        ShopError: a file or a column is missing, a value does not fit, or a product_id is duplicated.
    """
    path = find_file(folder, ("products.csv.gz", "products.csv", "styles.csv"), WHAT)
    products = _read_published(path) if path.name == "styles.csv" else read_csv(path, COLUMNS)
    pictures = _pictures(folder)
    has_picture = pl.col("product_id").map_elements(pictures.__contains__, pl.Boolean)
    products = products.filter(pl.col("title").is_not_null() & has_picture).sort("product_id")
    twice = products.filter(pl.col("product_id").is_duplicated())
    if twice.height:
        raise ShopError(f"{path}: product_id {twice['product_id'][0]} is duplicated; drop one row")
    if products.height == 0:
        raise ShopError(f"{path}: no product has a title and a picture in {pictures.path}")
    return products


def read_pictures(folder: str | Path, product_ids: Iterable[int]) -> Iterator[bytes]:
    """The JPEG bytes of products, in the order asked for, one in memory at a time.

    Raises:
        ShopError: the archive or a picture is missing or damaged.
    """
    return _pictures(folder).read_all(product_ids)


def _pictures(folder: str | Path) -> PictureSource:
    return PictureSource(find_file(folder, ("images.zip", "images"), WHAT))


def _read_published(path: Path) -> pl.DataFrame:
    """`styles.csv`: further commas belong to the title, which is the last column."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            require_columns(header, PUBLISHED, path)
            if len(set(header)) < len(header):
                raise ShopError(
                    f"{path} names a column twice: {', '.join(header)[:160]}; name each once"
                )
            last = len(header) - 1
            records = [[*row[:last], ",".join(row[last:])] for row in rows if len(row) > last]
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise ShopError(f"{path} cannot be read as CSV: {first_line(error)}") from None
    frame = pl.DataFrame(records, schema=dict.fromkeys(header, pl.String), orient="row")
    texts = frame.select(
        pl.col(old).replace({"": None, "NA": None}).alias(new) for old, new in PUBLISHED.items()
    )
    try:
        return texts.select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())
    except pl.exceptions.PolarsError as error:
        raise ShopError(f"{path}: {first_line(error)}") from None
