"""The command that puts encoders and brought vectors through the benchmark, side by side: tables, JSON, Markdown, a picture, MLflow.

python -m representation.benchmark SHOP --encoder A --encoder B --out DIR
"""

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moon_rec.command import Parser, add_config_options, run
from moon_rec.config import load_config
from moon_rec.console import table_console
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import ConfigError
from moon_rec.files import atomic_file, write_json
from moon_rec.outputs import (
    PICTURE,
    OutputKind,
    add_overwrite_option,
    begins_with,
    check_output,
    json_with,
)
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.options import add_device, add_engagement, add_period
from moon_rec.shown import as_markdown
from moon_rec.tracking import Tracker
from moon_rec.vector_pairs import (
    Coverage,
    Covered,
    add_accept_option,
    check_ids,
    open_pair,
    told_unlike,
)
from representation.recipes.option import add_recipe_option, card_line, chosen_recipe

if TYPE_CHECKING:
    from representation.metrics.benchmark import Result
    from representation.metrics.benchmark_config import BenchmarkConfig
    from representation.sets.benchmark_set import BenchmarkSet
    from representation.sets.contestant import Contestant

WRITTEN = {
    "benchmark.json": OutputKind("a benchmark's record", "", json_with("set", "config", "results")),
    "benchmark.md": OutputKind("a benchmark's page", "", begins_with(b"# Benchmark on ")),
    "benchmark.png": PICTURE,
}
"""What stands in the folder beside the vectors, which are kept from run to run."""


def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    refuse_many_processes("representation.benchmark")
    options = _parser().parse_args(argv)
    for name, kind in WRITTEN.items():
        check_output(options.out / name, kind, options.overwrite)
    from representation.metrics.benchmark import measure
    from representation.metrics.benchmark_config import BenchmarkConfig
    from representation.report.record import track
    from representation.sets.sampling import sample

    recipe = chosen_recipe(options, "benchmark")
    config = load_config(BenchmarkConfig, options.config, options.settings, base=recipe)
    encoders = [_named(word) for word in options.encoder]
    tables = [_tables(word) for word in options.tables]
    names = [name for name, _ in (*encoders, *tables)]
    if not names:
        raise ConfigError(
            "nothing to measure: name --encoder DIR or --tables NAME=ITEMS_DIR,QUERIES_DIR"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two contestants are called {twice[0]!r}; give each a name, such as --encoder first=DIR"
        )
    tracker = Tracker(options.track) if options.track else None
    shop, whole = _open_set(options)
    bench = sample(whole, config.num_queries, config.num_labelled, config.num_products, config.seed)
    say(
        f"benchmark on {bench.name}: {bench.gallery.height:,} products, {sum(frame.height for frame in bench.queries.values()):,} queries"
    )
    results = []
    with tracker or nullcontext():
        for contestant in _contestants(encoders, tables, shop, bench, options, config):
            results.append(measure(contestant, bench, config))
            if tracker is not None:
                track(tracker, results[-1], bench, config)
        _write(options.out, results, bench, config, card_line(options))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m representation.benchmark",
        description="Compare encoders, or vectors made elsewhere, side by side: retrieval for every query type against every item type, zero-shot classification,"
        " modality collapse, norms, alignment and uniformity (the tasks of MOON's benchmark MBE).",
        example="python -m representation.benchmark runs/demo/shop --encoder runs/demo/encoder --tables other=vectors/items,vectors/queries --out runs/benchmark",
    )
    parser.add_argument("shop", type=Path, nargs="?", help="a shop's folder; or --published")
    about = "a published set instead of a shop, such as mbe:FOLDER"
    parser.add_argument("--published", metavar="KIND:DIR", help=about)
    about = "one setting of the published set's layout; overrides its layout.toml; may be repeated"
    parser.add_argument("--layout", action="append", default=[], metavar="NAME=VALUE", help=about)
    about = "an encoder's folder or name; may be repeated"
    parser.add_argument("--encoder", action="append", default=[], metavar="[NAME=]DIR", help=about)
    about = "embedding tables of items and of searches; may be repeated"
    parser.add_argument(
        "--tables", action="append", default=[], metavar="NAME=ITEMS[,QUERIES]", help=about
    )
    add_accept_option(parser)
    about = "folder for benchmark.json, .md, .png and the vectors"
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=about)
    add_period(parser)
    add_engagement(parser, "what makes a product an answer")
    add_engagement(parser, "what makes a product a query", "--query-engagement", "clicked")
    about = "file of pairs of products, columns item_a, item_b, relation (substitute, complement; ESCI's letters, Amazon's words), instead of those of the period's log"
    parser.add_argument("--pairs", type=Path, metavar="FILE", help=about)
    about = "products to classify: listed since the cut, or all"
    parser.add_argument("--labelled", choices=("new", "gallery"), default="new", help=about)
    add_recipe_option(parser, "benchmark")
    add_overwrite_option(parser, "benchmark.json, .md and .png")
    add_device(parser)
    parser.add_argument(
        "--track", metavar="URI", help="MLflow tracking store, such as sqlite:///mlflow.db"
    )
    add_config_options(
        parser,
        kind="representation.metrics.benchmark_config:BenchmarkConfig",
        first={
            "ks": "cuts of recall and precision",
            "headline_k": "the k of the short tables and the picture",
            "num_queries": "most queries of a type",
            "num_labelled": "most products classified",
            "num_products": "a gallery cut to so many, for a slow encoder",
            "batch_size": "rows a forward pass",
        },
    )
    return parser


