"""One's own log, and what there is beside it, as a shop.

Notable choices
- Only user, item and time are indispensable. What else there is not is derived (groups are single items, an item is listed when
  the log first has it, places are the order of the rows) or absent, and each is said with what it costs.
- A log without outcomes holds positives alone: non-clicks are sampled (`moon_rec.shop.non_clicks`), the recipe is part of the shop's
  source, which stands beside every number, and a probe says what the sampling gives away. Such a log's further columns are
  of what was clicked, and cannot be known of what was not, so they are left out unless `log.keep` names them; then a
  sampled row has those of the positive that it was drawn for.
- Behaviour is never invented: a row that cannot be used is refused or counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl

from moon_rec.errors import ShopError
from moon_rec.progress import progress, say
from moon_rec.shop.non_click_probe import probe_non_clicks
from moon_rec.shop.non_clicks import sample_non_clicks
from moon_rec.shop.own_ids import Kind, OwnIds
from moon_rec.shop.readers.interactions.config import InteractionsConfig
from moon_rec.shop.readers.interactions.files import Source
from moon_rec.shop.readers.interactions.guess import COSTS, Guess, guess_roles
from moon_rec.shop.readers.interactions.log import (
    OUTCOMES,
    LogArrays,
    LogColumnsRead,
    check_values,
    read_arrays,
    read_columns,
)
from moon_rec.shop.readers.interactions.opening import open_table
from moon_rec.shop.readers.interactions.pages import Pages, pages_of
from moon_rec.shop.readers.interactions.pictures import Pictures
from moon_rec.shop.readers.interactions.sidetables import SideTable
from moon_rec.shop.readers.interactions.typed import further_types, further_value
from moon_rec.shop.readers.split import check_cuts, check_shares, split_times
from moon_rec.shop.schema import IDS, columns_of
from moon_rec.shop.shop import Shop
from moon_rec.shop.writer import ROW_GROUP, ShopWriter
from moon_rec.values import Meanings


@dataclass(frozen=True, repr=False)
class Sources:
    """The user's tables, opened, and which column is what in each."""

    log: Source
    items: Source | None
    users: Source | None
    guesses: dict[str, Guess]

    @classmethod
    def open(
        cls,
        log: Sequence[str | Path],
        items: Sequence[str | Path],
        users: Sequence[str | Path],
        config: InteractionsConfig,
    ) -> "Sources":
        """Open every table and find its columns.

        Raises:
            ShopError: a table cannot be opened, or one of the three indispensable columns is in none of its columns.
        """
        opened = {"log": open_table(log, config.log)}
        for name, paths in (("items", items), ("users", users)):
            if paths:
                opened[name] = open_table(paths, getattr(config, name))
        guesses = {
            name: guess_roles(name, source.columns, getattr(config, name))
            for name, source in opened.items()
        }
        roles = guesses["log"].roles
        lost = [role for role in ("user", "item", "time") if role not in roles]
        if "shown" in roles and "item" in lost:
            lost.remove("item")
        if lost:
            raise ShopError(
                f"{opened['log'].name}: no column is the {', nor the '.join(lost)}: name it, such as --set log.{lost[0]}=NAME; "
                f"it has {', '.join(opened['log'].columns)}"
            )
        return cls(opened["log"], opened.get("items"), opened.get("users"), guesses)


def import_interactions(
    log: Sequence[str | Path],
    out: str | Path,
    items: Sequence[str | Path] = (),
    users: Sequence[str | Path] = (),
    pictures: str | Path | None = None,
    config: InteractionsConfig | None = None,
    overwrite: bool = False,
) -> Shop:
    """Write a shop from a log of interactions.

    Args:
        log, items, users: files or folders of one form each (`files.py`).
        pictures: the folder, zip or tar that a column of names is looked up in.

    Raises:
        ShopError: one line: file, row, column, value and how to mend it.
    """
    config = config or InteractionsConfig()
    check_cuts(config.cut_time, config.test_time)
    check_shares(config.cut_share, config.test_share)
    sources = Sources.open(log, items, users, config)
    return Import(sources, config, Path(pictures) if pictures else None).write(Path(out), overwrite)


