"""Anyone's own Parquet tables as a shop: read by the rules of `moon_rec.values`, every rule checked, then written.

Notable choices
- The tables are checked where they lie, so an error names the file that was read and its row, and nothing is begun that would have to be undone.
- What a log does not say itself is said by a setting: the unit of times that are whole numbers, from which number on a rating is a click.
- A `manifest.json` beside the tables is that of the shop they came from: name, source, the two times and whether it is simulated are kept where no
  setting says otherwise. Behaviour that is simulated stays so: no setting turns it into a log.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import polars as pl

from moon_rec.bounds import InnerShare, Name, Threshold
from moon_rec.config import Config, CountsWhen, Rules
from moon_rec.errors import ShopError, first_line
from moon_rec.outputs import refuse_taken
from moon_rec.progress import say
from moon_rec.shop.faults import write_faults
from moon_rec.shop.manifest import Manifest, parse_time
from moon_rec.shop.problem import Problem, raise_all
from moon_rec.shop.readers.split import check_cuts, check_shares, split_times
from moon_rec.shop.readings import TableReader
from moon_rec.shop.schema import FILES, MANIFEST, PICTURES, REQUIRED_TABLES, SHOP
from moon_rec.shop.shop import Shop
from moon_rec.shop.validation import Import, validate_folder
from moon_rec.shop.writer import PICTURE_ROW_GROUP, ROW_GROUP, ShopWriter
from moon_rec.values import Meanings, Unit

TIMES = {"items": "listed_at", "searches": "time", "impressions": "time", "events": "time"}
LABELS = ("clicked", "carted", "purchased")


class TablesConfig(Config):
    """How a folder of tables becomes a shop.

    Attributes:
        name, source: for the manifest; the source is printed with every number. None: as a `manifest.json` beside the tables says, else
            "shop" and "imported tables".
        is_simulated: whether the behaviour is simulated. None: as that manifest says; a table of true click probabilities says yes.
        cut_time, test_time: where train and validation end (UTC). None: as that manifest says.
        cut_share, test_share: shares of the impressions before these, where there is no such manifest, or one of them is set.
        time_unit: what times that are whole numbers count since 1970: s, ms, us, ns or d. None: such times are refused.
        clicked_at_least, carted_at_least, purchased_at_least: from which number on the label is true. None: it must be true or false, or 0 or 1.
    """

    name: Name | None = None
    source: Name | None = None
    is_simulated: bool | None = None
    cut_time: datetime | None = None
    test_time: datetime | None = None
    cut_share: InnerShare = 0.8
    test_share: InnerShare = 0.9
    time_unit: Unit | None = None
    clicked_at_least: Threshold | None = None
    carted_at_least: Threshold | None = None
    purchased_at_least: Threshold | None = None

    counts_when: ClassVar[Rules] = {
        name: CountsWhen(
            lambda config: config.cut_time is None,
            "cut_time and test_time say where the periods end; leave one or the other out",
        )
        for name in ("cut_share", "test_share")
    }

    @property
    def meanings(self) -> dict[str, Meanings]:
        """What these settings say of columns, by their names."""
        times = {column: Meanings(time_unit=self.time_unit) for column in TIMES.values()}
        return times | {
            label: Meanings(at_least=getattr(self, f"{label}_at_least")) for label in LABELS
        }


def import_tables(
    folder: str | Path,
    out: str | Path,
    config: TablesConfig | None = None,
    overwrite: bool = False,
    faults: Path | None = None,
) -> Shop:
    """Write a shop from `items.parquet`, `impressions.parquet` and, if there, `searches`, `events`, `users` and `truth/truth`.

    Tables are streamed: they may be larger than memory.

    Args:
        faults: a file that is to name every broken row (`moon_rec.shop.faults`).

    Raises:
        ShopError: one line that names every broken rule of the tables.
    """
    config, folder, out = config or TablesConfig(), Path(folder), Path(out)
    refuse_taken(out, SHOP, overwrite)
    _check_settings(folder, config)
    manifest, problems = _manifest(folder, config)
    problems += validate_folder(folder, Import(config.meanings, manifest))
    if faults is not None:
        write_faults(faults, folder, problems, overwrite)
    raise_all(folder, problems)
    assert manifest is not None, "tables without a fault that cannot be split"
    with ShopWriter(
        out,
        name=manifest.name,
        source=manifest.source,
        is_simulated=manifest.is_simulated,
        cut_time=manifest.cut_time,
        test_time=manifest.test_time,
        overwrite=overwrite,
    ) as writer:
        for table, file in FILES.items():
            if (folder / file).is_file():
                frame = TableReader.open(table, folder, config.meanings).frame
                writer.write(table, _batches(table, frame, folder / file))
    return Shop.open(out)


def _check_settings(folder: Path, config: TablesConfig) -> None:
    check_cuts(config.cut_time, config.test_time)
    check_shares(config.cut_share, config.test_share)
    if not folder.is_dir():
        raise ShopError(
            f"{folder} is not a folder: --data names the folder of items.parquet and impressions.parquet"
        )
    if config.time_unit is not None and not any(
        _is_number(folder / FILES[table], column)
        for table, column in TIMES.items()
        if table in REQUIRED_TABLES or (folder / FILES[table]).is_file()
    ):
        raise ShopError(
            f"time_unit = {config.time_unit!r} changes nothing: no time in {folder} is a number; leave it out"
        )


def _is_number(path: Path, column: str) -> bool:
    try:
        kind = pl.read_parquet_schema(path).get(column)
    except (pl.exceptions.PolarsError, OSError):
        return True  # told with the other faults
    return kind is not None and kind.is_numeric()


def _manifest(folder: Path, config: TablesConfig) -> tuple[Manifest | None, list[Problem]]:
    """What the shop's manifest says, and what is wrong with it; None where the impressions cannot be split."""
    known = Manifest.read(folder) if (folder / MANIFEST).is_file() else None
    is_simulated = (known is not None and known.is_simulated) or (folder / FILES["truth"]).is_file()
    if is_simulated and config.is_simulated is False:
        reason = (
            f"{MANIFEST} says so" if known and known.is_simulated else f"it has {FILES['truth']}"
        )
        raise ShopError(
            f"is_simulated = false, but {folder} is of a simulated shop ({reason}): leave the setting out"
        )
    if known is not None:
        kept = "simulated" if is_simulated else "not simulated"
        say(f"{folder / MANIFEST}: {known.name!r}, {kept}: what no setting says is kept from there")
    by_shares = bool({"cut_share", "test_share"} & config.model_fields_set)
    times: tuple[datetime, datetime] | None = None
    if config.cut_time is not None and config.test_time is not None:
        times = parse_time(config.cut_time, "cut_time"), parse_time(config.test_time, "test_time")
    elif known is not None and not by_shares:
        times = known.cut_time, known.test_time
    else:
        try:
            times = _split(folder, config)
        except ShopError as error:
            return None, [Problem("impressions", str(error), "")]
    if times is None:
        return None, []
    if times[1] <= times[0]:
        raise ShopError(
            f"test_time {times[1]} is not after cut_time {times[0]}: validation would be empty; move test_time"
        )
    name = config.name or (known.name if known else "shop")
    source = config.source or (known.source if known else "imported tables")
    return Manifest(name, source, is_simulated or bool(config.is_simulated), *times), []


def _split(folder: Path, config: TablesConfig) -> tuple[datetime, datetime] | None:
    """The two times by shares; None where a time cannot be read, which is told with the other faults."""
    try:
        found = TableReader.open("impressions", folder, config.meanings)
        time = found.readings.get("time")
        if time is None or time.value is None:
            return None
        times = found.frame.select("time").collect(engine="streaming")["time"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return None
    if times.null_count() or times.len() == 0:
        return None
    return split_times(times, config.cut_share, config.test_share)


def _batches(table: str, frame: pl.LazyFrame, path: Path) -> Iterator[pl.DataFrame]:
    """A table in file order, a row group's worth at a time."""
    size = PICTURE_ROW_GROUP if table in PICTURES else ROW_GROUP
    try:
        empty = True
        for batch in frame.collect_batches(chunk_size=size, maintain_order=True):
            empty = False
            yield batch
        if empty:
            yield frame.head(0).collect()
    except pl.exceptions.PolarsError as error:
        raise ShopError(f"{path} cannot be read as Parquet: {first_line(error)}") from None