def _named(word: str) -> tuple[str, str]:
    """Name and place of `[NAME=]DIR`; the folder's own name by default."""
    name, equals, place = word.partition("=")
    name, place = (name, place) if equals else (Path(word).name or word, word)
    if not name or not place:
        raise ConfigError(f"--encoder {word!r}: wanted DIR or NAME=DIR")
    return name, place


def _tables(word: str) -> tuple[str, tuple[Path, ...]]:
    """Name and one or two folders of `NAME=ITEMS[,QUERIES]`."""
    name, equals, places = word.partition("=")
    folders = tuple(Path(place) for place in places.split(",") if place)
    if not name or not equals or len(folders) not in (1, 2):
        raise ConfigError(f"--tables {word!r}: wanted NAME=ITEMS_DIR or NAME=ITEMS_DIR,QUERIES_DIR")
    return name, folders


def _open_set(options: Namespace) -> tuple[Shop | None, "BenchmarkSet"]:
    if (options.shop is None) == (options.published is None):
        raise ConfigError("name either a shop's folder or --published KIND:DIR, one of the two")
    if options.shop is None:
        if options.pairs is not None:
            raise ConfigError(
                "--pairs changes nothing: it is of a shop's products, and --published has none; leave it out"
            )
        kind, colon, folder = options.published.partition(":")
        if not colon or not folder:
            raise ConfigError(
                f"--published {options.published!r}: wanted KIND:DIR, such as mbe:FOLDER"
            )
        from representation.sets.published import read_set

        return None, read_set(kind, Path(folder), options.layout)
    from representation.sets.shop_set import shop_benchmark_set

    shop = Shop.open(options.shop)
    choice = (options.period, options.engagement, options.query_engagement, options.labelled)
    return shop, shop_benchmark_set(shop, *choice, options.pairs)


def _contestants(
    encoders: list[tuple[str, str]],
    tables: list[tuple[str, tuple[Path, ...]]],
    shop: Shop | None,
    bench: "BenchmarkSet",
    options: Namespace,
    config: "BenchmarkConfig",
) -> Iterator["Contestant"]:
    """One after another, so that one encoder's weights are held at a time; brought tables are checked first, for that costs nothing."""
    from representation.encoder import open_encoder
    from representation.sets.contestant import EncoderContestant, TableContestant

    brought = []
    for name, folders in tables:
        if shop is not None:
            items, queries, _ = open_pair(shop, *folders, accept=options.accept)
        else:
            items, queries = [*map(EmbeddingTable.open, folders), None][:2]
            asked = [frame["query_id"] for of, frame in bench.queries.items() if of != "product"]
            ids = np.concatenate([np.empty(0, np.int64), *asked])
            check_ids(bench.gallery["item_id"].to_numpy(), ids, items, queries)
        assert items is not None
        brought.append(TableContestant(name, items, queries, bench))
    for name, place in encoders:
        say(f"opening {name}")
        encoder = open_encoder(place, options.device)
        yield EncoderContestant(name, encoder, bench, options.out / "vectors", config.batch_size)
    yield from brought


def _write(
    out: Path,
    results: list["Result"],
    bench: "BenchmarkSet",
    config: "BenchmarkConfig",
    card: str | None,
) -> None:
    from representation.report.benchmark_figure import draw
    from representation.report.record import whole_record
    from representation.report.tables import markdown, print_tables

    coverages = {
        one.name: found
        for one in results
        if (found := _coverage(one, bench.gallery.height)) is not None
    }
    record = whole_record(results, bench, config)
    record["coverage"] = {name: one.as_dict() for name, one in coverages.items()}
    record["card"] = card
    write_json(out / "benchmark.json", record)
    with atomic_file(out / "benchmark.md") as temporary:
        below = "" if card is None else f"\n{as_markdown(card)}\n"
        temporary.write_text(markdown(results, bench, config) + below, encoding="utf-8")
    draw(out / "benchmark.png", results, bench, config)
    print_tables(results, bench, config, table_console())
    if card is not None:
        print(card)
    for name, one in coverages.items():
        print(f"{name}: {one}")
    if unlike := told_unlike(coverages):
        print(unlike)
    print(f"written to {out}: benchmark.json, benchmark.md, benchmark.png")


def _coverage(result: "Result", num_products: int) -> Coverage | None:
    """Products that have a vector, shown by all there is; None where none is measured so."""
    from representation.metrics.retrieval import Retrieved

    found = [cells["both"] for cells in result.retrieval.values()]
    sizes = [one.num_items for one in found if isinstance(one, Retrieved)]
    return Coverage(Covered(max(sizes), num_products), None) if sizes else None


if __name__ == "__main__":
    sys.exit(run(main))
