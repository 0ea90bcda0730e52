"""Train a ranker: `python -m ranking.train SHOP --out DIR --content cube --items DIR --queries DIR`.

With several processes: `torchrun --nproc-per-node 2 -m ranking.train SHOP --out DIR`. The training itself is
in `training/`, and is loaded with torch and TorchRec when there is something to train: `--help` and most refusals come without (1 second of 5).
"""

import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_rec.allocator import keep_freed_memory
from moon_rec.command import Parser, add_config_options, count, run
from moon_rec.config import load_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import MoonRecError, RankingError
from moon_rec.kept import note_done, note_kept, note_to_go_on
from moon_rec.outputs import add_overwrite_option, check_output, check_room, remove_folder
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.non_click_recipe import non_clicks_said
from moon_rec.tracking import Tracker
from moon_rec.vector_pairs import add_accept_option, open_pair
from ranking.chosen_settings import add_choice_option, choose_settings, refuse_chosen_twice
from ranking.config import FIRST_SETTINGS, SETTINGS, WAYS, RankerConfig, refuse_whole_history
from ranking.features import FeatureConfig, RankingTables, add_feature_options, counters_said
from ranking.seed_folders import RANKER, RANKER_FILE, SEEDS, seed_name

if TYPE_CHECKING:
    from ranking.trained import TrainedRanker
    from ranking.training.course import train_ranker
    from ranking.training.following import Log

__all__ = ["RankerConfig", "TrainedRanker", "train_ranker"]


def __getattr__(name: str) -> Any:
    if name == "TrainedRanker":
        from ranking.trained import TrainedRanker

        return TrainedRanker
    if name == "train_ranker":
        from ranking.training.course import train_ranker

        return train_ranker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = _parser().parse_args(argv)
    keep_freed_memory()
    content = given.content or ("cube" if given.items else "none")
    config = load_config(RankerConfig, given.config, [f"content={content!r}", *given.settings])
    features = load_config(FeatureConfig, None, given.features)
    refuse_whole_history(config, features.history_length)
    if given.resume and given.checkpoint_every is None and given.seeds == 1:
        raise RankingError("--resume needs --checkpoint-every N, as the training to go on from had")
    refuse_chosen_twice(given)
    runs = _runs(given, config)
    # an address that can never work is refused before anything is read
    is_first = os.environ.get("RANK", "0") == "0"
    tracker = Tracker(given.track) if given.track and is_first else None
    shop = Shop.open(given.shop)
    items, queries, coverage = open_pair(shop, given.items, given.queries, given.accept)
    tables = RankingTables.build(shop, features)
    if given.choose_unknown_rate:
        chosen = choose_settings(tables, config)
        say(str(chosen))
        of_all = {"unknown_rate": chosen.unknown_rate}
        runs = [replace(one, config=one.config.model_copy(update=of_all)) for one in runs]
    vectors = {"items": items, "queries": queries}
    size = 4 * config.embedding_dim * sum(tables.num_embeddings.values())  # nearly all of a ranker
    check_room(given.out, size * (len(runs) + 2 * (given.checkpoint_every is not None)))
    # all are looked at before any is trained: several processes then agree on what is left
    left = [one for one in runs if given.overwrite or not _is_finished(one, tables, vectors)]
    counted = [] if given.overwrite else list(runs)  # what is yet to be replaced is none of ours
    if given.seeds > 1:
        finished = partial(_finished_seeds, runs, counted)
        can_go_on = (lambda: bool(finished())) if given.overwrite else (lambda: True)
        note_to_go_on("--resume", without="--overwrite", when=can_go_on)
        note_kept(given.out, finished)
    elif given.checkpoint_every is not None:
        note_to_go_on("--resume")
    with tracker or nullcontext():
        for one in left:
            _train_one_of(runs, one, given, tables, vectors, tracker)
            counted[:] = runs
    if items is not None and os.environ.get("RANK", "0") == "0":
        say(str(coverage))


