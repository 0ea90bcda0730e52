"""`python -m moon_rec shop {simulate,import,check,describe}`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moon_rec.command import Parser, add_config_options, run
from moon_rec.config import load_config
from moon_rec.data_folder import data_folder
from moon_rec.errors import ShopError
from moon_rec.outputs import add_overwrite_option, check_output, check_picture
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop.description import Description, describe
from moon_rec.shop.faults import check_faults_file, write_faults
from moon_rec.shop.import_commands import PUBLIC, add_interactions, add_public_sets
from moon_rec.shop.leaks import leak_warnings
from moon_rec.shop.manifest import Manifest
from moon_rec.shop.printing import print_description, summary
from moon_rec.shop.problem import raise_all
from moon_rec.shop.readers import (
    MovieLensConfig,
    OnlineRetailConfig,
    TablesConfig,
    import_movielens,
    import_online_retail,
    import_tables,
)
from moon_rec.shop.schema import MANIFEST, SHOP
from moon_rec.shop.shop import Shop
from moon_rec.shop.validation import validate_folder

PROGRAM = "python -m moon_rec shop"
SOURCES: dict[str, tuple[type, Callable[..., Shop]]] = {
    "movielens": (MovieLensConfig, import_movielens),
    "online-retail": (OnlineRetailConfig, import_online_retail),
    "tables": (TablesConfig, import_tables),
}
ABOUT = {
    "movielens": "MovieLens of any size: ratings.csv, ratings.dat or u.data, and posters.zip if you have it",
    "online-retail": "UCI Online Retail; non-clicks are sampled",
    "tables": "your own Parquet files, with the columns of docs/design.md",
    "myntra": "Myntra's catalogue under simulated shoppers",
}
EXAMPLES = {
    "movielens": f"{PROGRAM} import movielens --data ml-latest-small --out runs/movielens --set edition=2018",
    "online-retail": f"{PROGRAM} import online-retail --data online_retail --out runs/retail",
    "tables": f"{PROGRAM} import tables --data MINE --out runs/shop --set time_unit=s --set clicked_at_least=4",
    "myntra": f"{PROGRAM} import myntra --data DATA/myntra --out runs/myntra",
}


def main(argv: list[str] | None = None) -> None:
    """Run one of the shop's commands.

    Raises:
        MoonRecError: what the user can mend; `moon_rec.command.run` prints it in one line.
    """
    refuse_many_processes("moon_rec shop")
    options = _parser().parse_args(argv)
    options.run(options)


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        description="Simulate, import, check or describe a shop.",
        example=f"{PROGRAM} simulate --out runs/shop --set num_users=500",
    )
    commands: Any = parser.add_subparsers(
        dest="command", required=True, metavar="{simulate,import,check,describe}"
    )
    _add_simulate(commands)
    _add_import(commands)
    _add_check(commands)
    _add_describe(commands)
    return parser


def _add_simulate(commands: Any) -> None:
    parser = commands.add_parser(
        "simulate",
        help="simulate a shop: catalogue, shoppers, searches, impressions",
        description="Simulate a shop, with its true click probabilities kept apart in truth/.",
        example=f"{PROGRAM} simulate --out runs/shop --set num_users=500 --set seed=1",
    )
    parser.add_argument("--out", type=Path, required=True, help="the new shop's folder")
    parser.add_argument("--data", type=Path, help="folder of the real catalogue (catalogue=myntra)")
    add_overwrite_option(parser, "the shop")
    add_config_options(parser)
    parser.set_defaults(run=_simulate)


def _add_import(commands: Any) -> None:
    parser = commands.add_parser(
        "import",
        help="make a shop of your own log or tables, or of a public data set",
        description=(
            "Make a shop of your own log in any form (interactions), of your own Parquet files with the columns of docs/design.md (tables), of "
            "MovieLens of any size, UCI Online Retail (non-clicks are sampled), Myntra's catalogue (under simulated shoppers), or of one of the "
            "public sets below, from the files that its publisher ships (docs/public_sets.md)."
        ),
        example=f"{PROGRAM} import interactions clicks.csv --items products.csv --guess",
    )
    sources: Any = parser.add_subparsers(
        dest="source",
        required=True,
        metavar=f"{{interactions,{','.join([*SOURCES, 'myntra', *PUBLIC])}}}",
    )
    add_interactions(sources, _report)
    for source in (*SOURCES, "myntra"):
        _add_source(sources, source)
    add_public_sets(sources, _report)


def _add_source(sources: Any, source: str) -> None:
    parser = sources.add_parser(
        source,
        help=ABOUT[source],
        description=f"Make a shop of {ABOUT[source]}.",
        example=EXAMPLES[source],
    )
    parser.add_argument("--data", type=Path, help="folder of the raw files")
    parser.add_argument("--out", type=Path, required=True, help="the new shop's folder")
    add_overwrite_option(parser, "the shop, and the file of --faults,")
    _add_faults(parser)
    add_config_options(parser)
    parser.set_defaults(run=_import, source=source)


def _add_faults(parser: Any) -> None:
    parser.add_argument(
        "--faults",
        type=Path,
        metavar="FILE",
        help="write every broken row, with its id, to a .csv or .parquet file",
    )


def _add_check(commands: Any) -> None:
    parser = commands.add_parser(
        "check",
        help="check every rule of a shop's folder",
        description="Check every rule of a shop's tables and that the files are those of the manifest; each broken rule is named with table, column, first row and value. Then warn of leaks, which make results look better than they are: columns that know the label, copied rows, pictures and users (docs/design.md).",
        example=f"{PROGRAM} check runs/shop --all",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--all", action="store_true", help="print every broken rule, one per line")
    _add_faults(parser)
    parser.add_argument(
        "--renew",
        action="store_true",
        help="accept changed tables: if all other rules hold, record their new rows and digests",
    )
    add_overwrite_option(parser, "the file of --faults")
    parser.set_defaults(run=_check)


def _add_describe(commands: Any) -> None:
    parser = commands.add_parser(
        "describe",
        help="print what a shop holds, and write it as a page",
        description="Print what a shop holds, period by period, and what drifts from train to test. --out also checks every rule, as `check` does, and writes a page "
        "(shop.html), its numbers (shop.json, with a JSON schema beside it) and its figures.",
        example=f"{PROGRAM} describe runs/shop --out runs/shop-page",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the page into a new folder")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw a sheet (PNG, PDF, SVG)")
    add_overwrite_option(parser, "the page, and the picture,")
    parser.set_defaults(run=_describe)


def _simulate(options: argparse.Namespace) -> None:
    _simulate_with(options, options.settings, options.data)


def _import(options: argparse.Namespace) -> None:
    if options.source == "myntra":
        _simulate_with(options, ['catalogue="myntra"', *options.settings], _data(options))
        return
    kind, reader = SOURCES[options.source]
    settings = [_as_text(setting) for setting in options.settings]
    config = load_config(kind, options.config, settings)
    data = _data(options)
    check_output(options.out, SHOP, options.overwrite, inputs=(data, options.config))
    further = {}
    if options.faults is not None:
        if options.source != "tables":
            raise ShopError("--faults is of one's own tables; leave it out")
        check_faults_file(options.faults, options.overwrite)
        further["faults"] = options.faults
    _report(reader(data, options.out, config=config, overwrite=options.overwrite, **further))


def _as_text(setting: str) -> str:
    """`edition=2018` means the text "2018", which TOML would read as a number."""
    name, _, value = setting.partition("=")
    return f'edition="{value}"' if name == "edition" and value.isdigit() else setting


def _simulate_with(options: argparse.Namespace, settings: list[str], data: Path | None) -> None:
    from moon_rec.shop.simulate import SimulationConfig, simulate_shop  # slow to load

    config = load_config(SimulationConfig, options.config, settings)
    if data is not None and config.catalogue == "drawn":
        raise ShopError(
            f"--data {data} changes nothing: a drawn catalogue reads no files; leave it out, or set catalogue=myntra"
        )
    check_output(options.out, SHOP, options.overwrite, inputs=(data, options.config))
    shop = simulate_shop(config, options.out, data=data, overwrite=options.overwrite)
    shop.validate()
    _report(shop)


def _data(options: argparse.Namespace) -> Path:
    """The folder of raw files: as given, else the data set's own among the known data sets."""
    if options.data is not None:
        return options.data
    known = data_folder()
    folder = known / options.source.replace("-", "_") if known else None
    if folder is None or not folder.is_dir():
        raise ShopError(f"--data is absent: name the folder of {options.source}'s raw files")
    return folder