class Import:
    """The steps of an import, and what each found."""

    def __init__(self, sources: Sources, config: InteractionsConfig, pictures: Path | None):
        self.sources, self.config = sources, config
        unit = Meanings(time_unit=config.time_unit)
        roles = sources.guesses["log"].roles
        pages = roles.get("request") or roles.get("shown")
        if config.page_gap is not None and pages:
            raise ShopError(
                f"page_gap = {config.page_gap} changes nothing: {sources.log.name} says with {pages!r} what a page is; leave it out"
            )
        with progress("reading the log", 4) as bar:
            self.read: LogColumnsRead = read_columns(sources.log, roles, config)
            used = check_values(self.read, config)
            bar.advance(note="values")
            self.rows: LogArrays = read_arrays(self.read, used)
            bar.advance(note="rows")
            self.side = {
                name: SideTable.open(
                    name, source, sources.guesses[name].roles, unit, getattr(config, name).keep
                )
                for name, source in (("items", sources.items), ("users", sources.users))
                if source is not None
            }
            bar.advance(note="tables beside it")
            self._number_ids()
            bar.advance(note="ids")
        self.pictures = Pictures(pictures)
        self.pages: Pages = pages_of(
            self.rows.user,
            self.rows.item,
            self.rows.time,
            self.rows.request,
            self.rows.position,
            config.page_gap,
        )
        self.has_outcomes = "clicked" in self.rows.outcomes
        self.num_bare_items = 0
        self.uses_own_requests = (
            self.rows.request is not None
            and self.pages.num_split == 0
            and bool((self.rows.request >= 0).all())
        )
        if not self.uses_own_requests:
            self.ids.pop("request", None)
        self._find_searches()

    def _number_ids(self) -> None:
        """The shop's ids: `ids`, of all that are written anywhere, and `numbers`, kind -> those of the log's texts."""
        beside = {"item": "items", "user": "users"}
        self.ids: dict[str, OwnIds] = {}
        self.numbers: dict[str, np.ndarray] = {}
        for kind, texts in self.rows.texts.items():
            table = self.side.get(beside.get(kind, ""))
            others = [table.own.rename("own")] if table else []
            self.ids[kind] = OwnIds.of(cast(Kind, kind), pl.concat([texts, *others]))
            self.numbers[kind] = self.ids[kind].of_texts(texts)

    def write(self, out: Path, overwrite: bool) -> Shop:
        """Write the shop."""
        self._say_what_was_taken()
        impressions, source = self._impressions()
        times = self.pages.time[self.pages.kept]
        moments = pl.Series("time", times, dtype=pl.Int64).cast(pl.Datetime("us"))
        cut, test = self._split(moments)
        with ShopWriter(
            out,
            name=self.config.name or "shop",
            source=source,
            is_simulated=bool(self.config.is_simulated),
            cut_time=cut,
            test_time=test,
            overwrite=overwrite,
            validate=self.sources.log.name,
        ) as writer:
            writer.write("items", self._items())
            if self.searches is not None:
                writer.write("searches", self.searches)
            if "users" in self.side:
                writer.write("users", self._users())
            writer.write("impressions", impressions)
            writer.keep_ids(self.ids.values())
        self._say_what_came_of_it()
        return Shop.open(out)

    def first_rows(self, number: int) -> dict[str, pl.DataFrame]:
        """The first rows of each table as they will be written."""
        impressions, _ = self._impressions()
        found = {"impressions": next(iter(impressions)), "items": next(iter(self._items()))}
        if "users" in self.side:
            found["users"] = next(iter(self._users()))
        if self.searches is not None:
            found["searches"] = self.searches
        return {name: rows.head(number) for name, rows in found.items()}

    def _split(self, moments: pl.Series) -> tuple[datetime, datetime]:
        if self.config.cut_time is not None and self.config.test_time is not None:
            return self.config.cut_time, self.config.test_time
        return split_times(moments, self.config.cut_share, self.config.test_share)

    def _impressions(self) -> tuple[Iterable[pl.DataFrame], str]:
        """The table of impressions, and the source that the manifest names."""
        source = self.config.source or self.sources.log.name
        if self.has_outcomes:
            changed = self.config.non_clicks.changed()
            if changed:
                name, value = next(iter(changed.items()))
                raise ShopError(
                    f"non_clicks.{name} = {value!r} changes nothing: {self.sources.log.name} has outcomes ({self.read.raw['clicked']}); leave it out"
                )
            return self._observed(), source
        rows = pl.concat(self._observed(), how="vertical")
        catalogue = self._listing()
        drawn = sample_non_clicks(rows, catalogue, self.config.non_clicks)
        say(f"{self.sources.log.name} has no outcomes, so every row is a positive; {drawn.told()}")
        others = rows[drawn.rows["positive"]].with_columns(
            *(pl.lit(False).alias(name) for name in OUTCOMES), item_id=drawn.rows["item_id"]
        )
        rows = pl.concat([rows, others])
        self._probe(rows, catalogue)
        # what was shown where is not known, and a place behind the positives would tell what was sampled
        rows = rows.with_columns(position=pl.lit(0, pl.Int32)).sort("request_id", "item_id")
        return [rows], f"{source}; {self.config.non_clicks.recipe}"

    def _observed(self) -> Iterator[pl.DataFrame]:
        """The log's own rows, in the order of the files, a row group's worth at a time."""
        further = self._further()
        kept = self.pages.kept
        places = np.flatnonzero(kept)
        merged = {name: self.pages.merged(values) for name, values in self.rows.outcomes.items()}
        if not further:
            for start in range(0, places.size, ROW_GROUP):
                yield self._frame(places[start : start + ROW_GROUP], merged)
            return
        wanted = [value.alias(name) for name, value in further.items()]
        used, start = pl.Series(self.rows.used), 0
        done = 0
        for piece in self.read.frame.select(wanted).collect_batches(
            chunk_size=ROW_GROUP, maintain_order=True
        ):
            rows = piece.filter(used.slice(start, piece.height))
            start += piece.height
            mask = kept[done : done + rows.height]
            here = done + np.flatnonzero(mask)
            done += rows.height
            yield self._frame(here, merged).hstack(rows.filter(pl.Series(mask)))

    def _frame(self, places: np.ndarray, outcomes: dict[str, np.ndarray]) -> pl.DataFrame:
        """Rows of the log as impressions."""
        rows, pages = self.rows, self.pages
        request = self._request_ids(places)
        columns = {
            "request_id": request,
            "user_id": self.numbers["user"][rows.user[places]],
            "item_id": self.numbers["item"][rows.item[places]],
            "time": pl.Series(pages.time[places], dtype=pl.Int64).cast(pl.Datetime("us")),
            "position": pl.Series(pages.position[places]).cast(pl.Int32),
        }
        purchased = outcomes.get("purchased")
        carted = outcomes.get("carted")
        clicked = outcomes.get("clicked")
        num = places.size
        columns["purchased"] = np.zeros(num, bool) if purchased is None else purchased[places]
        columns["carted"] = np.zeros(num, bool) if carted is None else carted[places]
        columns["clicked"] = np.ones(num, bool) if clicked is None else clicked[places]
        frame = pl.DataFrame(columns)
        if self.searches is None:
            return frame.with_columns(search_id=pl.lit(None, pl.Int64))
        known = pl.Series(self.has_query[pages.number[places]])
        return frame.with_columns(search_id=pl.when(known).then(pl.col("request_id")))

    def _request_ids(self, places: np.ndarray) -> np.ndarray:
        """The log's own ids of pages, where each is one page; else the pages' numbers, from 1."""
        if self.uses_own_requests and self.rows.request is not None:
            return self.numbers["request"][self.rows.request[places]]
        return self.pages.number[places] + 1

    def _further(self) -> dict[str, pl.Expr]:
        """Further columns of the log that are kept: name -> value. With sampled non-clicks only those that are asked for."""
        source, keep = self.sources.log, self.config.log.keep
        names = list(self.sources.guesses["log"].further)
        if keep is not None:
            unknown = [name for name in keep if name not in names]
            if unknown:
                raise ShopError(
                    f"{source.name} has no column {unknown[0]!r} left to keep (log.keep): it has {', '.join(names) or 'none'}"
                )
            names = list(keep)
        elif not self.has_outcomes and names:
            say(
                f"{source.name}: {', '.join(names)} are left out, for of a non-click they are not known; --set "
                f'log.keep=["{names[0]}"] gives a sampled row those of its positive'
            )
            names = []
        declared = set(columns_of("impressions"))
        taken = [name for name in names if name in declared]
        nested = [
            name
            for name in names
            if isinstance(source.columns[name], pl.List | pl.Struct | pl.Array | pl.Binary)
        ]
        for found, why in (
            (taken, "a shop has a column of that name with another meaning"),
            (nested, "they are lists, structs or bytes"),
        ):
            if found:
                say(f"{source.name}: {', '.join(found)} left out: {why}")
        names = [name for name in names if name not in taken and name not in nested]
        if not source.is_text:
            return {name: pl.col(name) for name in names}
        types = further_types(source.frame, names)
        return {name: further_value(name, kind) for name, kind in types.items()}

    def _find_searches(self) -> None:
        """A search for each page that has words: `searches` (or None), and `has_query` by page."""
        self.searches, self.has_query = None, np.zeros(0, bool)
        how = self.read.readings.get("query")
        if how is None or how.value is None:
            return
        texts = self.read.frame.select(how.value.alias("query_text")).collect(engine="streaming")
        texts = texts.filter(pl.Series(self.rows.used)).with_columns(
            page=pl.Series(self.pages.number)
        )
        first = (
            texts.with_row_index("row")
            .drop_nulls("query_text")
            .unique("page", keep="first", maintain_order=True)
        )
        rows = first["row"].to_numpy().astype(np.int64)
        self.has_query = np.zeros(int(self.pages.number.max(initial=-1)) + 1, bool)
        self.has_query[self.pages.number[rows]] = True
        self.searches = pl.DataFrame(
            {
                "search_id": self._request_ids(rows),
                "user_id": self.numbers["user"][self.rows.user[rows]],
                "time": pl.Series(self.pages.time[rows], dtype=pl.Int64).cast(pl.Datetime("us")),
                "query_text": first["query_text"],
            }
        )

    def _first_seen(self) -> pl.DataFrame:
        """item_id and `seen`: when the log first has it; the log's begin for an item that it has not."""
        first = np.full(self.rows.texts["item"].len(), np.iinfo(np.int64).max)
        np.minimum.at(first, self.rows.item, self.pages.time)
        known = pl.DataFrame({"item_id": self.numbers["item"], "seen": first})
        known = known.group_by("item_id").agg(pl.col("seen").min())
        everything = pl.DataFrame({"item_id": np.unique(self.ids["item"].ids)})
        found = everything.join(known, on="item_id", how="left", maintain_order="left")
        begin = int(self.pages.time.min())
        return found.with_columns(pl.col("seen").fill_null(begin).cast(pl.Datetime("us")))

    def _listing(self) -> pl.DataFrame:
        """item_id, listed_at and category of all items, without pictures and texts."""
        parts = [
            piece.select("item_id", "listed_at", "category")
            for piece in self._items(pictures=False)
        ]
        return pl.concat(parts)

    def _items(self, pictures: bool = True) -> Iterator[pl.DataFrame]:
        """The table of items: what its file says, then what the log alone knows."""
        ids, seen = self.ids["item"], self._first_seen()
        there: list[pl.Series] = []
        empty: pl.DataFrame | None = None
        if "items" in self.side:
            for piece in self.side["items"].pieces(ids, self.pictures if pictures else None):
                rows = _completed(piece, seen)
                there.append(rows["item_id"])
                empty = rows.clear()
                yield rows
        known = pl.concat(there) if there else pl.Series("item_id", [], pl.Int64)
        bare = seen.filter(~pl.col("item_id").is_in(known.implode()))
        if bare.height:
            rows = _completed(bare.select("item_id"), seen)
            self.num_bare_items = bare.height if there else 0
            yield (
                rows
                if empty is None
                else pl.concat([empty, rows], how="diagonal").select(empty.columns)
            )

    def _users(self) -> Iterator[pl.DataFrame]:
        ids, there = self.ids["user"], []
        empty: pl.DataFrame | None = None
        for piece in self.side["users"].pieces(ids, None):
            there.append(piece["user_id"])
            empty = piece.clear()
            yield piece
        known = pl.concat(there) if there else pl.Series("user_id", [], pl.Int64)
        bare = pl.DataFrame({"user_id": np.unique(ids.ids)}).filter(
            ~pl.col("user_id").is_in(known.implode())
        )
        if bare.height and empty is not None:
            say(
                f"{bare.height:,} users of the log are not in {self.sources.users.name if self.sources.users else ''}: their profile is empty"
            )
            yield pl.concat([empty, bare], how="diagonal").select(empty.columns)

    def _probe(self, rows: pl.DataFrame, items: pl.DataFrame) -> None:
        cut, _ = self._split(rows.filter(pl.col("clicked"))["time"])
        found = probe_non_clicks(rows, items, cut, self.config.non_clicks.seed)
        if found.all_rows is not None:
            say(f"what the sampling gives away: {found.all_rows} ({found.all_rows.definition})")
        for warning in found.warnings():
            say(f"warning: {warning}")

    def _say_what_was_taken(self) -> None:
        for table, guess in self.sources.guesses.items():
            taken = ", ".join(
                f"{role} = {column}{' (by its name)' if role in guess.guessed else ''}"
                for role, column in guess.roles.items()
            )
            say(f"{table}: {taken}")
            costs = COSTS.get(table, {})
            lost = [f"{role} ({costs[role]})" for role in guess.missing if role in costs]
            if "shown" in guess.roles or (table == "log" and not lost):
                lost = [each for each in lost if not each.startswith("clicked")]
            if lost:
                say(f"{table} without {'; '.join(lost)}")

    def _say_what_came_of_it(self) -> None:
        pages = self.pages
        again = int((~pages.kept).sum())
        if again:
            say(f"{again:,} rows repeat an item of their page; outcomes are joined")
        if pages.num_split:
            say(
                f"{pages.num_split:,} pages of the log are of several users or moments, and are as many requests; requests are numbered anew"
            )
        if self.num_bare_items:
            say(
                f"{self.num_bare_items:,} items of the log are not in the table of items: they have an id alone"
            )
        pictures = self.pictures
        if "items" in self.side and "image" in self.side["items"].roles:
            say(
                f"pictures: {pictures.num_found:,} taken, {pictures.num_missing:,} missing, {len(pictures.broken):,} broken"
            )
        kept = [each.kind for each in self.ids.values() if each.is_kept]
        if kept:
            say(
                f"ids of {', '.join(kept)} are texts or too large: they are numbered, and kept in {IDS}/ beside the tables"
            )


def _completed(piece: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """Items with every column that a shop demands: what is absent derived."""
    rows = piece.join(seen, on="item_id", how="left", maintain_order="left")
    listed = (
        pl.min_horizontal("listed_at", "seen") if "listed_at" in piece.columns else pl.col("seen")
    )
    derived = {
        "listed_at": listed,
        "spu_id": pl.col("item_id"),
        "title": _or(piece, "title", ""),
        "category": _or(piece, "category", "all"),
        "attributes": pl.lit([], columns_of("items")["attributes"]),
    }
    if "spu_id" in piece.columns:
        derived["spu_id"] = pl.coalesce("spu_id", "item_id")
    return rows.with_columns(**derived).drop("seen")


def _or(piece: pl.DataFrame, name: str, instead: str) -> pl.Expr:
    if name not in piece.columns:
        return pl.lit(instead)
    text = pl.col(name).str.strip_chars()
    return pl.when(text != "").then(pl.col(name)).otherwise(pl.lit(instead))