@dataclass(frozen=True)
class _Run:
    """One training: where it goes, where it is written down on the way, and its settings."""

    out: Path
    checkpoints: Path
    config: RankerConfig
    is_first: bool = False
    """Of several seeds."""


def _runs(given: Namespace, config: RankerConfig) -> list[_Run]:
    """The trainings of the command, one a seed.

    Raises:
        RankingError: the folder is there already and is not to be gone on with.
    """
    folder = Path(f"{given.out}.checkpoints")
    is_ranker = (given.out / RANKER_FILE).exists()
    goes_on = given.resume and not given.overwrite
    # of one seed: its process was ended between the ranker and the removal of its checkpoints
    goes_on &= not is_ranker if given.seeds > 1 else is_ranker and folder.is_dir()
    if given.seeds > 1 and given.resume and given.overwrite:
        raise RankingError("--resume keeps finished seeds, --overwrite replaces them: give one")
    if not (given.out.is_dir() and goes_on):
        reads = (given.shop, given.items, given.queries, given.config)
        kind = RANKER if given.seeds == 1 else SEEDS
        try:
            check_output(given.out, kind, given.overwrite, inputs=reads)
        except MoonRecError as error:
            hint = "; or go on with --resume" * (given.seeds > 1 and given.out.is_dir())
            raise RankingError(f"{error}{hint}") from None
    if folder.is_dir() and not (given.resume or given.overwrite) and _keeps_training(folder):
        raise RankingError(
            f"{folder} keeps a training that was stopped: go on with --checkpoint-every N and --resume, begin anew "
            "with --overwrite, or name another folder"
        )
    if given.seeds == 1:
        return [_Run(given.out, folder, config)]
    seeds = range(config.seed, config.seed + given.seeds)
    return [
        _Run(
            given.out / seed_name(seed),
            folder / seed_name(seed),
            config.model_copy(update={"seed": seed}),
            is_first=seed == config.seed,
        )
        for seed in seeds
    ]


def _keeps_training(folder: Path) -> bool:
    """Whether there is a checkpoint somewhere in it."""
    from ranking.training.checkpoint import POSITION

    return any(folder.glob(f"**/{POSITION}"))


def _finished_seeds(runs: Sequence[_Run], counted: Sequence[_Run]) -> str:
    """How many of `counted` are trained, in words; "" for none."""
    done = sum((run.out / RANKER_FILE).exists() for run in counted)
    return f"{done:,} of {len(runs):,} seeds" if done else ""


def _train_one_of(
    runs: Sequence[_Run],
    one: _Run,
    given: Namespace,
    tables: RankingTables,
    vectors: Mapping[str, EmbeddingTable | None],
    tracker: Tracker | None,
) -> None:
    """Train one of the runs; an error of one among several seeds says which, and how to go on."""
    from ranking.training.trainer import DivergedError

    try:
        _train(given, one, tables, vectors, tracker)
    except DivergedError as error:
        if len(runs) == 1:
            raise
        raise RankingError(
            f"{one.out}: {error}; seeds are compared with one another, so train all of them with those rates, "
            "in another folder"
        ) from None
    except MoonRecError as error:
        if len(runs) == 1 or not given.out.exists():
            raise
        raise RankingError(
            f"{one.out}: {error}; finished seeds are kept, go on with the same command and --resume"
        ) from None


def _is_finished(
    run: _Run, tables: RankingTables, vectors: Mapping[str, EmbeddingTable | None]
) -> bool:
    """Whether the run's ranker is there already.

    Raises:
        RankingError: one of other settings, tables or vectors is.
    """
    if not run.out.exists():
        return False
    from ranking.trained import refuse_other_training
    from ranking.training.checkpoint import Checkpoints

    refuse_other_training(run.out, run.config, tables, vectors)
    if os.environ.get("RANK", "0") == "0":
        # of a process that was ended between the ranker and their removal
        left = Checkpoints(run.checkpoints)
        told = f"; what it went on from is removed: {left.folder}" * left.folder.is_dir()
        say(f"{run.out}: trained already{told}")
        left.remove()
        with suppress(OSError):  # those of other seeds are in it
            run.checkpoints.parent.rmdir()
    return True


