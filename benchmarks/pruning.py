"""Recall against speed where only a share of each picture's tokens goes on: `python -m benchmarks.pruning SHOP --encoder ENCODER --out FILE`.

One encoder, once with all of a picture's tokens and once for each share (`ProductEncoder.with_pruned_pictures`), products and searches alike; recall@10 of the test searches by picture of what was
purchased, with intervals over searches, and the difference to all tokens on the same searches; processor seconds of embedding everything, reading and decoding pictures included. Ways are
measured in one run, one after another; the share that comes first is preceded by a few rows that warm up and do not count.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.chain import describe_machine
from benchmarks.figures_file import FIGURES
from benchmarks.over_seeds import estimate_over_seeds
from moon_rec.command import Parser, count, positive, run
from moon_rec.console import table_console
from moon_rec.errors import EncoderError
from moon_rec.estimate import Estimate
from moon_rec.files import write_json
from moon_rec.outputs import add_overwrite_option, check_output
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.engagement import Engagement

K = 10


def measured(
    shop: Shop, encoder: Any, engagement: Engagement
) -> tuple[np.ndarray, np.ndarray, float]:
    """Ids of test searches by picture, their hits, and processor seconds of embedding."""
    from representation.embed import embed_shop
    from representation.metrics.recall import search_recall
    from representation.sets.search_cases import gallery_of, search_cases

    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        items, queries = embed_shop(encoder, shop, folder)
        seconds = time.process_time() - started
        gallery = gallery_of(shop, items, "test")
        cases = search_cases(shop, gallery, queries, "test", engagement)["image"]
        found = search_recall(**cases.over(gallery), ks=(K,))
        return cases.search_ids[found.searches], found.hits[:, 0].astype(float), seconds


def rows_of(shop: Shop, encoder: Any, options: Any) -> list[dict[str, Any]]:
    """A row a share, the first with all tokens."""
    encoder.encode_items(shop.items.head(64).collect(), progress=False)
    whole_hits, whole_seconds, rows = None, 0.0, []
    for keep in (1.0, *options.keep):
        say(f"{keep:g} of a picture's {encoder.layout.num_tokens} tokens")
        pruned = encoder.with_pruned_pictures(keep, options.layers)
        ids, hits, seconds = measured(shop, pruned, options.engagement)
        about = f"share of {len(ids):,} test searches by picture that find what was {options.engagement} among the first {K}"
        row = {"keep": keep, "recall": estimate_over_seeds(hits[None], about).as_dict(), "seconds": seconds}  # fmt: skip
        if whole_hits is None:
            whole_hits, whole_seconds = hits, seconds
        else:
            about = f"recall@{K} with {keep:g} of the tokens minus that with all, same searches"
            gap = estimate_over_seeds((hits - whole_hits)[None], about, (-1.0, 1.0))
            row["minus all"] = gap.as_dict()
        row["times as fast"] = whole_seconds / seconds
        rows.append(row)
    return rows


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.pruning",
        description="Recall of image searches and seconds of embedding with a share of each picture's tokens.",
        example="python -m benchmarks.pruning runs/demo/shop --encoder runs/posttrained --out runs/pruning.json",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--encoder", type=Path, required=True, help="a Qwen-VL or a composed one")
    parser.add_argument("--out", type=Path, required=True, help="file of the figures")
    add_overwrite_option(parser, "the file")
    parser.add_argument("--keep", type=positive, nargs="+", default=[0.5, 0.25, 0.1], help="shares")
    parser.add_argument("--layers", type=count, default=1, help="first layers that say which")
    parser.add_argument("--engagement", choices=("clicked", "carted", "purchased"), default="purchased")  # fmt: skip
    options = parser.parse_args(argv)
    check_output(options.out, FIGURES, options.overwrite, inputs=(options.shop, options.encoder))
    from representation.encoder import ProductEncoder

    shop = Shop.open(options.shop)
    encoder = ProductEncoder.from_pretrained(options.encoder)
    if encoder.config.reasoning_tokens:
        raise EncoderError(f"{options.encoder} writes before it embeds; name one that does not reason")  # fmt: skip
    rows = rows_of(shop, encoder, options)
    table = Table(title=f"{'SIMULATED shop' if shop.is_simulated else 'shop'} {shop.name}")
    for name in ("kept", f"recall@{K} [95 %]", "minus all", "seconds", "times as fast"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        gap = str(Estimate(**row["minus all"])) if "minus all" in row else ""
        table.add_row(f"{row['keep']:g}", str(Estimate(**row["recall"])), gap, f"{row['seconds']:.1f}", f"{row['times as fast']:.2f}")  # fmt: skip
    table_console().print(table)
    about = {"shop": {"name": shop.name, "digest": shop.digest, "source": shop.source}}
    about["encoder"] = {"digest": encoder.digest, "tokens_a_picture": str(encoder.layout.num_tokens)}  # fmt: skip
    write_json(options.out, {**describe_machine(), **about, "rows": rows})
    print(f"written to {options.out}")


if __name__ == "__main__":
    sys.exit(run(main))
