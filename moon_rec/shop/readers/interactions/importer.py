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

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.progress import progress, say
from moon_rec.shop.readers.interactions.catalogue import Catalogue, user_frames
from moon_rec.shop.readers.interactions.config import InteractionsConfig
from moon_rec.shop.readers.interactions.events import Events
from moon_rec.shop.readers.interactions.further import further_columns
from moon_rec.shop.readers.interactions.impressions import Impressions
from moon_rec.shop.readers.interactions.log import read_columns
from moon_rec.shop.readers.interactions.numbered import NumberedLog
from moon_rec.shop.readers.interactions.pictures import Pictures
from moon_rec.shop.readers.interactions.rows import read_rows
from moon_rec.shop.readers.interactions.sampling import with_non_clicks
from moon_rec.shop.readers.interactions.sidetables import SideTable
from moon_rec.shop.readers.interactions.sources import Paths, Sources
from moon_rec.shop.readers.split import check_cuts, check_shares, split_at
from moon_rec.shop.schema import IDS
from moon_rec.shop.shop import Shop
from moon_rec.shop.writer import ShopWriter
from moon_rec.values import Meanings


def import_interactions(
    log: Paths,
    out: str | Path,
    items: Paths = (),
    users: Paths = (),
    pictures: str | Path | None = None,
    config: InteractionsConfig | None = None,
    overwrite: bool = False,
    events: Paths = (),
) -> Shop:
    """Write a shop from a log of interactions.

    Args:
        log, items, users, events: files or folders of one form each (`files.py`).
        pictures: the folder, zip or tar that a column of names is looked up in.

    Raises:
        ShopError: one line: file, row, column, value and how to mend it.
    """
    config = config or InteractionsConfig()
    check_cuts(config.cut_time, config.test_time)
    check_shares(config.cut_share, config.test_share)
    sources = Sources.open(log, {"items": items, "users": users, "events": events}, config)
    sources.check_needed()
    return Import(sources, config, Path(pictures) if pictures else None).write(Path(out), overwrite)


