"""Train a ranker: `python -m ranking.train SHOP --out DIR --content cube --items DIR --queries DIR`.

With several processes: `torchrun --nproc-per-node 2 -m ranking.train SHOP --out DIR`. The training itself is
in `training.py`.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import rmtree

from moon_rec.allocator import keep_freed_memory
from moon_rec.command import Parser, add_config_options, count, run
from moon_rec.config import load_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.tracking import Tracker
from moon_rec.vector_pairs import add_accept_option, open_pair
from ranking.config import WAYS, RankerConfig, refuse_whole_history
from ranking.features import FeatureConfig, RankingTables, add_feature_options
from ranking.trained import TrainedRanker
from ranking.training.checkpoint import Checkpoints
from ranking.training.course import Log, train_on_rank, train_ranker

__all__ = ["RankerConfig", "TrainedRanker", "train_ranker"]


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = _parser().parse_args(argv)
    keep_freed_memory()
    content = given.content or ("cube" if given.items else "none")
    config = load_config(RankerConfig, given.config, [f"content={content!r}", *given.settings])
    features = load_config(FeatureConfig, None, given.features)
    refuse_whole_history(config, features.history_length)
    if given.out.exists():
        raise RankingError(f"{given.out} exists already; remove it or name another folder")
    folder = given.out.with_name(f"{given.out.name}.checkpoints")
    checkpoints = None
    if given.checkpoint_every is not None:
        checkpoints = Checkpoints(folder, given.checkpoint_every, given.resume)
    elif given.resume:
        raise RankingError("--resume needs --checkpoint-every N, as the training to go on from had")
    shop = Shop.open(given.shop)
    items, queries, coverage = open_pair(shop, given.items, given.queries, given.accept)
    tables = RankingTables.build(shop, features)
    with ExitStack() as stack:
        log = None
        if given.track:
            vectors = {"items": items, "queries": queries}
            log = stack.enter_context(_tracked(given, config, tables, vectors))
        ranker = train_on_rank(tables, config, items, queries, checkpoints=checkpoints, log=log)
    if ranker is None:
        return
    ranker.save(given.out)
    if items is not None:
        say(str(coverage))
    if checkpoints is not None:
        rmtree(folder, ignore_errors=True)
    say(
        f"{given.out}: {ranker.rows_per_second:,.0f} rows/s; score it with python -m ranking.evaluate"
    )


@contextmanager
def _tracked(
    given: Namespace,
    config: RankerConfig,
    tables: RankingTables,
    vectors: Mapping[str, EmbeddingTable | None],
) -> Iterator[Log | None]:
    """A run of the tracking store for the block; the first rank's alone."""
    if os.environ.get("RANK", "0") != "0":
        yield None
        return
    found = {name: table.digest for name, table in vectors.items() if table is not None}
    params = config.model_dump(mode="json")
    run_of = Tracker(given.track).run(
        given.out.name, "training", params, {"tables": tables.digest} | found
    )
    with run_of as tracked:
        yield tracked.log


def _parser() -> Parser:
    parser = Parser(
        prog="python -m ranking.train",
        description="Train a CTR ranker on a shop's train period: on ids alone, or on ids and vectors. For "
        "several processes put torchrun --nproc-per-node N -m in place of python -m.",
        example="python -m ranking.train demo/shop --content cube --items demo/encoder/items "
        "--queries demo/encoder/queries --out demo/cube --set epochs=1",
    )
    parser.add_argument("shop", type=Path, help="folder of the shop")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the ranker to")
    parser.add_argument(
        "--content",
        metavar="WAYS",
        help=f"none, or ways joined by +, of {', '.join(WAYS)}; default: cube with --items",
    )
    parser.add_argument("--items", type=Path, help="embedding table of the items")
    parser.add_argument("--queries", type=Path, help="embedding table of the searches")
    add_accept_option(parser)
    add_feature_options(parser)
    parser.add_argument(
        "--checkpoint-every",
        type=count,
        metavar="STEPS",
        help="write the training down in OUT.checkpoints that often",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint, on any number of processes; without one, begin",
    )
    parser.add_argument("--track", metavar="URI", help="follow the training in this MLflow store")
    add_config_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
