"""Bad inputs of metrics and comparisons, from Python and by command: labels, scores, users, tables of scores, seeds."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import ranking
from ranking.judging.judgement import evaluate
from ranking.judging.segments import segments_of
from tests.bad_inputs.harness import Case, check

ROWS, USERS = 480, 40


def table(seed: int = 0, num_users: int = USERS) -> pl.DataFrame:
    """A good table of scores."""
    random = np.random.default_rng(seed)
    labels = np.random.default_rng(1).integers(0, 2, ROWS)
    return pl.DataFrame(
        {
            "request_id": np.arange(ROWS) // 6,
            "item_id": np.arange(ROWS) % 6,
            "user_id": np.arange(ROWS) * num_users // ROWS,
            "label": labels.astype(np.int8),
            "score": (0.2 * labels + 0.7 * random.random(ROWS)).clip(0.01, 0.99),
            "is_cold": np.arange(ROWS) % 3 == 0,
            "kind": ["one", "other"] * (ROWS // 2),
        }
    )


def seeds(**changed: pl.DataFrame | None) -> Callable[[Path], None]:
    """Writes two rankers of two seeds; `a_1=frame` puts another table there, None leaves it out."""

    def write(folder: Path) -> None:
        for number, side in enumerate("ab"):
            for seed in (0, 1):
                frame = changed.get(f"{side}_{seed}", table(10 * number + seed))
                if frame is not None:
                    save(folder / side / f"seed-{seed}", frame)

    return write


def save(folder: Path, frame: pl.DataFrame) -> None:
    folder.mkdir(parents=True)
    frame.write_parquet(folder / "scores.parquet")


def with_row(name: str, value: object, row: int = 7) -> pl.DataFrame:
    """The good table with one value changed."""
    frame = table(1)
    column = frame[name].to_list()
    column[row] = value
    return frame.with_columns(pl.Series(name, column, strict=False))


def and_then(first: Callable[[Path], None], then: Callable[[Path], object]):
    def both(folder: Path) -> None:
        first(folder)
        then(folder)

    return both


LABELS, SCORES, OTHERS = [1, 0, 1, 0], [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]


def grouped(groups: object):
    return lambda _: ranking.gauc(LABELS, SCORES, groups)  # type: ignore[arg-type]


def compared(**changed: object):
    given = {"labels": LABELS, "scores_a": SCORES, "scores_b": OTHERS, "users": [1, 1, 2, 2]}
    return lambda _: ranking.compare(**(given | {"num_resamples": 5} | changed))  # type: ignore[arg-type]


COMPARE = "ranking.compare a b --out new --resamples 20"
TWICE = pl.concat([table(1).head(ROWS - 1), table(1).head(1)])

CASES = [
    # users, from Python
    Case("metrics: a user id is None", grouped([7, None, 8, 8]),
         ("group None in row 1", "1 of 4 rows", "is missing", "drop such rows")),
    Case("metrics: two user ids are NaN", grouped([7.0, np.nan, np.nan, 8.0]),
         ("group nan in row 1", "2 of 4 rows", "is missing")),
    Case("metrics: user ids of polars with a null", grouped(pl.Series([7, 7, None, 8])),
         ("group nan in row 2", "1 of 4 rows")),
    Case("metrics: user names of polars with a null", grouped(pl.Series(["a", "a", "b", None])),
         ("group None in row 3", "is missing")),
    Case("metrics: user ids of two kinds", grouped([7, "7", 8, 8]),
         ("group '7' in row 1", "another kind than 7 in row 0 (number)")),
    Case("metrics: a user without a name", grouped(["a", "a", " ", ""]),
         ("group ' ' in row 2", "2 of 4 rows", "is empty")),
    Case("metrics: fractions as user ids", grouped([7.5, 7.5, 8.0, 8.0]),
         ("group 7.5 in row 0", "no whole number", "integers")),
    Case("metrics: user ids beyond 2^53 in floats", grouped([2.0**60, 2.0**60, 8.0, 8.0]),
         ("row 0", "2 of 4 rows", "2^53")),
    Case("metrics: truth values as user ids", grouped(np.array([True, True, False, False])),
         ("groups of type bool", "wanted whole numbers or texts")),
    Case("metrics: dates as user ids", grouped([date(2026, 1, 1)] * 4),
         ("group datetime.date(2026, 1, 1) in row 0", "neither a whole number nor a text")),
    Case("metrics: one user id too few", grouped([7, 7, 8]),
         ("groups (3,)", "one for each of 4 rows")),
    Case("metrics: no user of both classes", lambda _: ranking.gauc(LABELS, SCORES, [1, 2, 1, 2]),
         ("none of 2 groups holds both clicks and non-clicks",)),
    Case("metrics: a weight that is none", lambda _: ranking.gauc(LABELS, SCORES, [1, 1, 2, 2], "rows"),  # type: ignore[arg-type]
         ("weight 'rows'", "impressions, users, positives")),
    # labels and scores, from Python
    Case("metrics: a rating as label", lambda _: ranking.auc([5, 0, 1, 0], SCORES),
         ("label 5 in row 0", "wanted 0 or 1", "1 of 4 rows")),
    Case("metrics: a fraction as label", lambda _: ranking.auc([1, 0.05, 1, 0], SCORES),
         ("label 0.05 in row 1", "wanted 0 or 1")),
    Case("metrics: -1 for no click", lambda _: ranking.log_loss([1, -1, 1, -1], SCORES),
         ("label -1 in row 1", "2 of 4 rows")),
    Case("metrics: a label is NaN", lambda _: ranking.auc([1, np.nan, 1, 0], SCORES),
         ("label nan in row 1", "wanted 0 or 1")),
    Case("metrics: a label is None", lambda _: ranking.auc([1, None, 1, 0], SCORES),
         ("label None in row 1", "wanted a number")),
    Case("metrics: labels are texts", lambda _: ranking.auc(["1", "0", "1", "0"], SCORES),
         ("label '1' in row 0", "wanted a number")),
    Case("metrics: scores are texts", lambda _: ranking.auc(LABELS, np.array(["0.4", "0.3", "0.2", "0.1"])),
         ("score 0.4 in row 0 of type", "wanted a number")),
    Case("metrics: a score is infinite", lambda _: ranking.auc(LABELS, [0.1, np.inf, 0.2, 0.3]),
         ("score inf in row 1", "wanted a finite number")),
    Case("metrics: logits for probabilities", lambda _: ranking.log_loss(LABELS, [0.1, -2.0, 0.2, 3.0]),
         ("probability -2.0 in row 1", "sigmoid", "2 of 4 rows")),
    Case("metrics: clicks alone", lambda _: ranking.auc([1, 1, 1, 1], SCORES),
         ("all 4 labels are 1",)),
    Case("metrics: calibration without a click", lambda _: ranking.calibration([0, 0, 0, 0], SCORES),
         ("no click among the labels",)),
    Case("metrics: no rows", lambda _: ranking.auc([], []), ("not none",)),
    # comparisons, from Python
    Case("metrics: a comparison by an unknown metric", compared(metric="ndcg"),
         ("metric 'ndcg'", "auc, gauc, log_loss, normalised_entropy")),
    Case("metrics: a comparison at 95 for .95", compared(level=95), ("level 95", "inside (0, 1)")),
    Case("metrics: a comparison without draws", compared(num_resamples=0), ("num_resamples 0",)),
    Case("metrics: a comparison of users without ids", compared(users=[1, None, 2, 2]),
         ("group None in row 1",)),
    Case("metrics: a comparison of unlike numbers of seeds",
         lambda _: ranking.compare_seeds(LABELS, [SCORES] * 2, [OTHERS], [1, 1, 2, 2]),  # type: ignore[arg-type]
         ("2 seeds of A and 1 of B", "as many of each")),
    Case("metrics: a comparison of one counted user", compared(users=[1, 1, 1, 1]),
         ("no interval: 1 counted user, 20 needed",), told=True),
    Case("metrics: an evaluation of seven users",
         lambda _: evaluate(table(num_users=7), num_resamples=5)["gauc"].definition,
         ("no interval: 7 counted users, 20 needed",), told=True),
    Case("metrics: segments of users without ids", lambda _: segments_of(with_row("user_id", float("nan"))),
         ("group nan in row 7", f"1 of {ROWS} rows")),
    # tables of scores, by command
    Case("comparison: a user id is missing", COMPARE,
         ("a/seed-1/scores.parquet", "column user_id", "no value in row 7", f"1 of {ROWS} rows"),
         seeds(a_1=with_row("user_id", None))),
    Case("comparison: a user id is NaN", COMPARE, ("a/seed-1/scores.parquet", "group nan in row 7"),
         seeds(a_1=with_row("user_id", float("nan")))),
    Case("comparison: a user id is a fraction", COMPARE, ("b/seed-0/scores.parquet", "group 1.5 in row 7"),
         seeds(b_0=with_row("user_id", 1.5))),
    Case("comparison: a label is a rating", COMPARE, ("b/seed-1/scores.parquet", "label 4 in row 7"),
         seeds(b_1=with_row("label", 4))),
    Case("comparison: a score is missing", COMPARE, ("column score", "no value in row 7"),
         seeds(b_1=with_row("score", None))),
    Case("comparison: a score is NaN", COMPARE, ("b/seed-1/scores.parquet", "score nan in row 7"),
         seeds(b_1=with_row("score", float("nan")))),
    Case("comparison: a score is a logit", COMPARE, ("probability 3.5 in row 7", "sigmoid"),
         seeds(b_1=with_row("score", 3.5))),
    Case("comparison: scores are texts", COMPARE, ("b/seed-1", "score", "wanted a number"),
         seeds(b_1=table(1).with_columns(pl.col("score").cast(pl.String)))),
    Case("comparison: cold is a number", COMPARE, ("is_cold", "Int64", "true and false"),
         seeds(a_0=table().with_columns(pl.col("is_cold").cast(pl.Int64)))),
    Case("comparison: a column is not there", COMPARE, ("a/seed-0", "misses is_cold", "it has request_id"),
         seeds(a_0=table().drop("is_cold"))),
    Case("comparison: a row twice", COMPARE, ("request 0, item 0", f"2 of {ROWS} rows", "once"),
         seeds(a_1=TWICE)),
    Case("comparison: no rows", COMPARE, ("a/seed-1", "has no row"), seeds(a_1=table().head(0))),
    Case("comparison: clicks alone", COMPARE, (f"all {ROWS} labels are 1",),
         seeds(a_0=table().with_columns(label=pl.lit(1)))),
    Case("comparison: other impressions", COMPARE, ("different impressions", f"{ROWS} and {ROWS - 6} rows"),
         seeds(b_1=table(1).head(ROWS - 6))),
    Case("comparison: other labels", COMPARE, ("request 0, item 0 has label", "in another", f"{ROWS} of {ROWS} rows"),
         seeds(b_1=table(1).with_columns(label=1 - pl.col("label")))),
    Case("comparison: other users", COMPARE, ("request 1, item 1 has user_id 0 in one table and 9 in another", f"1 of {ROWS} rows"),
         seeds(b_1=with_row("user_id", 9))),
    Case("comparison: users by name on one side", COMPARE, ("has user_id 0 in one table and '0' in another",),
         seeds(b_1=table(1).with_columns(pl.col("user_id").cast(pl.String)))),
    Case("comparison: a file that is no table", COMPARE, ("a/seed-0/scores.parquet cannot be read", "write it again"),
         and_then(seeds(), lambda folder: (folder / "a/seed-0/scores.parquet").write_text("no table"))),
    Case("comparison: a file cut off", COMPARE, ("b/seed-1/scores.parquet cannot be read",),
         and_then(seeds(), lambda folder: cut(folder / "b/seed-1/scores.parquet"))),
    # seeds and options, by command
    Case("comparison: seeds of other names", COMPARE,
         ("no partner", "seed-1 only in a", "seed-7 only in b", "name their folders alike"),
         and_then(seeds(), lambda folder: (folder / "b/seed-1").rename(folder / "b/seed-7"))),
    Case("comparison: a seed on one side alone", COMPARE, ("no partner: seed-1 only in a",), seeds(b_1=None)),
    Case("comparison: one table against seeds", COMPARE,
         ("scores.parquet without a seed folder only in b", "seed-0, seed-1 only in a"),
         and_then(seeds(b_0=None, b_1=None), lambda folder: save(folder / "b", table()))),
    Case("comparison: a table beside seed folders", COMPARE, ("a holds scores.parquet and seed folders", "not both"),
         and_then(seeds(), lambda folder: table().write_parquet(folder / "a/scores.parquet"))),
    Case("comparison: a folder without scores", "ranking.compare shop a", ("no scores.parquet in shop",), seeds()),
    Case("comparison: a folder that is not there", "ranking.compare a nothing", ("no scores.parquet in nothing",), seeds()),
    Case("comparison: one seed against itself", "ranking.compare a --out new", ("1 seed of one ranker", "two or more"),
         seeds(a_1=None)),
    Case("comparison: of seven users, against itself", "ranking.compare a --out new --resamples 20",
         ("no power table of AUC: no interval: 7 counted users, 20 needed",),
         seeds(a_0=table(0, 7), a_1=table(1, 7))),
    Case("comparison: by a column that is not there", f"{COMPARE} --by colour", ("no column 'colour'", "kind"), seeds()),
    Case("comparison: one draw", "ranking.compare a b --resamples 1", ("--resamples 1", "at least 2"), seeds()),
    Case("comparison: a target of nothing", "ranking.compare a b --target nan", ("--target", "'nan'", "above 0"), seeds()),
    Case("comparison: segments of no user", f"{COMPARE} --min-users 0", ("--min-users", "'0'", "at least 1"), seeds()),
    Case("comparison: seven users", "ranking.compare a b --resamples 20",
         ("no interval: 7 counted users, 20 needed", "no interval was looked at", "no power table of auc"),
         seeds(**{f"{side}_{seed}": table(10 * n + seed, 7) for n, side in enumerate("ab") for seed in (0, 1)}),
         told=True),
    Case("comparison: one training a side", "ranking.compare a b --resamples 20", ("one seed a side", "--seeds 3"),
         seeds(a_1=None, b_1=None), told=True),
    Case("comparison: training no seed", "ranking.train shop --out new --seeds 0", ("--seeds", "'0'", "at least 1")),
    Case("comparison: training half a seed", "ranking.train shop --out new --seeds 1.5", ("--seeds", "'1.5'")),
    Case("comparison: training seeds into a folder that is there", "ranking.train shop --out items --seeds 2",
         ("items exists already", "--resume")),
    Case("comparison: going on with seeds in a folder of something else",
         "ranking.train shop --out there --seeds 2 --resume", ("no ranker at there/seed-0",),
         lambda folder: (folder / "there/seed-0").mkdir(parents=True)),
    Case("comparison: evaluating a folder without a ranker", "ranking.evaluate items shop --out new", ("no ranker at items",)),
]  # fmt: skip


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_bad_metrics_and_comparisons(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
