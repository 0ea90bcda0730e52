"""Pictures to look at: `python -m representation.look {neighbours,attention,boxes}`.

`neighbours` draws what searches find; `attention` where in products' pictures an encoder looks for given words; `boxes` what is taken for the product on pictures (`representation.core_region`). Each writes one sheet: a page (`.html`) or a picture (`.png`).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import polars as pl

from moon_rec.command import Parser, count, id_number, run
from moon_rec.errors import ShopError
from moon_rec.outputs import (
    OutputKind,
    add_overwrite_option,
    begins_with,
    check_output,
    check_picture,
)
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.options import (
    about_simulation,
    add_device,
    add_engagement,
    add_period,
    add_seed,
    add_shop,
)
from moon_rec.shop.own_ids import Kind, OwnNames
from moon_rec.values import shown
from moon_rec.vector_pairs import add_table_options, open_pair

PROGRAM = "python -m representation.look"
DRAWN_TEXTS = 3
PAGE = OutputKind("a sheet", "", begins_with(b"<!DOCTYPE html>\n<!-- moon_rec: a sheet."))
TABLES = "--items runs/demo/vectors/items --queries runs/demo/vectors/queries"


def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    refuse_many_processes("representation.look")
    options = _parser().parse_args(argv)
    if options.out.suffix.lower() == ".html":
        check_output(options.out, PAGE, options.overwrite)
    else:
        check_picture(options.out, options.overwrite, (".png", ".html"))
    options.run(options)
    print(f"written to {options.out}")


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        description="Look at what an encoder does: the nearest products of searches, and where it looks in a picture.",
        example=f"{PROGRAM} neighbours runs/demo/shop {TABLES} --out sheet.png",
    )
    commands: Any = parser.add_subparsers(
        dest="command", required=True, metavar="{neighbours,attention,boxes}"
    )
    _add_neighbours(commands)
    _add_attention(commands)
    _add_boxes(commands)
    return parser


def _add_neighbours(commands: Any) -> None:
    parser = commands.add_parser(
        "neighbours",
        help="searches, the products nearest to them, and what was purchased",
        description="Draw searches with the products nearest to them; purchased products have a frame and their rank.",
        example=f"{PROGRAM} neighbours runs/demo/shop {TABLES} --by misses --out misses.png",
    )
    _add_shared(parser, 4, "searches drawn of each modality")
    add_table_options(parser, is_required=True)
    parser.add_argument(
        "--modality",
        nargs="+",
        choices=["image", "text", "mixed"],
        default=["image", "text", "mixed"],
        help="searches by picture, by words, by both",
    )
    parser.add_argument(
        "--searches", nargs="+", metavar="ID", help="these searches, instead of drawn ones"
    )
    about = "draw from all searches, from hits only, or from misses only"
    parser.add_argument("--by", choices=["random", "hits", "misses"], default="random", help=about)
    parser.add_argument(
        "--neighbours", type=count, default=10, metavar="N", help="products shown per search"
    )
    add_period(parser, "period of the searches")
    add_engagement(parser, "what a search should find")
    parser.set_defaults(run=_neighbours)


def _add_attention(commands: Any) -> None:
    parser = commands.add_parser(
        "attention",
        help="where in products' pictures an encoder looks for given words",
        description="Draw heat maps over products' pictures for given words: attention, gradient and occlusion side by side.",
        example=f"{PROGRAM} attention runs/demo/shop --encoder runs/demo/encoder --items 3 14 --text 'red dress' --out heat.png",
    )
    _add_shared(parser, 6, "items drawn without --items")
    parser.add_argument(
        "--encoder", type=Path, required=True, metavar="DIR", help="an encoder's folder"
    )
    items = "item_ids; default: a random draw of items with a picture"
    parser.add_argument("--items", nargs="+", metavar="ID", help=items)
    words = "one or more texts, each in quotes; default: words of searches, with the items purchased after them"
    parser.add_argument("--text", nargs="+", metavar="WORDS", help=words)
    parser.add_argument(
        "--layers", type=count, metavar="N", help="attention of the last N layers; default: all"
    )
    add_device(parser)
    parser.set_defaults(run=_attention)


def _add_boxes(commands: Any) -> None:
    parser = commands.add_parser(
        "boxes",
        help="pictures with the boxes of a shop's column core_box",
        description="Draw pictures with their core_box, of a simulated shop also with the true box: then the worst by IoU come first.",
        example=f"{PROGRAM} boxes runs/boxed --out boxes.html",
    )
    _add_shared(parser, 24, "pictures of items, and of searches")
    parser.set_defaults(run=_boxes)


def _add_shared(parser: Parser, number: int, counted: str) -> None:
    """The options of all sheets."""
    add_shop(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the sheet, .png or .html"
    )
    parser.add_argument("--count", type=count, default=number, metavar="N", help=counted)
    add_seed(parser)
    add_overwrite_option(parser, "the sheet")


def _ids(shop: Shop, kind: Kind, given: list[str] | None) -> list[int] | None:
    """Ids of an option as the shop has them: the user's own where it keeps these.

    Raises:
        ShopError: one that is none, or none of the shop's own.
    """
    if given is None:
        return None
    names = OwnNames.of(shop.path, kind)
    if not names.is_kept:
        try:
            return [id_number(text) for text in given]
        except argparse.ArgumentTypeError as error:
            raise ShopError(f"{kind} id {error}") from None
    found = names.numbers(pl.Series(f"{kind}_id", given, pl.String))
    if found.null_count():
        first = given[int(found.is_null().arg_true()[0])]
        raise ShopError(
            f"{kind} id {shown(first)} is none of shop {shop.name} (it has such as {names.first}): give ids as the log writes them"
        )
    return found.to_list()


def _neighbours(options: argparse.Namespace) -> None:
    from representation.report.neighbour_sheet import draw_neighbours  # matplotlib is slow

    shop = Shop.open(options.shop)
    items, queries, coverage = open_pair(shop, options.items, options.queries, options.accept)
    assert items is not None and queries is not None
    say(f"searching {len(items):,} items of {shop.name}")
    drawn = draw_neighbours(
        options.out,
        shop,
        items,
        queries,
        modalities=list(dict.fromkeys(options.modality)),
        searches=_ids(shop, "search", options.searches),
        count=options.count,
        by=options.by,
        neighbours=options.neighbours,
        period=options.period,
        engagement=options.engagement,
        seed=options.seed,
    )
    for name, each in drawn.items():
        print(f"{name} searches: {each.how}")
    print(coverage, *about_simulation(shop), sep="\n")


def _attention(options: argparse.Namespace) -> None:
    from representation.encoder import open_encoder
    from representation.report.heat_map_sheet import draw_attention, searched_and_bought

    shop = Shop.open(options.shop)
    encoder = open_encoder(options.encoder, options.device)
    texts, items = options.text, _ids(shop, "item", options.items)
    if texts is None:
        texts, bought = searched_and_bought(shop, DRAWN_TEXTS, seed=options.seed)
        items = items or bought
    drawn = draw_attention(
        options.out,
        shop,
        encoder,  # type: ignore[arg-type]  # another encoder is refused in one line
        texts,
        item_ids=items,
        count=options.count,
        layers=options.layers,
        seed=options.seed,
    )
    for text, maps in drawn.items():
        cosines = ", ".join(f"{cosine:+.2f}" for cosine in maps.cosine)
        print(f"{text!r}: cosines {cosines}")
    for line in about_simulation(shop, "the shop"):
        print(line)


def _boxes(options: argparse.Namespace) -> None:
    from representation.report.box_sheet import draw_boxes

    shop = Shop.open(options.shop)
    for line in draw_boxes(options.out, shop, options.count, options.seed):
        print(line)
    for line in about_simulation(shop, "the shop"):
        print(line)


if __name__ == "__main__":
    sys.exit(run(main))
