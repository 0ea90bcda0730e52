"""Write a shop: tables streamed into Parquet row groups, the manifest last, the folder whole or not at all.

Notable choices
- Rows are regrouped into row groups of a fixed size, so the bytes of a table, and with them its fingerprint, do not depend
  on how its writer happened to chunk it.
- Row groups of tables with pictures are small (1,024 rows): whoever reads them one at a time holds a few MB.
- A frame is read by the rules of `moon_rec.values` (`readings.py`): what fits the declared types is taken, anything else is refused by name. A
  missing nullable column is filled with nulls; further columns are kept.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow.parquet as pq

from moon_rec.errors import ShopError
from moon_rec.files import digest_file
from moon_rec.outputs import atomic_folder
from moon_rec.progress import say
from moon_rec.shop.manifest import Manifest, parse_time
from moon_rec.shop.non_click_recipe import NonClickRecipe
from moon_rec.shop.own_ids import OwnIds
from moon_rec.shop.problem import Problem, in_one_line
from moon_rec.shop.readings import readings_of
from moon_rec.shop.schema import (
    FILES,
    PICTURES,
    REQUIRED_TABLES,
    SHOP,
    TABLES,
    columns_of,
    empty_table,
)
from moon_rec.shop.validation import validate_folder
from moon_rec.values import Reading, first_broken

PICTURE_ROW_GROUP = 1_024
ROW_GROUP = 131_072

Frame = pl.DataFrame | pl.LazyFrame


class ShopWriter:
    """Context manager that writes a shop's folder.

    ```python
    with ShopWriter(out, name="mine", source="our log", is_simulated=False, cut_time=cut, test_time=test) as writer:
        writer.write("items", frames)         # a frame, or an iterable of frames; may be called again to append
        writer.write("searches", searches)
        writer.write("impressions", impressions)
    ```
    `searches` may be left out by a shop without searches: an empty table is written. On an error nothing appears.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        name: str,
        source: str,
        is_simulated: bool,
        cut_time: datetime | str,
        test_time: datetime | str,
        overwrite: bool = False,
        validate: str = "",
        non_clicks: NonClickRecipe | None = None,
    ) -> None:
        """Remember what the manifest will say; the folder is made on entering.

        Args:
            validate: what the tables are made of, as errors call it; where it is given every rule is checked at the end, and a shop that breaks one does
                not appear.

            non_clicks: how they were drawn, where nobody recorded them; may be set until the folder is finished.

        Raises:
            ShopError: a time cannot be read, or `test_time` is not after `cut_time`.
        """
        self.out = Path(out)
        self._overwrite, self._validate = overwrite, validate
        self.non_clicks = non_clicks
        self._about = {"name": name, "source": source, "is_simulated": is_simulated}
        self.cut_time = parse_time(cut_time, "cut_time")
        self.test_time = parse_time(test_time, "test_time")
        if self.test_time <= self.cut_time:
            raise ShopError(
                f"test_time {self.test_time} is not after cut_time {self.cut_time}: validation would be empty; move test_time"
            )
        self._context: AbstractContextManager[Path] | None = None
        self._folder: Path | None = None
        self._tables: dict[str, _TableWriter] = {}

    def __enter__(self) -> "ShopWriter":
        self._context = atomic_folder(self.out, SHOP, self._overwrite)
        self._folder = self._context.__enter__()
        return self

    def write(self, table: str, frames: Frame | Iterable[Frame]) -> None:
        """Append a frame, or each of an iterable of frames, to a table.

        Raises:
            ShopError: the table is unknown, a column is missing, or a value does not fit its declared type.
        """
        if table not in TABLES:
            raise ShopError(f"table {table!r} is unknown: write one of {', '.join(TABLES)}")
        if self._folder is None:
            raise ShopError(
                f"ShopWriter for {self.out} is not open: use `with ShopWriter(...) as writer:`"
            )
        if table not in self._tables:
            self._tables[table] = _TableWriter(table, self._folder / FILES[table])
        for frame in [frames] if isinstance(frames, pl.DataFrame | pl.LazyFrame) else frames:
            self._tables[table].append(frame)

    @property
    def folder(self) -> Path:
        """Where the shop is being written, for what is kept beside its tables."""
        assert self._folder is not None, "there is a folder while the shop is being written"
        return self._folder

    def keep_ids(self, ids: Iterable[OwnIds]) -> None:
        """Keep the user's own ids beside the tables, where they differ from the shop's; may be called once."""
        for each in ids:
            each.write(self.folder)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._context is not None and self._folder is not None, "__exit__ without __enter__"
        context, folder = self._context, self._folder
        try:
            if kind is None:
                self._finish(folder)
        except BaseException as late:
            self._close_files()
            context.__exit__(type(late), late, late.__traceback__)
            raise
        self._close_files()
        context.__exit__(kind, error, trace)

    def _finish(self, folder: Path) -> None:
        if "searches" not in self._tables:
            self.write("searches", empty_table("searches"))
        for table in REQUIRED_TABLES:
            if table not in self._tables:
                raise ShopError(
                    f"{self.out}: table {table} was never written: call writer.write({table!r}, frame)"
                )
        for writer in self._tables.values():
            writer.close()
        Manifest(
            **self._about,
            cut_time=self.cut_time,
            test_time=self.test_time,
            non_clicks=self.non_clicks,
            rows={table: writer.num_rows for table, writer in sorted(self._tables.items())},
            sizes={table: (folder / FILES[table]).stat().st_size for table in sorted(self._tables)},
            fingerprints={
                table: digest_file(folder / FILES[table]) for table in sorted(self._tables)
            },
        ).write(folder)
        if self._validate:
            problems = validate_folder(folder)
            if problems:
                raise ShopError(f"{self._validate}, made into tables: {in_one_line(problems)}")

    def _close_files(self) -> None:
        for writer in self._tables.values():
            writer.abandon()