def _check(options: argparse.Namespace) -> None:
    if not options.shop.is_dir():
        Shop.open(options.shop)  # says what a shop is
    if options.faults is not None:
        check_faults_file(options.faults, options.overwrite)
    problems = validate_folder(options.shop, promised=not options.renew)
    if options.all:
        for problem in problems:
            print(problem)
    if options.faults is not None:
        write_faults(options.faults, options.shop, problems, options.overwrite)
    raise_all(options.shop, problems)
    if options.renew:
        Manifest.read(options.shop).renewed(options.shop).write(options.shop)
        say(f"{options.shop / MANIFEST} records the tables as they are now")
    shop = Shop.open(options.shop)
    _report(shop)
    for warning in leak_warnings(shop):
        print(f"warning: {warning}")


def _report(shop: Shop) -> None:
    """One line on stdout, of a shop that keeps every rule."""
    print(f"ok {shop.path}: {summary(shop)}")


def _describe(options: argparse.Namespace) -> None:
    if options.picture is not None:
        check_picture(options.picture, options.overwrite, (".png", ".pdf", ".svg"))
    if options.out is not None:
        _describe_as_page(options)
        return
    shop = Shop.open(options.shop)
    found = describe(shop)
    print_description(found)
    _draw_sheet(options, shop, found)


def _describe_as_page(options: argparse.Namespace) -> None:
    from moon_rec.shop.page import DESCRIBED, products, write_description  # slow to load

    check_output(options.out, DESCRIBED, options.overwrite, inputs=(options.shop,))
    _refuse_inside(options.out, options.shop, "the shop")
    if options.picture is not None:
        _refuse_inside(options.picture, options.out, "the page's folder")
    shop = Shop.open(options.shop)
    shown = products(shop)
    found = describe(shop, checked=True)
    print_description(found)
    _draw_sheet(options, shop, found)
    print(f"written: {write_description(found, shown, options.out, options.overwrite)}")


def _draw_sheet(options: argparse.Namespace, shop: Shop, found: Description) -> None:
    if options.picture is not None:
        from moon_rec.shop.sheet import draw_sheet  # matplotlib is slow to load

        draw_sheet(shop, options.picture, days=found.days)
        say(f"drawn: {options.picture}")


def _refuse_inside(path: Path, folder: Path, what: str) -> None:
    """
    Raises:
        ShopError: an output would lie in a folder that holds nothing but its own files.
    """
    if folder.resolve() in path.resolve().parents:
        raise ShopError(
            f"{path} lies in {what} {folder}, which holds its own files alone; name another place"
        )


if __name__ == "__main__":
    sys.exit(run(main))
