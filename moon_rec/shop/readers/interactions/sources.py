"""The tables that a user gives, opened, and which column is what in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.shop.readers.interactions.config import InteractionsConfig
from moon_rec.shop.readers.interactions.files import Source, open_source
from moon_rec.shop.readers.interactions.guess import COSTS, Guess, guess_roles

Paths = Sequence[str | Path]


@dataclass(frozen=True, repr=False)
class Sources:
    """The log and the tables beside it.

    Attributes:
        log: the log.
        beside: `items`, `users`, `events`: those of them that are given.
        guesses: table -> which column is what.
    """

    log: Source
    beside: dict[str, Source]
    guesses: dict[str, Guess]

    @classmethod
    def open(cls, log: Paths, beside: Mapping[str, Paths], config: InteractionsConfig) -> "Sources":
        """Open every table and guess its columns; a table without files is not given.

        Raises:
            ShopError: a table cannot be opened.
        """
        opened = {
            name: open_source(paths, getattr(config, name).names)
            for name, paths in {"log": log, **beside}.items()
            if paths or name == "log"
        }
        guesses = {
            name: guess_roles(name, source.columns, getattr(config, name))
            for name, source in opened.items()
        }
        return cls(opened.pop("log"), opened, guesses)

    def head(self, number: int) -> "Sources":
        """The same with the first rows of each table alone."""
        log, *others = (
            replace(each, frame=each.frame.head(number))
            for each in (self.log, *self.beside.values())
        )
        return Sources(log, dict(zip(self.beside, others, strict=True)), self.guesses)

    def check_needed(self) -> None:
        """Refuse a log, or events, without one of the three indispensable columns.

        Raises:
            ShopError: names those that are missing, and the columns that there are.
        """
        for table, source in (("log", self.log), ("events", self.beside.get("events"))):
            roles = {} if source is None else self.guesses[table].roles
            lost = [role for role in ("user", "item", "time") if role not in roles]
            if "shown" in roles and "item" in lost:
                lost.remove("item")
            if lost and source is not None:
                raise ShopError(
                    f"{source.name}: no column is the {', nor the '.join(lost)}: name it, such as --set {table}.{lost[0]}=NAME; "
                    f"it has {', '.join(source.columns)}"
                )

    def say_what_was_taken(self) -> None:
        """Print which column was taken for what, and what goes without those that are missing."""
        for table, guess in self.guesses.items():
            taken = ", ".join(
                f"{role} = {column}{' (by its name)' if role in guess.guessed else ''}"
                for role, column in guess.roles.items()
            )
            say(f"{table}: {taken}")
            costs = COSTS.get(table, {})
            lost = [f"{role} ({costs[role]})" for role in guess.missing if role in costs]
            if "shown" in guess.roles:
                lost = [each for each in lost if not each.startswith("clicked")]
            if lost:
                say(f"{table} without {'; '.join(lost)}")
