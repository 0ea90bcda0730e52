"""Score a period and judge the scores: `python -m ranking.evaluate RANKER SHOP --out DIR`, or judge those of any other model: `--scores FILE`.

Notable choices
- Scores are a table of rows, so that whatever is asked later (other segments, paired comparison with
  another ranker) needs no model.
- Validation chooses, test is scored once; equal validation and test rows are refused.
- Every number comes with its interval over users and its definition.
- The table has the user's own ids where the shop keeps them.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.command import Parser, count, run
from moon_rec.errors import RankingError
from moon_rec.estimate import Estimate
from moon_rec.files import atomic_file, digest_file, write_json
from moon_rec.outputs import (
    PICTURE,
    OutputKind,
    add_overwrite_option,
    check_output,
    json_with,
)
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.non_click_recipe import NonClickRecipe, non_clicks_said, other_recipes
from moon_rec.shop.own_ids import with_own_ids
from moon_rec.tracking import Tracker
from moon_rec.vector_pairs import Coverage, add_accept_option, open_pair
from ranking.features import CounterKind, Period, RankingTables, counters_said
from ranking.judging.figures import draw_evaluation
from ranking.judging.judgement import (
    NUM_RESAMPLES,
    are_probabilities,
    evaluate,
    share_of_the_way,
)
from ranking.judging.own_scores import read_own_scores
from ranking.judging.reliability import curve_of
from ranking.judging.scored_period import (
    COLUMNS,
    Scorer,
    impressions_of,
    refuse_equal_periods,
    score,
)
from ranking.judging.segments import MIN_USERS, Segments, segments_of
from ranking.seed_folders import SCORES, SCORES_FILE, files_by_seed, ranker_folders

__all__ = ["COLUMNS", "Scorer", "evaluate", "refuse_equal_periods", "score", "share_of_the_way"]


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("ranking.evaluate")
    given = _given(argv)
    tracker = Tracker(given.track) if given.track else None
    with tracker or nullcontext():
        if given.scores:
            _evaluate_own(given, tracker)
        else:
            _evaluate_rankers(given, tracker)


def _given(argv: list[str] | None) -> Namespace:
    """What is asked, checked as far as that goes without reading."""
    parser = _parser()
    given = parser.parse_args(argv)
    if given.scores and given.shop is None:  # the one folder that is named is the shop
        given.ranker, given.shop = None, given.ranker
    if given.scores and given.ranker is not None:
        parser.error(f"--scores are those of another model: leave out the ranker {given.ranker}")
    if given.scores and (given.items or given.queries):
        parser.error("--scores are made already: leave out --items and --queries")
    if not given.scores and (given.ranker is None or given.shop is None):
        parser.error("wanted a ranker and a shop, or --scores FILE")
    for column in given.by:
        if column not in COLUMNS and not given.scores:
            parser.error(f"--by {column}: wanted one of {', '.join(COLUMNS)}")
    if given.min_users < 1 or given.resamples < 1:
        parser.error(
            f"--min-users {given.min_users}, --resamples {given.resamples}: wanted at least 1"
        )
    return given


def _parser() -> Parser:
    parser = Parser(
        prog="python -m ranking.evaluate",
        description="Score a shop's period with a trained ranker, write the scores and print the metrics. With --scores: evaluate the scores of any other model, with their shop (named before --scores) or without it.",
        example="python -m ranking.evaluate demo/cube demo/shop --items demo/encoder/items "
        "--queries demo/encoder/queries --out demo/cube_scores",
    )
    parser.add_argument(
        "ranker",
        type=Path,
        nargs="?",
        help="folder of the ranker, or of one ranker a seed (ranking.train --seeds)",
    )
    parser.add_argument("shop", type=Path, nargs="?", help="folder of the shop")
    parser.add_argument(
        "--scores",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="scores of another model: item_id, score, and request_id, user_id, label, in your own ids; CSV, TSV, JSON lines or Parquet. "
        "Repeated, or with a column seed: one training seed each",
    )
    parser.add_argument("--items", type=Path, help="embedding table of the items")
    parser.add_argument("--queries", type=Path, help="embedding table of the searches")
    add_accept_option(parser)
    parser.add_argument("--period", choices=("validation", "test"), default="test")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for scores and metrics; with several seeds, one folder per seed inside",
    )
    add_overwrite_option(parser, "scores, metrics and picture")
    parser.add_argument(
        "--resamples", type=count, default=NUM_RESAMPLES, help="bootstrap resamples of users"
    )
    parser.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column whose values are segments; may be repeated",
    )
    parser.add_argument(
        "--min-users", type=count, default=MIN_USERS, help="fewest users of a segment"
    )
    parser.add_argument("--track", metavar="URI", help="log the metrics in this MLflow store")
    return parser


def _evaluate_rankers(given: Namespace, tracker: Tracker | None) -> None:
    folders = ranker_folders(given.ranker)
    for name in folders:
        check_scores_folder(given.out / name, given.overwrite)
    _refuse_other_layout(given.out, list(folders))
    shop = Shop.open(given.shop)
    items, queries, coverage = open_pair(shop, given.items, given.queries, given.accept)
    from ranking.trained import (
        TrainedRanker,
    )  # torch and TorchRec, after what can be refused without

    rankers = {name: TrainedRanker.load(folder, items, queries) for name, folder in folders.items()}
    found = []
    tables: dict[str, RankingTables] = {}
    for name, ranker in rankers.items():
        digest = ranker.preparation.digest
        if digest not in tables:
            tables = {digest: RankingTables.build(shop, preparation=ranker.preparation)}
        scores = with_own_ids(score(ranker, tables[digest], given.period), shop.path)
        truth = shop.truth if ranker.features.label == "clicked" else None
        reads = {"shop": shop.digest, "tables": tables[digest].digest}
        judged = _Judged(
            name,
            scores,
            given.ranker.name,
            reads,
            shop,
            truth,
            coverage,
            True,
            ranker.non_clicks,
            ranker.preparation.counters,
        )
        found.append(_judge(given, judged, tracker))
    if len(found) > 1:
        print(over_seeds_text(found))
    if items is not None:
        print(coverage)


def _evaluate_own(given: Namespace, tracker: Tracker | None) -> None:
    """Judge the scores of another model."""
    shop = Shop.open(given.shop) if given.shop else None
    rows = None
    if shop is not None:
        rows = with_own_ids(impressions_of(RankingTables.build(shop), given.period), shop.path)
    tables = read_own_scores(given.scores, rows, shop, given.period)
    for name in tables:
        check_scores_folder(given.out / name, given.overwrite)
    _refuse_other_layout(given.out, list(tables))
    reads = {f"scores {number}": digest_file(file) for number, file in enumerate(given.scores)}
    if shop is not None:
        reads["shop"] = shop.digest
    found = []
    for name, scores in tables.items():
        truth = shop.truth if shop is not None else None
        judged = _Judged(name, scores, given.scores[0].stem, reads, shop, truth, None, False)
        found.append(_judge(given, judged, tracker))
    if len(found) > 1:
        print(over_seeds_text(found))


@dataclass(frozen=True, repr=False)
class _Judged:
    """A table of scores, and where it comes from.

    Attributes:
        seed: name of its folder below the output, "" for none. model: for people. reads: digests of what it was made of.
        is_ours: of a ranker of this library, which says how the non-clicks were sampled that it learnt from (`trained_on`); of another model that is not known.
    """

    seed: str
    scores: pl.DataFrame
    model: str
    reads: dict[str, str]
    shop: Shop | None
    truth: pl.LazyFrame | None
    coverage: Coverage | None
    is_ours: bool
    trained_on: NonClickRecipe | None = None
    counters: CounterKind | None = None
    """That a ranker of ours reads; of another model that is not known."""


def _refuse_other_layout(out: Path, seeds: list[str]) -> None:
    """Raise RankingError where `out` holds scores that would stand beside the new ones as another ranker's."""
    known = files_by_seed(out, SCORES_FILE)
    if known and ("" in known) != (seeds == [""]):
        raise RankingError(
            f"{out} holds the scores of {'one ranker' if '' in known else 'several seeds'} already; "
            "remove them or name another folder"
        )