def _train(
    given: Namespace,
    run: _Run,
    tables: RankingTables,
    vectors: Mapping[str, EmbeddingTable | None],
    tracker: Tracker | None,
) -> None:
    """Train one ranker and save it."""
    from ranking.training.checkpoint import Checkpoints
    from ranking.training.course import train_on_rank

    checkpoints = None
    if given.checkpoint_every is not None:
        checkpoints = Checkpoints(
            run.checkpoints, given.checkpoint_every, given.resume, given.overwrite
        )
    with ExitStack() as stack:
        log = None
        if tracker is not None:
            log = stack.enter_context(_tracked(tracker, given, run, tables, vectors))
        ranker = train_on_rank(
            tables,
            run.config,
            **vectors,
            checkpoints=checkpoints,
            log=log,
            description="train" if given.seeds == 1 else f"train {run.out.name}",
        )
        if ranker is not None:  # kept before a store is waited for
            if run.is_first and given.overwrite:
                remove_folder(given.out, SEEDS)  # of an earlier run: they may be more than now
            ranker.save(run.out, given.overwrite)
            if given.seeds == 1:
                note_done()
    if ranker is None:
        return
    if checkpoints is not None:
        checkpoints.remove()
        if given.seeds > 1 and not any(run.checkpoints.parent.iterdir()):
            run.checkpoints.parent.rmdir()
    beside = counters_said(tables.counters, "; ") + non_clicks_said(tables.non_clicks, "; ")
    say(f"{run.out}: {ranker.epochs_said}{beside}")
    say(
        f"{run.out}: {ranker.rows_per_second:,.0f} rows/s; score it with python -m ranking.evaluate"
    )


@contextmanager
def _tracked(
    tracker: Tracker,
    given: Namespace,
    run: _Run,
    tables: RankingTables,
    vectors: Mapping[str, EmbeddingTable | None],
) -> Iterator["Log"]:
    """A run of the tracking store for the block."""
    found = {name: table.digest for name, table in vectors.items() if table is not None}
    params = run.config.model_dump(mode="json")
    name = given.out.name if given.seeds == 1 else f"{given.out.name}, {run.out.name}"
    tags = {
        "counters": counters_said(tables.counters),
        "non_clicks": non_clicks_said(tables.non_clicks),
    }
    run_of = tracker.run(name, "training", params, {"tables": tables.digest} | found, tags=tags)
    with run_of as tracked:
        yield tracked.log


def _parser() -> Parser:
    parser = Parser(
        prog="python -m ranking.train",
        description="Train a CTR ranker on a shop's train period: on ids alone, or on ids and vectors. For "
        "several processes put torchrun --nproc-per-node N -m in place of python -m.",
        example="python -m ranking.train demo/shop --content cube --items demo/encoder/items "
        "--queries demo/encoder/queries --out demo/cube --seeds 3",
    )
    parser.add_argument("shop", type=Path, help="folder of the shop")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the ranker to")
    add_overwrite_option(parser, "the ranker")
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
        help="write a checkpoint to OUT.checkpoints every so many steps",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from the last checkpoint, on any number of processes; start if there is none; with --seeds, keep finished seeds",
    )
    parser.add_argument(
        "--seeds",
        type=count,
        default=1,
        help="number of seeds: one training each, in folders OUT/seed-N; evaluate and compare take OUT as one ranker. Comparing rankers requires several seeds",
    )
    add_choice_option(parser)
    parser.add_argument("--track", metavar="URI", help="follow the training in this MLflow store")
    add_config_options(parser, kind=SETTINGS, first=FIRST_SETTINGS)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
