"""`python -m moon_rec shop import SOURCE`: what each source of a shop takes on the command line."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moon_rec.command import add_config_options
from moon_rec.config import load_config
from moon_rec.errors import ShopError
from moon_rec.files import atomic_file
from moon_rec.outputs import add_overwrite_option, check_output
from moon_rec.progress import say
from moon_rec.shop.readers.interactions import InteractionsConfig, import_interactions
from moon_rec.shop.schema import SHOP

PROGRAM = "python -m moon_rec shop import interactions"


def add_interactions(sources: Any, report: Callable[[Any], None]) -> None:
    """Add the parser of `interactions`.

    Args:
        report: prints what a shop holds.
    """
    parser = sources.add_parser(
        "interactions",
        help="your own log: CSV, TSV, JSON lines, Parquet, Arrow, Lance, DuckDB, packed or not",
        description=(
            "Make a shop of your own log. Only user, item and time are indispensable; columns are found by their usual names, or named "
            "in a map (--guess drafts one). Ids may be any texts or numbers and are kept. A log without outcomes gets sampled non-clicks."
        ),
        example=f"{PROGRAM} clicks.csv --items products.csv --pictures pictures.zip --out runs/mine --set time_unit=s",
    )
    parser.add_argument("log", nargs="+", help="files of the log, or a folder of them")
    parser.add_argument("--items", nargs="+", default=[], metavar="FILE", help="the table of items")
    parser.add_argument("--users", nargs="+", default=[], metavar="FILE", help="the table of users")
    parser.add_argument(
        "--events",
        nargs="+",
        default=[],
        metavar="FILE",
        help="what users did that was no impression; only histories read it",
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="PATH",
        help="a folder, zip or tar of the pictures that a column names",
    )
    parser.add_argument("--out", type=Path, help="the new shop's folder")
    add_overwrite_option(parser, "the shop")
    parser.add_argument(
        "--guess",
        nargs="?",
        const="",
        metavar="FILE",
        help="write no shop: show what was found, three rows of each table as they would stand, and a draft of the map (into FILE)",
    )
    add_config_options(
        parser, "--map", "which column is what, and what values mean, in a TOML file"
    )
    parser.set_defaults(run=lambda options: _import(options, report))


def _import(options: argparse.Namespace, report: Callable[[Any], None]) -> None:
    config = load_config(InteractionsConfig, options.map, options.settings)
    if options.guess is not None:
        _guess(options, config)
        return
    if options.out is None:
        raise ShopError("--out is absent: name the new shop's folder, or look first with --guess")
    reads = [*options.log, *options.items, *options.users, *options.events]
    reads += [options.pictures, options.map]
    check_output(options.out, SHOP, options.overwrite, inputs=reads)
    report(
        import_interactions(
            options.log,
            options.out,
            options.items,
            options.users,
            options.pictures,
            config,
            options.overwrite,
            options.events,
        )
    )


def _guess(options: argparse.Namespace, config: InteractionsConfig) -> None:
    from moon_rec.shop.readers.interactions.draft import draft_import

    file = Path(options.guess) if options.guess else None
    if file is not None and file.exists():
        raise ShopError(f"--guess {file} exists already; remove it or name another file")
    tables = options.log, options.items, options.users
    text = draft_import(*tables, options.pictures, config, options.events)
    if file is None:
        print(f"\n# a draft of the map: keep it in a file, and give that to --map\n{text}", end="")
        return
    with atomic_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    say(f"a draft of the map is in {file}: read it, and give it to --map")
