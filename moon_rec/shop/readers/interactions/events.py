"""Behaviour that was no impression: a table of its own, and the rows of the log that are none, as a shop's events.

Notable choices
- What was done is said by outcomes, as in a log, or by one column of words (`kind`), each of which has a meaning or is refused by
  name: a word that nobody foresaw is neither left out nor taken for a click.
- Rows of the log go here by what `log.event_kinds` names. They play no part in pages, times of the cut or outcomes.
- One user, item and moment is one event: rows that repeat it are joined, with every outcome of theirs, and told. Rows in which
  nothing was done are left out, and told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.shop.own_ids import OwnIds
from moon_rec.shop.readers.interactions.config import EventColumns, InteractionsConfig
from moon_rec.shop.readers.interactions.log import OUTCOMES, LogColumnsRead, read_columns
from moon_rec.shop.readers.interactions.rows import LogRows, read_rows
from moon_rec.shop.readers.interactions.sources import Sources
from moon_rec.values import Reading, Rule

KEYS = ("user_id", "item_id", "time")


class Events:
    """What a user's tables say of events.

    Attributes:
        rows: of the table of events and of the log, those that are there.
    """

    def __init__(self, sources: Sources, config: InteractionsConfig) -> None:
        """Read the table of events, if there is one; the log's own rows come with `without_own`.

        Raises:
            ShopError: a value that breaks a rule, a kind without a meaning, or settings that nothing reads.
        """
        self.config = config
        self.rows: list[LogRows] = []
        source, roles = sources.beside.get("events"), {}
        if source is not None:
            roles = sources.guesses["events"].roles
            self._take(read_columns(source, roles, config, "events"))
        self._refuse_idle(source is not None, "kind" in roles or config.log.kind is not None)

    def without_own(self, log: LogColumnsRead) -> LogColumnsRead:
        """The log without its rows that are events, which are taken.

        Raises:
            ShopError: as of `__init__`; a kind that no row has, or none but events.
        """
        kind, named = self.config.log.kind, self.config.log.event_kinds
        if bool(kind) != bool(named):
            idle, value, other = (
                ("kind", kind, "event_kinds") if kind else ("event_kinds", named, "kind")
            )
            raise ShopError(
                f"log.{idle} = {value!r} changes nothing without log.{other}: name the column and which of its values are events"
            )
        if kind is None:
            return log
        if "shown" in log.raw:
            raise ShopError(
                f"log.kind = {log.raw['kind']!r} changes nothing: the rows of {log.source.name} are pages, all of them; leave it out"
            )
        words, counts = _words(log), _counts(log)
        wanted = {each.lower() for each in self.config.log.event_kinds}
        unknown = sorted(wanted - counts.keys())
        if unknown:
            raise ShopError(
                f"{log.source.name}: {log.raw['kind']} is nowhere {unknown[0]!r} (log.event_kinds): it is {', '.join(sorted(counts))}"
            )
        if not counts.keys() - wanted:
            raise ShopError(
                f"{log.source.name}: log.event_kinds names every kind that there is, so no row is an impression; leave out those that are positives"
            )
        is_event = words.is_in(sorted(wanted)).fill_null(False)
        kept = {role: log.readings[role] for role in ("user", "item", "time", "kind")}
        self._take(replace(log, frame=log.frame.filter(is_event), readings=kept))
        number = sum(counts[each] for each in wanted)
        say(f"{log.source.name}: {number:,} rows are events ({', '.join(sorted(wanted))})")
        others = {role: how for role, how in log.readings.items() if role != "kind"}
        return replace(log, frame=log.frame.filter(~is_event), readings=others)

    def frame(self, ids: Mapping[str, OwnIds]) -> pl.DataFrame | None:
        """The table of events, None where there is none.

        Args:
            ids: of users and items, those of all tables.
        """
        found = [_numbered(rows, ids) for rows in self.rows]
        if not found:
            return None
        acts = pl.concat(found)
        done = acts.filter(pl.any_horizontal(OUTCOMES))
        joined = done.group_by(KEYS, maintain_order=True).agg(pl.col(OUTCOMES).any())
        if done.height < acts.height:
            say(f"{acts.height - done.height:,} events in which nothing was done are left out")
        if joined.height < done.height:
            say(
                f"{done.height - joined.height:,} events repeat one of the same user, item and time; outcomes are joined"
            )
        if not joined.height:
            say("no event is left, so the shop has no table of events")
            return None
        return joined.with_columns(clicked=pl.lit(True))

    def _take(self, read: LogColumnsRead) -> None:
        if "kind" in read.readings:
            read = _of_kinds(read, self.config.events)
        self.rows.append(read_rows(read, self.config))

    def _refuse_idle(self, has_table: bool, has_kinds: bool) -> None:
        changed = self.config.events.changed()
        kinds = {name: value for name, value in changed.items() if name.endswith("_kinds")}
        others = changed.keys() - kinds.keys()
        if kinds and not has_kinds:
            name, reason = (
                next(iter(kinds)),
                "no column says of which kind an event is; name it in events.kind",
            )
        elif others and not has_table:
            name, reason = min(others), "there is no table of events; give one with --events"
        else:
            return
        raise ShopError(
            f"events.{name} = {changed[name]!r} changes nothing: {reason}, or leave it out"
        )


def _numbered(rows: LogRows, ids: Mapping[str, OwnIds]) -> pl.DataFrame:
    """The rows with the shop's ids; without any outcome all are clicks."""
    numbers = {kind: ids[kind].of_texts(rows.texts[kind]) for kind in ("user", "item")}
    records = np.concatenate(list(rows.batches()))
    outcomes = {
        name: (records["outcomes"] >> bit & 1).astype(bool) for bit, name in enumerate(OUTCOMES)
    }
    if not rows.outcomes:
        outcomes["clicked"] = np.ones(records.size, bool)
    return pl.DataFrame(
        {
            "user_id": numbers["user"][records["user"]],
            "item_id": numbers["item"][records["item"]],
            "time": pl.Series(records["time"].copy(), dtype=pl.Int64).cast(pl.Datetime("us")),
            **outcomes,
        }
    )


