"""A public set from its publisher's files to a shop: the files are found and checked, the importer of interactions does the rest.

Notable choices
- A column that the map names and the file has not is refused with all that was expected; one that the file has and nobody listed is left
  out and named.
- Behaviour without a time is counted and left out, never given one. Where a whole set has no times, the publisher's split stands for them (`clock`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from moon_rec.config import merged
from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.shop.readers.interactions.config import InteractionsConfig
from moon_rec.shop.readers.interactions.files import Source, first_lines, open_source
from moon_rec.shop.readers.interactions.importer import Import
from moon_rec.shop.readers.interactions.opening import as_said
from moon_rec.shop.readers.interactions.sources import Sources
from moon_rec.shop.readers.public.clock import PERIOD_TIME, clock_map, past_events, with_periods
from moon_rec.shop.readers.public.sets import Layout, PublicSet, Table, public_set
from moon_rec.shop.readers.split import check_cuts, check_shares
from moon_rec.shop.shop import Shop

TYPES: dict[str, pl.DataType] = {
    "text": pl.String(),
    "number": pl.Float64(),
    "whole": pl.Int64(),
    "texts": pl.List(pl.String),
    "pictures": pl.List(pl.Struct({"large": pl.String})),
}


@dataclass(frozen=True)
class Found:
    """A layout, and where its files are: table -> paths."""

    layout: Layout
    files: dict[str, list[Path]]
    folder: Path


def map_of(name: str, folder: str | Path) -> dict[str, Any]:
    """The importer's settings of the layout that a folder has; settings of the user go over them.

    Raises:
        ShopError: as `find_layout`.
    """
    layout = find_layout(name, Path(folder)).layout
    values = dict(layout.map)
    for table_name, table in layout.tables.items():
        if not table.has_header:
            values = merged({table_name: {"names": list(table.columns)}}, values)
    return merged(clock_map(layout), values)


def find_layout(name: str, folder: Path) -> Found:
    """The first layout of which every needed file is there.

    Raises:
        ShopError: no shop can be made of the set; the folder is none; or no layout's files are there, with what was looked for.
    """
    described = public_set(name)
    if described.refused:
        raise ShopError(f"{described.title}: {described.refused}")
    if not folder.is_dir():
        raise ShopError(f"{folder} is not a folder: --data names the folder of {described.needs}")
    wanted = []
    for layout in described.layouts:
        files = {table: _matches(folder, each.files) for table, each in layout.tables.items()}
        lost = [t for t, each in layout.tables.items() if each.is_needed and not files[t]]
        if not lost:
            return Found(layout, {t: paths for t, paths in files.items() if paths}, folder)
        wanted.append(" and ".join(" or ".join(layout.tables[table].files) for table in lost))
    raise ShopError(
        f"{folder} has no {', nor '.join(dict.fromkeys(wanted))}: --data names the folder of {described.needs}"
    )


def import_public_set(
    name: str,
    folder: str | Path,
    out: str | Path,
    config: InteractionsConfig | None = None,
    overwrite: bool = False,
) -> Shop:
    """Write a public set as a shop.

    Args:
        name: of `public_sets`.
        folder: of the publisher's files.
        config: all settings, `map_of` with the user's over it; None: `map_of`.

    Raises:
        ShopError: a file or a column is missing, or what the importer refuses.
    """
    found = find_layout(name, Path(folder))
    config = config or InteractionsConfig.model_validate(map_of(name, folder))
    check_cuts(config.cut_time, config.test_time)
    check_shares(config.cut_share, config.test_share)
    described, layout = public_set(name), found.layout
    say(f"{described.title}: {layout.name}")
    opened = {table: _open(found, table, config) for table in found.files}
    _set_clock(found, opened, config)
    for table in found.files:
        opened[table] = _checked(described, found, table, opened[table], config)
    _say_what_is_left_out(found, opened["log"])
    config = _named(config, name, described, layout)
    sources = Sources.of(opened, config, guess=layout.guess)
    sources.check_needed()
    pictures = next(iter(_matches(found.folder, layout.pictures)), None)
    shop = Import(sources, config, pictures).write(Path(out), overwrite)
    _say_vectors(found, Path(out))
    return shop


def _matches(folder: Path, alternatives: Sequence[str]) -> list[Path]:
    """The files of the first alternative of which there is one."""
    for alternative in alternatives:
        found = [path for pattern in alternative.split() for path in sorted(folder.glob(pattern))]
        if found:
            return found
    return []


def _open(found: Found, table: str, config: InteractionsConfig) -> Source:
    form, paths = getattr(config, table), found.files[table]
    described = found.layout.tables[table]
    source = open_source(paths, form.names, form.separator, form.encoding)
    if source.form == "JSON lines" and described.types:
        schema = {name: TYPES[described.types[name]] for name in described.types}
        _check_json(paths[0], described)
        source = replace(source, frame=pl.scan_ndjson(list(paths), schema=schema))
    return source


def _check_json(path: Path, table: Table) -> None:
    """Refuse JSON lines whose first line lacks a column: read by type, it would be null everywhere."""
    lines = first_lines(path, 1)
    try:
        keys = set(json.loads(lines[0])) if lines else set()
    except (ValueError, TypeError) as error:
        raise ShopError(
            f"{path}: line 1 is no JSON object: {error}; fetch the file again"
        ) from None
    lost = [name for name in table.columns if name not in keys and name not in table.may_lack]
    if lost:
        raise ShopError(_lacks(path, lost, sorted(keys)))


def _lacks(path: Path | str, lost: Sequence[str], there: Sequence[str]) -> str:
    return (
        f"{path} has no column {', '.join(lost)}: it has {', '.join(there)}; take the publisher's file, or say which column is what "
        "with `shop import interactions`"
    )


def _checked(
    described: PublicSet, found: Found, name: str, source: Source, config: InteractionsConfig
) -> Source:
    """The source with the columns that are known, its lists unfolded; further ones are named and left out."""
    form, table = getattr(config, name), found.layout.tables[name]
    there = list(source.columns)
    if found.layout.guess:
        return as_said(source, form)
    if not table.types:  # JSON lines are checked by their first one
        lost = [column for column in table.columns if column not in {*there, *table.may_lack}]
        if lost:
            raise ShopError(_lacks(source.name, lost, there))
    said = [value for _, value in form if isinstance(value, str)]
    unknown = [
        column
        for column in there
        if column not in table.columns and column not in said and column != PERIOD_TIME
    ]
    if unknown:
        say(
            f"{source.name}: {', '.join(unknown)} left out: {described.title}'s map does not know them"
        )
    source = replace(source, frame=source.frame.drop(unknown))
    return as_said(source, form)


def _set_clock(found: Found, opened: dict[str, Source], config: InteractionsConfig) -> None:
    """Where a set has no times: a day for each row of the log, and what came before as events."""
    clock, user = found.layout.clock, config.log.user
    if clock is None or user is None:
        return
    paths = _matches(found.folder, clock.test)
    if not paths:
        raise ShopError(
            f"{found.folder} has no {' or '.join(clock.test)}: without times its test files are the test period"
        )
    opened["log"] = with_periods(opened["log"], paths, clock, user)
    for untimed in found.layout.untimed:
        if untimed.last and untimed.column in opened["log"].columns:
            opened["events"] = past_events(opened["log"], user, untimed)


def _say_what_is_left_out(found: Found, log: Source) -> None:
    """Behaviour of the files that no table of the shop holds, with counts; and files that are not read."""
    for pattern, why in found.layout.ignored.items():
        for path in _matches(found.folder, [pattern])[:1]:
            say(f"{path} is not read: {why}")
    for untimed in found.layout.untimed:
        if untimed.last or untimed.column not in log.columns:
            continue
        column = pl.col(untimed.column)
        if untimed.separator is not None:
            parts = column.str.split(untimed.separator)
            column = parts.list.eval(pl.element().filter(pl.element() != ""))
        number = log.collect(log.frame.select(column.list.len().fill_null(0).sum())).item()
        say(
            f"{log.name}: {number:,} entries of {untimed.column} have no times: they are left out, and histories begin with the log"
        )


def _named(
    config: InteractionsConfig, name: str, described: PublicSet, layout: Layout
) -> InteractionsConfig:
    """The settings with the shop's name and source where the user named none."""
    names = {
        "name": config.name or name,
        "source": config.source or f"{described.title} ({layout.name})",
    }
    return config.model_copy(update=names)


def _say_vectors(found: Found, out: Path) -> None:
    """The commands that bring the vectors that lie beside the files."""
    for vectors in found.layout.vectors:
        for path in _matches(found.folder, [vectors.file]):
            options = vectors.bring.format(folder=found.folder)
            say(
                f"{vectors.about}: python -m representation.bring {path} --shop {out} --out TABLE {options}".rstrip()
            )
