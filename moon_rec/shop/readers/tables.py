"""Anyone's own Parquet tables as a shop: types are cast where they fit, the manifest is written, then every rule is checked."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import polars as pl

from moon_rec.bounds import InnerShare, Name
from moon_rec.config import Config, CountsWhen, Rules
from moon_rec.errors import ShopError
from moon_rec.shop.readers.split import check_shares, split_times
from moon_rec.shop.schema import FILES, PICTURES, REQUIRED_TABLES
from moon_rec.shop.shop import Shop
from moon_rec.shop.writer import PICTURE_ROW_GROUP, ROW_GROUP, ShopWriter


class TablesConfig(Config):
    """How a folder of tables becomes a shop.

    Attributes:
        name, source: for the manifest; the source is printed with every number.
        is_simulated: whether the behaviour is simulated.
        cut_time, test_time: where train and validation end (UTC).
        cut_share, test_share: shares of the impressions before these, where they are absent.
    """

    name: Name = "shop"
    source: Name = "imported tables"
    is_simulated: bool = False
    cut_time: datetime | None = None
    test_time: datetime | None = None
    cut_share: InnerShare = 0.8
    test_share: InnerShare = 0.9

    counts_when: ClassVar[Rules] = {
        name: CountsWhen(
            lambda config: config.cut_time is None,
            "cut_time and test_time say where the periods end; leave one or the other out",
        )
        for name in ("cut_share", "test_share")
    }


def import_tables(
    folder: str | Path,
    out: str | Path,
    config: TablesConfig | None = None,
    overwrite: bool = False,
) -> Shop:
    """Write a shop from `items.parquet`, `impressions.parquet` and, if there, `searches`, `users` and `truth/truth`.

    Tables are streamed: they may be larger than memory.

    Raises:
        ShopError: a table or a column is missing, or a value does not fit its type.
    """
    config, folder = config or TablesConfig(), Path(folder)
    if (config.cut_time is None) != (config.test_time is None):
        raise ShopError(
            "give both cut_time and test_time, or neither to split by cut_share and test_share"
        )
    if not folder.is_dir():
        raise ShopError(
            f"{folder} is not a folder: --data names the folder of items.parquet and impressions.parquet"
        )
    for table in REQUIRED_TABLES:
        if table != "searches" and not (folder / FILES[table]).is_file():
            raise ShopError(
                f"{folder} has no {FILES[table]}: write that table as Parquet there (docs/design.md)"
            )
    cut_time, test_time = config.cut_time, config.test_time
    if cut_time is None or test_time is None:
        cut_time, test_time = _split(folder, config)
    with ShopWriter(
        out,
        name=config.name,
        source=config.source,
        is_simulated=config.is_simulated,
        cut_time=cut_time,
        test_time=test_time,
        overwrite=overwrite,
        validate=True,
    ) as writer:
        for table, file in FILES.items():
            if (folder / file).is_file():
                writer.write(table, _batches(table, folder / file))
    return Shop.open(out)


def _split(folder: Path, config: TablesConfig) -> tuple[datetime, datetime]:
    check_shares(config.cut_share, config.test_share)
    path = folder / FILES["impressions"]
    try:
        times = pl.scan_parquet(path).select(pl.col("time").cast(pl.Datetime("us"))).collect()
    except pl.exceptions.PolarsError as error:
        raise ShopError(f"{path}: {str(error).splitlines()[0]}") from None
    return split_times(times["time"], config.cut_share, config.test_share)


def _batches(table: str, path: Path) -> Iterator[pl.DataFrame]:
    """A table in file order, a row group's worth at a time."""
    size = PICTURE_ROW_GROUP if table in PICTURES else ROW_GROUP
    try:
        frame = pl.scan_parquet(path)
        empty = True
        for batch in frame.collect_batches(chunk_size=size, maintain_order=True):
            empty = False
            yield batch
        if empty:
            yield frame.head(0).collect()
    except pl.exceptions.PolarsError as error:
        raise ShopError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