def _judge(given: Namespace, judged: _Judged, tracker: Tracker | None) -> dict[str, Estimate]:
    """Judge one table of scores, write, print and track it."""
    scores, shop, out = judged.scores, judged.shop, given.out / judged.seed
    segments = segments_of(scores, given.by, given.min_users)
    metrics = evaluate(scores, judged.truth, given.resamples, segments=segments)
    trained_on, sampled = judged.trained_on, shop.non_clicks if shop is not None else None
    save_scores(
        scores,
        out,
        metrics,
        shop,
        given.period,
        segments,
        judged.coverage,
        trained_on,
        judged.counters,
    )
    counted = counters_said(judged.counters, "; ") if judged.counters else ""
    about = f"scores of {', '.join(file.name for file in given.scores)}, no shop"
    if shop is not None:
        about = f"{shop.name}{' (simulated)' if shop.is_simulated else ''}, {given.period} period"
    curve = curve_of(scores, given.resamples) if are_probabilities(scores) else None
    picture = out / "evaluation.png"
    name = f"{judged.model}, {judged.seed}" if judged.seed else judged.model
    titled = about + non_clicks_said(sampled, "; ", is_brief=True)
    draw_evaluation(curve, metrics, segments, name, titled, picture)
    if judged.seed:
        print(f"{judged.seed}:")
    print(f"{about}: {scores.height:,} impressions{counted}{non_clicks_said(sampled, '; ')}")
    if judged.is_ours and (told := other_recipes(trained_on, sampled)):
        say(f"warning: trained (A) and evaluated (B) on {told}")
    print(metrics_text(metrics, segments))
    print(f"picture: {picture}")
    if tracker is not None:
        params = {"period": given.period, "by": list(given.by), "resamples": given.resamples}
        title = f"{given.out.name}, {judged.seed}" if judged.seed else given.out.name
        tags = {"non_clicks": non_clicks_said(sampled), "counters": counted.removeprefix("; ")}
        with tracker.run(
            title, "evaluation", {"model": judged.model, **params}, judged.reads, tags=tags
        ) as run:
            run.log({name: metric.value for name, metric in metrics.items()})
            run.artifact(out / "metrics.json")
            run.artifact(picture)
    return metrics