def _words(read: LogColumnsRead) -> pl.Expr:
    value = read.readings["kind"].value
    if value is None:
        rule = read.readings["kind"].broken[0]
        raise ShopError(
            f"{read.source.name}: {read.raw['kind']} (kind) {rule.rule}; {rule.mend_of(None)}"
        )
    return value.str.to_lowercase()


def _counts(read: LogColumnsRead) -> dict[str, int]:
    """Rows of each kind, in small letters."""
    counted = read.frame.select(kind=_words(read)).drop_nulls().group_by("kind").len()
    return dict(read.source.collect(counted).iter_rows())


def _of_kinds(read: LogColumnsRead, columns: EventColumns) -> LogColumnsRead:
    """Outcomes instead of kinds; rows of kinds that are left out are gone, and counted."""
    words, counts = _words(read), _counts(read)
    left_out = [each.lower() for each in columns.left_out_kinds]
    number = sum(counts.get(each, 0) for each in left_out)
    if left_out:
        say(
            f"{read.source.name}: {number:,} rows are of a kind that is left out ({', '.join(left_out)})"
        )
    known = {name: _lower(getattr(columns, f"{name}_kinds")) for name in OUTCOMES}
    every = sorted(set().union(*known.values()))
    mend = "name it in events.clicked_kinds, events.carted_kinds, events.purchased_kinds or events.left_out_kinds"
    raw = read.raw["kind"]
    bad = Rule(
        pl.col(raw), ~words.is_in(every).fill_null(False), "is a kind without a meaning", mend
    )
    outcomes = {name: Reading(words.is_in(known[name])) for name in OUTCOMES}
    outcomes["clicked"] = Reading(pl.when(~bad.bad).then(words.is_in(known["clicked"])), (bad,))
    return replace(
        read,
        frame=read.frame.filter(~words.is_in(left_out).fill_null(False)),
        readings={role: read.readings[role] for role in ("user", "item", "time")} | outcomes,
        raw=read.raw | dict.fromkeys(OUTCOMES, raw),
    )


def _lower(words: Iterable[str]) -> list[str]:
    return sorted(word.lower() for word in words)