class Import:
    """The steps of an import, and what each found.

    A further table beside the log is a `SideTable` (or alike) in `beside`: it is opened with the others, its ids are numbered with the log's
    (`_own_ids`), and it is written with the others (`_write_tables`).
    """

    def __init__(self, sources: Sources, config: InteractionsConfig, pictures: Path | None):
        """Read the log and number its ids; nothing is written."""
        self.sources, self.config = sources, config
        with progress("reading the log", 3) as bar:
            self.read = read_columns(sources.log, sources.guesses["log"].roles, config)
            self._check_settings()
            self.events = Events(sources, config)
            self.read = self.events.without_own(self.read)
            rows = read_rows(self.read, config)
            bar.advance(note="rows")
            unit = Meanings(time_unit=config.time_unit)
            self.beside = {
                name: SideTable.open(name, source, sources.guesses[name].roles, unit)
                for name, source in sources.beside.items()
                if name != "events"
            }
            bar.advance(note="tables beside it")
            self.log = NumberedLog(rows, self._own_ids(), config.page_gap)
            bar.advance(note="ids and pages")
        self.acts = self.events.frame(self.log.ids)
        self.pictures = Pictures(pictures)
        self.impressions = Impressions(self.read, self.log)
        self.catalogue = Catalogue(
            self.beside.get("items"), self.log.ids["item"], self.log.first_seen(self.acts)
        )

    def write(self, out: Path, overwrite: bool) -> Shop:
        """Write the shop."""
        self.sources.say_what_was_taken()
        source = self.config.source or self.sources.log.name
        if not self.log.has_outcomes:
            source = f"{source}; {self.config.non_clicks.recipe}"
        cut, test = self._split()
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
            self._write_tables(writer)
            writer.keep_ids(self.log.ids.values())
        self._say_what_came_of_it()
        return Shop.open(out)

    def first_rows(self, number: int) -> dict[str, pl.DataFrame]:
        """The first rows of each table as they will be written."""
        searches = list(self.impressions.searches())
        for _ in self.catalogue.frames(None):
            pass  # non-clicks are drawn among all items, of which pictures need not be decoded
        found = {
            "impressions": next(iter(self._impressions())),
            "items": next(self.catalogue.frames(self.pictures)),
        }
        if "users" in self.beside:
            found["users"] = next(user_frames(self.beside["users"], self.log.ids["user"]))
        if self.impressions.has_queries:
            found["searches"] = pl.concat(searches)
        if self.acts is not None:
            found["events"] = self.acts
        return {name: rows.head(number) for name, rows in found.items()}

    def _write_tables(self, writer: ShopWriter) -> None:
        writer.write("items", self.catalogue.frames(self.pictures))
        if self.impressions.has_queries:
            writer.write("searches", self.impressions.searches())
        if "users" in self.beside:
            writer.write("users", user_frames(self.beside["users"], self.log.ids["user"]))
        if self.acts is not None:
            writer.write("events", self.acts)
        writer.write("impressions", self._impressions())

    def _own_ids(self) -> dict[str, list[pl.Series]]:
        """Kind -> the ids that the tables beside the log write."""
        found: dict[str, list[pl.Series]] = {}
        for table in self.beside.values():
            found.setdefault(table.key, []).append(table.own)
        for rows in self.events.rows:
            for kind, texts in rows.texts.items():
                found.setdefault(kind, []).append(texts)
        return found

    def _check_settings(self) -> None:
        """Refuse settings that change nothing with these tables."""
        log, config, roles = self.sources.log, self.config, self.sources.guesses["log"].roles
        pages = roles.get("request") or roles.get("shown")
        if config.page_gap is not None and pages:
            raise ShopError(
                f"page_gap = {config.page_gap} changes nothing: {log.name} says with {pages!r} what a page is; leave it out"
            )
        changed = config.non_clicks.changed()
        if changed and "clicked" in self.read.readings:
            name, value = next(iter(changed.items()))
            raise ShopError(
                f"non_clicks.{name} = {value!r} changes nothing: {log.name} has outcomes ({self.read.raw['clicked']}); leave it out"
            )

    def _split(self) -> tuple[datetime, datetime]:
        if self.config.cut_time is not None and self.config.test_time is not None:
            return self.config.cut_time, self.config.test_time
        return split_at(self.log.moment_at, self.config.cut_share, self.config.test_share)

    def _impressions(self) -> Iterable[pl.DataFrame]:
        """The table of impressions; where non-clicks are drawn the table of items must have gone by."""
        further = further_columns(
            self.sources.log,
            list(self.sources.guesses["log"].further),
            self.config.log.keep,
            self.log.has_outcomes,
        )
        rows = self.impressions.frames(further)
        if self.log.has_outcomes:
            return rows
        cut, _ = self._split()
        return [
            with_non_clicks(
                pl.concat(rows, how="vertical"),
                self.catalogue.listing,
                self.config.non_clicks,
                self.sources.log.name,
                cut,
                self.acts,
            )
        ]

    def _say_what_came_of_it(self) -> None:
        log = self.log
        if log.num_again:
            say(f"{log.num_again:,} rows repeat an item of their page; outcomes are joined")
        if log.num_split:
            say(
                f"{log.num_split:,} pages of the log are of several users or moments, and are as many requests; requests are numbered anew"
            )
        if self.catalogue.num_bare:
            say(
                f"{self.catalogue.num_bare:,} items of the log are not in the table of items: they have an id alone"
            )
        pictures = self.pictures
        if "items" in self.beside and "image" in self.beside["items"].roles:
            say(
                f"pictures: {pictures.num_found:,} taken, {pictures.num_missing:,} missing, {len(pictures.broken):,} broken"
            )
        kept = [each.kind for each in self.log.ids.values() if each.is_kept]
        if kept:
            say(
                f"ids of {', '.join(kept)} are texts or too large: they are numbered, and kept in {IDS}/ beside the tables"
            )
