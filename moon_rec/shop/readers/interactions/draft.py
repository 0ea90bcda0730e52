"""`shop import interactions --guess`: what an import would take, leave and refuse, and a draft of its settings; nothing is written."""

import json
from pathlib import Path

import polars as pl
from rich.table import Table

from moon_rec.console import table_console
from moon_rec.errors import MoonRecError
from moon_rec.shop.readers.interactions.config import InteractionsConfig
from moon_rec.shop.readers.interactions.files import Source
from moon_rec.shop.readers.interactions.guess import COSTS, USUAL, Guess, units_of
from moon_rec.shop.readers.interactions.importer import Import
from moon_rec.shop.readers.interactions.sources import Paths, Sources
from moon_rec.values import shown

LOOKED_AT = 20_000
NEEDED = {
    "log": ("user", "item", "time"),
    "items": ("item",),
    "users": ("user",),
    "events": ("user", "item", "time"),
}


def draft_import(
    log: Paths,
    items: Paths,
    users: Paths,
    pictures: Path | None,
    config: InteractionsConfig,
    events: Paths = (),
) -> str:
    """Print what was found in the first `LOOKED_AT` rows of each table, and give the settings as TOML.

    Raises:
        ShopError: a file that cannot be opened.
    """
    beside = {"items": items, "users": users, "events": events}
    sources = Sources.open(log, beside, config).head(LOOKED_AT)
    guesses = sources.guesses
    for name, source in {"log": sources.log, **sources.beside}.items():
        _print_columns(source, guesses[name])
    config, unit = _with_unit(sources.log, guesses["log"], config)
    missing = [
        f"{name}.{role}"
        for name, guess in guesses.items()
        for role in NEEDED[name]
        if role not in guess.roles and not (role == "item" and "shown" in guess.roles)
    ]
    if missing:
        names = ", ".join(missing)
        print(f"Not found, and needed: {names}. Name each, such as --set {missing[0]}=COLUMN.")
    else:
        _print_rows(sources, config, pictures)
    return _toml(guesses, unit)


def _print_columns(source: Source, guess: Guess) -> None:
    rows = source.frame.head(50).collect()
    table = Table(title=f"{guess.table}: {source.name} ({source.form})")
    for title in ("what", "column", "such as", "without it"):
        table.add_column(title)
    costs = COSTS.get(guess.table, {})
    for role in USUAL[guess.table]:
        column = guess.roles.get(role)
        if column is None and role not in costs and role not in NEEDED[guess.table]:
            continue
        how = (
            "" if column is None else f"{column}{' (by its name)' if role in guess.guessed else ''}"
        )
        table.add_row(
            role,
            how,
            _example(rows, column),
            "" if column else costs.get(role, "nothing can stand in for it"),
        )
    for column in guess.further:
        table.add_row("further", column, _example(rows, column), "")
    table_console().print(table)


def _example(rows: pl.DataFrame, column: str | None) -> str:
    if column is None or column not in rows.columns:
        return ""
    values = rows[column].drop_nulls()
    return shown(values[0]) if values.len() else "(nothing)"


def _with_unit(
    source: Source, guess: Guess, config: InteractionsConfig
) -> tuple[InteractionsConfig, str | None]:
    """The one unit in which the log's times are times, where they are numbers and none is named."""
    column = guess.roles.get("time")
    if column is None or config.time_unit is not None or config.log.time_format is not None:
        return config, config.time_unit
    values = source.frame.select(column).collect().to_series()
    if values.dtype == pl.String:
        values = values.str.replace(r"\.\d*$", "").cast(pl.Int64, strict=False)
        if values.null_count() == values.len():
            return config, None
    units = units_of(values)
    if len(units) != 1:
        return config, None
    return config.model_copy(update={"time_unit": units[0]}), units[0]


def _print_rows(
    sources: Sources,
    config: InteractionsConfig,
    pictures: Path | None,
) -> None:
    """The first rows of each table as they will stand, or what stands in the way."""
    try:
        tables = Import(sources, config, pictures).first_rows(3)
    except MoonRecError as error:
        print(f"As it is, this would be refused: {error}")
        return
    for name, rows in tables.items():
        table = Table(
            *rows.columns, title=f"{name}, as it will stand (of the first {LOOKED_AT:,} rows)"
        )
        for row in rows.iter_rows():
            table.add_row(*(shown(value) for value in row))
        table_console().print(table)


def _toml(guesses: dict[str, Guess], unit: str | None) -> str:
    """The mapping as a file for `--map`."""
    lines = [f'time_unit = "{unit}"'] if unit else []
    for name, guess in guesses.items():
        lines += ["", f"[{name}]"]
        lines += [
            f"{role} = {json.dumps(column, ensure_ascii=False)}"
            for role, column in guess.roles.items()
        ]
        lines += [f'# {role} = ""' for role in guess.missing]
    return "\n".join(lines).strip() + "\n"