class _TableWriter:
    """One Parquet file being written, with the rows that do not yet fill a row group."""

    def __init__(self, table: str, path: Path) -> None:
        self.table = table
        self.num_rows = 0
        self._path = path
        self._row_group = PICTURE_ROW_GROUP if table in PICTURES else ROW_GROUP
        self._waiting: list[pl.DataFrame] = []
        self._num_waiting = 0
        self._file: pq.ParquetWriter | None = None
        self._schema: pl.Schema | None = None
        self._told: dict[str, int] = {}

    def append(self, frame: Frame) -> None:
        if isinstance(frame, pl.LazyFrame):
            batches = frame.collect_batches(maintain_order=True, chunk_size=self._row_group)
            for batch in batches:
                self.append(batch)
            return
        rows = self._fit(frame)
        self._waiting.append(rows)
        self._num_waiting += rows.height
        self.num_rows += rows.height
        if self._num_waiting >= self._row_group:
            self._flush(everything=False)

    def close(self) -> None:
        self._flush(everything=True)
        self.abandon()
        for told, count in self._told.items():
            if count:
                say(f"{told} ({count:,} rows)")

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _fit(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Declared columns first and in order, of the declared types; then the further ones."""
        readings = readings_of(self.table, frame.schema)
        for name, found in readings.items():
            self._check(frame, name, found)
        columns = []
        for column in TABLES[self.table]:
            found = readings.get(column.name)
            if found is None and not column.nullable:
                raise ShopError(
                    f"{self.table}: column {column.name} is missing from the frame written "
                    f"(it has {', '.join(frame.columns)}): add it as {column.dtype}; {column.stand_in}"
                )
            value = None if found is None else found.value
            value = pl.lit(None, column.dtype) if value is None else value
            columns.append(value.alias(column.name))
        declared = {column.name for column in TABLES[self.table]}
        further = [name for name in frame.columns if name not in declared]
        rows = frame.with_columns(columns).select(*columns_of(self.table), *further)
        if self._schema is None:
            self._schema = rows.schema
        elif rows.schema != self._schema:
            raise ShopError(
                f"{self.table}: a later frame has columns {rows.schema}, the first had {self._schema}"
            )
        return rows

    def _check(self, frame: pl.DataFrame, name: str, found: Reading) -> None:
        """Refuse what breaks a rule of its type, and count what is handled."""
        for rule in found.broken:
            row, value, count = first_broken(frame, rule)
            if count:
                mend, row = rule.mend_of(value), self.num_rows + row
                raise ShopError(str(Problem(self.table, rule.rule, mend, name, row, value, count)))
        for rule in found.told:
            row, value, count = first_broken(frame, rule)
            told = f"{self.table}.{name} {rule.rule}; {rule.mend_of(value)}"
            self._told[told] = self._told.get(told, 0) + count

    def _flush(self, everything: bool) -> None:
        if not self._waiting:
            return
        rows = pl.concat(self._waiting)
        whole = rows.height if everything else rows.height - rows.height % self._row_group
        if whole == 0 and self._file is not None:
            return
        arrow = rows.head(whole).to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = pq.ParquetWriter(self._path, arrow.schema, compression="zstd")
        self._file.write_table(arrow, row_group_size=self._row_group)
        self._waiting = [rows.slice(whole)]
        self._num_waiting = rows.height - whole
