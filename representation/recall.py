"""The command that measures item and query vectors on a shop: a table, the definitions, JSON, a picture."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from moon_rec.command import Parser, count, run
from moon_rec.console import print_lines
from moon_rec.errors import ConfigError
from moon_rec.estimate import Estimate
from moon_rec.files import write_json
from moon_rec.outputs import (
    OutputKind,
    add_overwrite_option,
    check_output,
    check_picture,
    json_with,
)
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.options import about_simulation, add_engagement, add_period, add_seed, add_shop
from moon_rec.shown import as_console_text
from moon_rec.vector_pairs import about_pair, add_table_options, open_pair

if TYPE_CHECKING:
    from representation.search.approximate import IndexConfig

CURVE = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)
SEGMENT_K = 10
FIGURES = OutputKind(
    "figures of recall", "", json_with("shop", "items", "queries", "metrics", "segments")
)
ASKED = ("period", "engagement", "index", "effort", "seed")
"""Options that the figures name."""
_EFFORT = {"ivf": "probes", "hnsw": "search_width"}
"""Approximate index -> the setting that `--effort` is."""
SEGMENTS = f"image_search_recall@{SEGMENT_K}"


def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    refuse_many_processes("representation.recall")
    options = _parser().parse_args(argv)
    if options.out:
        check_output(options.out, FIGURES, options.overwrite)
    if options.picture:
        check_picture(options.picture, options.overwrite)
    shop = Shop.open(options.shop)
    items, queries, coverage = open_pair(shop, options.items, options.queries, options.accept)
    assert items is not None and queries is not None
    from representation.metrics import shop_metrics  # torch and faiss, after the arguments
    from representation.sets.search_cases import ShopSearches

    ks = tuple(sorted(set(options.ks)))
    say(f"measuring {len(items):,} items and {len(queries):,} queries on {shop.name}")
    searches = ShopSearches.of(shop, items, queries, options.period, options.engagement)
    all_ks = tuple(sorted({*ks, *CURVE})) if options.picture else ks
    seed = options.seed
    measured = shop_metrics.measure_shop_by_row(
        searches, all_ks, index=_index(options), seed=seed
    ).estimates
    kept = {name: each for name, each in measured.items() if _cut(name) in (None, *ks)}
    if not any("_search_recall@" in name for name in kept):
        say(
            f"no search of the {options.period} period can be measured; the metrics of items alone follow"
        )
    segments, larger = {}, {}
    if any(name.startswith("image_search_recall@") for name in kept):
        segments = shop_metrics.measure_segments(searches, SEGMENT_K, depth=options.segment_depth)
    if options.catalogue:
        larger = shop_metrics.measure_larger_catalogues(searches, options.catalogue, ks, seed=seed)
    if options.out:
        about = about_pair(shop, items, queries)
        about |= {name: getattr(options, name) for name in ASKED}
        about |= {"coverage": coverage.as_dict(), "metrics": _plain(kept)}
        about |= {"segments": {SEGMENTS: _plain(segments)}, "larger_catalogues": _plain(larger)}
        write_json(options.out, about)
    if options.picture:
        from representation.report.recall_figure import draw_recall  # matplotlib only when asked

        draw_recall(options.picture, searches, measured, seed)
    _print(shop, options, kept | larger, segments)
    print(coverage)
    for path in filter(None, (options.out, options.picture)):
        print(f"written to {path}")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m representation.recall",
        description="Measure item and query vectors on a shop: image-, text- and mixed-search recall with intervals, and the metrics beside it.",
        example="python -m representation.recall runs/demo/shop --items runs/demo/vectors/items --queries runs/demo/vectors/queries --picture recall.png",
    )
    add_shop(parser)
    add_table_options(parser, is_required=True)
    add_period(parser)
    add_engagement(parser, "which engagement makes an item relevant to a search")
    parser.add_argument(
        "--ks", type=count, nargs="+", default=[1, 5, 10, 50], metavar="K", help="values of k"
    )
    about = "levels of the category path that make a segment"
    parser.add_argument("--segment-depth", type=count, default=1, metavar="N", help=about)
    about = "search approximately (ivf, hnsw) and print what share of the exact ranking is found; segments, pictures and metrics of items stay exact"
    parser.add_argument("--index", choices=("exact", *_EFFORT), default="exact", help=about)
    about = "lists searched (ivf) or efSearch (hnsw): larger finds more and is slower"
    parser.add_argument("--effort", type=count, metavar="N", help=about)
    about = "extrapolate search recall to catalogues of so many items, such as 1e6 1e8"
    parser.add_argument("--catalogue", type=_size, nargs="+", metavar="ITEMS", help=about)
    add_seed(parser, "seed of the samples")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    about = "draw recall by k, and nearest neighbours (PNG)"
    parser.add_argument("--picture", type=Path, metavar="FILE", help=about)
    add_overwrite_option(parser, "both files")
    return parser


def _size(text: str) -> int:
    """A number of items: `1000000` or `1e6`."""
    from representation.metrics.larger_catalogues import LARGEST_SIZE

    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 1 <= number <= LARGEST_SIZE or not number.is_integer():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of items: wanted a whole number up to {LARGEST_SIZE:.0e}, such as 1e6"
        )
    return int(number)


def _index(options: Any) -> "IndexConfig | None":
    from representation.search.approximate import IndexConfig

    if options.index == "exact":
        if options.effort is not None:
            raise ConfigError("--effort is of an approximate index: add --index ivf or hnsw")
        return None
    effort = {} if options.effort is None else {_EFFORT[options.index]: options.effort}
    return IndexConfig(kind=options.index, **effort)


def _cut(name: str) -> int | None:
    """The k in a metric's name."""
    return int(name.rpartition("@")[2]) if "@" in name else None


def _print(
    shop: Shop, options: Any, measured: dict[str, Estimate], segments: dict[str, Estimate]
) -> None:
    """A row a metric, so that it fits 80 columns; then each family's definition, at its largest k."""
    title = f"{shop.title}, {options.period} period, {options.engagement}"
    table = Table(title=as_console_text(title))
    table.add_column("metric", no_wrap=True)
    table.add_column("value [95 %]", justify="right", no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    definitions: dict[str, str] = {}
    for name, each in measured.items():
        family = name.partition("@")[0]
        if " among " in name:
            family += " among more"
        if definitions and family not in definitions:
            table.add_section()
        definitions.pop(family, None)
        definitions[family] = f"{name}: {each.definition}"
        table.add_row(name, str(each), f"{each.count:,}")
    table.add_section()
    of_segments = {f"{SEGMENTS} in {name}": each for name, each in segments.items()}
    for name, each in of_segments.items():
        table.add_row(as_console_text(name), str(each), f"{each.count:,}")
    console = Console()
    console.print(table)
    intervals = (
        "intervals: Wilson's, at the count that the units are worth (one user's searches are alike)"
    )
    ties = _ties(measured | of_segments)
    print_lines(console, [*definitions.values(), *ties, intervals, *about_simulation(shop)])


def _ties(measured: dict[str, Estimate]) -> list[str]:
    """How much of each metric hangs on ties, where any does."""
    shares = [f"{name} {each.tied:.1%}" for name, each in measured.items() if each.tied]
    if not shares:
        return []
    return [
        f"ties: share of the units whose cut falls among items of one score: {', '.join(shares)}; these count what a random order of the tied gives on average"
    ]


def _plain(estimates: dict[str, Estimate]) -> dict[str, Any]:
    return {name: each.as_dict() for name, each in estimates.items()}


if __name__ == "__main__":
    sys.exit(run(main))