def over_seeds_text(found: Sequence[dict[str, Estimate]]) -> str:
    """A line a metric over all rows: its mean over the seeds, least and most."""
    lines = [f"over {len(found)} seeds of this ranker: mean, least to most"]
    for name in found[0]:
        if name.endswith(("_cold", "_warm", "]")) or not all(name in one for one in found):
            continue
        values = [one[name].value for one in found]
        lines.append(f"{name:24} {np.mean(values):.4f}, {min(values):.4f} to {max(values):.4f}")
    return "\n".join(lines)


def metrics_text(metrics: dict[str, Estimate], segments: Segments) -> str:
    """A line a metric overall and on cold and warm items, a line a group of a column, and what was left out."""
    groups = [one for one in segments.judged if one.is_group]
    keys = tuple(one.key for one in groups)
    lines = [
        f"{name:24} {metric}  {metric.definition}"
        for name, metric in metrics.items()
        if not name.endswith(keys or ("]",))
    ]
    if groups:
        width = max(len(one.name) for one in groups)
        lines.append(
            f"{'':{width}} {'rows':>9} {'users':>8} {'clicks':>7}  AUC, GAUC by impressions, normalised entropy"
        )
    for one in groups:
        found = [metrics.get(name + one.key) for name in ("auc", "gauc", "normalised_entropy")]
        numbers = "  ".join(
            f"{'no value' if metric is None else str(metric):24}" for metric in found
        )
        clicks = one.num_clicks / one.num_rows
        lines.append(
            f"{one.name:{width}} {one.num_rows:>9,} {one.num_users:>8,} {clicks:>7.2%}  {numbers}".rstrip()
        )
    lines += [f"left out: {one}" for one in segments.left_out]
    if groups:
        lines.append(
            f"{len(segments.judged)} segments were looked at: the best and the worst of so many differ by chance too"
        )
    return "\n".join(lines)


WRITTEN = {
    SCORES_FILE: SCORES,
    "metrics.json": OutputKind(
        "a ranker's metrics", "", json_with("shop_digest", "period", "metrics")
    ),
    "evaluation.png": PICTURE,
}


def check_scores_folder(folder: Path, overwrite: bool) -> None:
    """Raise MoonRecError where what the command writes into `folder` has no place there."""
    for name, kind in WRITTEN.items():
        check_output(folder / name, kind, overwrite)


def save_scores(
    scores: pl.DataFrame,
    folder: Path,
    metrics: dict[str, Estimate],
    shop: Shop | None,
    period: Period,
    segments: Segments,
    coverage: Coverage | None,
    trained_on: NonClickRecipe | None = None,
    counters: CounterKind | None = None,
) -> None:
    """Write `scores.parquet` and `metrics.json` into `folder`; of scores without a shop nothing of one is known.

    Args:
        trained_on: how the non-clicks were sampled that the ranker learnt from.
        counters: that the ranker reads; None where that is not known.
    """
    with atomic_file(folder / "scores.parquet") as temporary:
        scores.write_parquet(temporary)
    about = {
        "shop": shop.name if shop else "",
        "shop_digest": shop.digest if shop else "",
        "source": shop.source if shop else "",
        "is_simulated": shop.is_simulated if shop else None,
        "period": period if shop else "",
        "non_clicks": _plain(shop.non_clicks) if shop else None,
        "trained_on_non_clicks": _plain(trained_on),
        "counters": counters,
        "metrics": {name: metric.as_dict() for name, metric in metrics.items()},
        "segments": segments.as_dict(),
        "coverage": coverage.as_dict() if coverage else None,
    }
    write_json(folder / "metrics.json", about)


def _plain(recipe: NonClickRecipe | None) -> dict[str, object] | None:
    return None if recipe is None else recipe.as_dict()


if __name__ == "__main__":
    sys.exit(run(main))
