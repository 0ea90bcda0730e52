"""Command: curate a shop's positive pairs and say what each step dropped.

python -m representation.curate SHOP --items VECTORS --queries VECTORS --out PAIRS
"""

import resource
import sys
import time
from pathlib import Path
from typing import Any

from moon_rec.command import Parser, add_config_options, run
from moon_rec.config import load_config
from moon_rec.console import print_lines, table_console
from moon_rec.files import digest_of
from moon_rec.outputs import add_overwrite_option, check_output, check_picture
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.options import about_simulation, add_engagement, add_shop
from moon_rec.tracking import Tracker
from moon_rec.vector_pairs import about_pair, add_table_options, open_pair
from representation.curation import Curated, CurationConfig, curate
from representation.curation.files import PAIRS, write_pairs
from representation.recipes.option import add_recipe_option, chosen_recipe


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("representation.curate")
    options = _parser().parse_args(argv)
    recipe = chosen_recipe(options, "curation")
    config = load_config(CurationConfig, options.config, options.settings, base=recipe)
    shop = Shop.open(options.shop)
    reads = (options.shop, options.items, options.queries, options.config)
    check_output(options.out, PAIRS, options.overwrite, inputs=reads)
    if options.picture:
        check_picture(options.picture, options.overwrite)
    tracker = Tracker(options.track) if options.track else None
    items, queries, coverage = open_pair(shop, options.items, options.queries, options.accept)
    if items is not None or queries is not None:
        say(str(coverage))
    from representation.posttraining.pairs import logged_pairs

    start = time.perf_counter()
    pairs = logged_pairs(shop, options.engagement, options.query_engagement, not options.whole)
    counts = ", ".join(f"{kind} {frame.height:,}" for kind, frame in pairs.items())
    say(f"pairs before the cut, by query: {counts}")
    curated = curate(shop, pairs, config, items, queries)
    seconds = time.perf_counter() - start
    about = about_pair(shop, items, queries) | _about(options, config, curated, seconds)
    write_pairs(options.out, curated.pairs, about, options.overwrite)
    if options.picture:
        from representation.curation.figure import draw_curation  # matplotlib only when asked

        draw_curation(options.picture, shop, curated)
    if tracker is not None:
        _track(tracker, options, config, curated, about)
    _print(shop, options, curated, about)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m representation.curate",
        description="Curate the positive pairs of a shop's log before its cut: keep the hardest query of an item, merge the SKUs of an SPU, adjust the "
        "mix of categories towards their exposure, drop pairs whose texts name too few things. Writes one Parquet file per kind of query, and a report of each step.",
        example="python -m representation.curate runs/demo/shop --items runs/demo/vectors/items --queries runs/demo/vectors/queries --out runs/demo/pairs --picture curation.png",
    )
    add_shop(parser)
    add_table_options(
        parser,
        items="a previous model's embedding table of the items",
        queries="that model's embedding table of the searches",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the pairs")
    add_engagement(parser, "what makes a pair positive")
    about = "the engagement that makes a product a query for the other products of the same search"
    add_engagement(parser, about, "--query-engagement", "clicked")
    about = "make no text-only or picture-only pairs from searches that have both"
    parser.add_argument("--whole", action="store_true", help=about)
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw the steps and the mixes (PNG)"
    )
    add_overwrite_option(parser, "pairs and picture")
    add_recipe_option(parser, "curation")
    parser.add_argument("--track", metavar="URI", help="log the steps to this MLflow store")
    add_config_options(
        parser,
        kind="representation.curation.config:CurationConfig",
        first={
            "hardest_query": "keep an item's hardest query (needs --items and --queries)",
            "merge_spu": "a query and an SPU count once",
            "rebalance_categories": "near the mix of categories to that of impressions",
            "rebalance_keep": "least share of the pairs that this leaves",
            "fewest_entities": "drop pairs whose texts name fewer things; 0: none",
            "seed": "of what re-balancing drops",
        },
    )
    return parser


def _about(
    options: Any, config: CurationConfig, curated: Curated, seconds: float
) -> dict[str, Any]:
    """What `curation.json` says beside the shop and the tables."""
    return {
        "engagement": options.engagement,
        "query_engagement": options.query_engagement,
        "split_mixed": not options.whole,
        "config": config.model_dump(mode="json"),
        "pairs": {kind: frame.height for kind, frame in curated.pairs.items()},
        **curated.as_dict(),
        "seconds": round(seconds, 3),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _track(
    tracker: Tracker, options: Any, config: CurationConfig, curated: Curated, about: dict[str, Any]
) -> None:
    names = ("engagement", "query_engagement", "split_mixed")
    params = config.model_dump(mode="json") | {name: about[name] for name in names}
    reads = {"shop": about["shop"]["digest"], "items": about["items"], "queries": about["queries"]}
    key = digest_of({"kind": "curation", "params": params, "reads": reads})
    with tracker.run("curation", "curation", params, reads, key) as tracked:
        tracked.log(curated.metrics())
        tracked.json(about, "curation.json")
        if options.picture:
            tracked.artifact(options.picture)


def _print(shop: Shop, options: Any, curated: Curated, about: dict[str, Any]) -> None:
    console = table_console()
    title = f"pairs of {shop.title} before its cut, {options.engagement}"
    console.print(curated.table(title))
    distance = "distance: total variation between the pairs' mix of categories and that of impressions before the cut"
    print_lines(console, [*curated.reasons(), distance, *about_simulation(shop)])
    print(f"{about['seconds']:.1f} s, {about['peak_memory_mib']:,} MiB at most")
    for path in filter(None, (options.out, options.picture)):
        print(f"written to {path}")


if __name__ == "__main__":
    sys.exit(run(main))
