"""What verdicts about rankers promise, in simulations with a known truth: `python -m benchmarks.verdicts`.

1. **Coverage** of 95 % intervals over users (differences of AUC, GAUC and log loss) against the number of counted users, rows a user
   heavy-tailed: where `ranking.judging.resampling.MIN_USERS` comes from.
2. **Calibration error**: how often its interval holds its own value and the truth, for calibrated scores and for promises too high.
3. **False verdicts**: one way of training against itself, with 1, 2, 3 and 5 seeds a side. Seeds differ as much as makes one seed's AUC "better" about as often
   as seven trained seeds of one ranker were (43 % of their 21 pairs; GAUC 33 %, log loss 62 %).
4. **Power**: how often the verdict shows the difference that the table calls shown with 80 %, and the one that z and known variances would plan.

Before: what was said until 2026-11-26 (plain percentiles, mean absolute calibration gap, verdict over users, z). After: the library's present code.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, count, run
from moon_rec.files import write_json
from moon_rec.progress import track
from moon_rec.seeds import generator
from ranking.judging.noise import Noise
from ranking.judging.resampling import (
    MIN_USERS,
    Statistic,
    WeightedCalibrationError,
    WeightedRatio,
    expanded_percentiles,
    resample,
    weighted_calibration,
)
from ranking.metrics import group_aucs, row_losses, score_bins
from ranking.significance import Metric, Question, answer, statistic_of

LEVEL = 0.95
METRICS: tuple[Metric, ...] = ("auc", "gauc", "log_loss")
COUNTED = (2, 3, 5, 10, 20, 30, 50, 100)
CALIBRATION_USERS = (20, 50, 200, 1000)
PROMISES = (1.0, 1.2, 1.5)
SEEDS = (1, 2, 3, 5)
POWER_SEEDS = (2, 3, 5, 10)
SEED_SPREAD = 0.17
"""Of the log noise of a trained ranker between seeds."""
TRUTH_USERS = 60_000

Row = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """Scored rows of users drawn from one population: `(rows,)` each."""

    labels: np.ndarray
    users: np.ndarray
    true: np.ndarray


def draw_rows(random: np.random.Generator, num_users: int, median: int = 12) -> Rows:
    """Users with log-normal numbers of rows (half of them below `median`, one in a hundred above 16 times that) and click rates of their own."""
    sizes = np.exp(random.normal(np.log(median), 1.2, num_users)).clip(2, 2000).astype(int)
    users = np.repeat(np.arange(num_users), sizes)
    true = random.normal(size=users.size) + random.normal(-1.5, 0.8, num_users)[users]
    labels = (random.random(users.size) < 1 / (1 + np.exp(-true))).astype(int)
    return Rows(labels, users, true)


def draw_scores(random: np.random.Generator, rows: Rows, skill: float, noise: float) -> np.ndarray:
    """Click probabilities of a ranker that sees `skill` of the truth and suits some users better than others."""
    num_users = int(rows.users.max()) + 1
    skills, luck = random.normal(0, 0.5, (2, num_users))
    seen = (skill + skills[rows.users]) * rows.true + luck[rows.users]
    seen = seen + noise * random.normal(size=rows.users.size)
    return 1 / (1 + np.exp(-(seen - 1.2) * 0.8))


def statistics(rows: Rows, scores: np.ndarray) -> list[Statistic]:
    """Of each metric."""
    return [statistic_of(metric, rows.labels, scores, rows.users) for metric in METRICS]


def first_users(
    rows: Rows, scores: list[np.ndarray], num_users: int
) -> tuple[Rows, list[np.ndarray]]:
    """The rows of the first users, and of the scores."""
    kept = rows.users < num_users
    return Rows(rows.labels[kept], rows.users[kept], rows.true[kept]), [one[kept] for one in scores]


def users_that_count(rows: Rows, metric: str, counted: int) -> int:
    """How many of the users in their order it takes until `counted` of them count for the metric."""
    clicks, sizes = np.bincount(rows.users, rows.labels), np.bincount(rows.users)
    has_click, has_other = clicks > 0, clicks < sizes
    so_far = {
        "auc": np.minimum(np.cumsum(has_click), np.cumsum(has_other)),
        "gauc": np.cumsum(has_click & has_other),
        "log_loss": np.arange(1, sizes.size + 1),
    }[metric]
    return int(np.searchsorted(so_far, counted)) + 1


def coverage(seed: int, repeats: int, resamples: int) -> Iterator[Row]:
    """Share of intervals that hold the true difference of two rankers, by number of counted users."""
    random = generator(seed, "truth")
    everyone = draw_rows(random, TRUTH_USERS)
    sides = [
        statistics(everyone, draw_scores(random, everyone, *one))
        for one in ((0.6, 1.2), (0.9, 1.0))
    ]
    whole = np.ones(TRUTH_USERS)
    truth = [b.value(whole) - a.value(whole) for a, b in zip(*sides, strict=True)]
    for counted in track(COUNTED, "coverage"):
        row: Row = {"counted users": counted}
        for metric, true in zip(METRICS, truth, strict=True):
            hits = [
                _covers(generator(seed, metric, counted, trial), metric, counted, true, resamples)
                for trial in range(repeats)
            ]
            for place, name in enumerate(("before", "after")):
                row[f"{metric}, {name}"] = float(np.mean([hit[place] for hit in hits]))
        yield row


def _covers(
    random: np.random.Generator, metric: Metric, counted: int, true: float, resamples: int
) -> tuple[bool, bool]:
    """Whether the plain and the expanded percentile interval hold the truth in one draw."""
    rows = draw_rows(random, 3 * counted + 15)
    scores = [draw_scores(random, rows, *one) for one in ((0.6, 1.2), (0.9, 1.0))]
    num_users = users_that_count(rows, metric, counted)
    rows, scores = first_users(rows, scores, num_users)
    drawn = random.integers(0, num_users, (resamples, num_users))
    weights = np.stack([np.bincount(row, minlength=num_users) for row in drawn]).astype(np.float64)
    a, b = (values_under(weights, metric, rows, one) for one in scores)
    differences = b - a
    plain = np.nanquantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    wide = expanded_percentiles(differences, LEVEL, counted)
    return bool(plain[0] <= true <= plain[1]), wide[0] <= true <= wide[1]


def values_under(weights: np.ndarray, metric: Metric, rows: Rows, scores: np.ndarray) -> np.ndarray:
    """The metric under every row of user weights `(draws, users)` at once, `(draws,)`: for few users quicker than one by one."""
    num_users = weights.shape[1]
    if metric != "auc":
        if metric == "gauc":
            values, sizes = group_aucs(rows.labels, scores, rows.users, "impressions")
        else:
            sizes = np.bincount(rows.users, minlength=num_users)
            losses = np.bincount(rows.users, row_losses(rows.labels, scores), num_users)
            values = losses / np.maximum(sizes, 1)
        total = weights @ sizes
        return np.divide(
            weights @ (values * sizes), total, np.full(total.shape, np.nan), where=total > 0
        )
    order = np.argsort(scores)
    is_click, users = rows.labels[order] == 1, rows.users[order]
    others_below = np.zeros((order.size, num_users))
    others_below[np.arange(order.size), users] = ~is_click
    np.cumsum(others_below, axis=0, out=others_below)
    beaten = np.zeros((num_users, num_users))  # clicks of one user over non-clicks of another
    np.add.at(beaten, users[is_click], others_below[is_click])
    clicks, others = (
        np.bincount(users[side], minlength=num_users) for side in (is_click, ~is_click)
    )
    pairs = (weights @ clicks) * (weights @ others)
    wins = ((weights @ beaten) * weights).sum(axis=1)
    return np.divide(wins, pairs, np.full(pairs.shape, np.nan), where=pairs > 0)


def calibration_errors(seed: int, repeats: int, resamples: int) -> Iterator[Row]:
    """How often the interval of the calibration error holds its value and the truth."""
    cells = [(promise, users) for promise in PROMISES for users in CALIBRATION_USERS]
    truths = {promise: _true_error(generator(seed, "promises"), promise) for promise in PROMISES}
    for promise, users in track(cells, "calibration"):
        found = np.array(
            [
                _error_holds(
                    generator(seed, str(promise), users, trial),
                    promise,
                    users,
                    truths[promise],
                    resamples,
                )
                for trial in range(repeats)
            ]
        ).mean(axis=0)
        names = (
            "before: mean",
            "before: holds its value",
            "after: mean",
            "after: holds its value",
            "after: holds the truth",
        )
        yield {"promised over true": promise, "users": users, "truth": truths[promise]} | dict(
            zip(names, found.tolist(), strict=True)
        )


def _promises(random: np.random.Generator, num_users: int, factor: float) -> tuple[np.ndarray, ...]:
    """Labels, probabilities `factor` times the true ones, users."""
    rows = draw_rows(random, num_users)
    return rows.labels, np.minimum(1, factor / (1 + np.exp(-rows.true))), rows.users


def _true_error(random: np.random.Generator, factor: float) -> float:
    if factor == 1:
        return 0.0
    labels, chances, users = _promises(random, TRUTH_USERS, factor)
    return weighted_calibration(labels, chances, users)[1].value(np.ones(TRUTH_USERS))


def _error_holds(
    random: np.random.Generator, factor: float, num_users: int, truth: float, resamples: int
) -> tuple[float, ...]:
    labels, chances, users = _promises(random, num_users, factor)
    _, error = weighted_calibration(labels, chances, users)
    assert isinstance(error, WeightedCalibrationError)
    plain = _MeanAbsoluteGap(labels, chances, users)
    drawn = resample([plain, error.drawn()], num_users, resamples, int(random.integers(2**31)))
    whole = np.ones(num_users)
    before, after = plain.value(whole), error.value(whole)
    old = np.quantile(drawn[:, 0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = expanded_percentiles(drawn[:, 1], LEVEL, num_users)
    return before, old[0] <= before <= old[1], after, low <= after <= high, low <= truth <= high


class _MeanAbsoluteGap:
    """The calibration error as it was."""

    def __init__(self, labels: np.ndarray, chances: np.ndarray, users: np.ndarray):
        cells = users * 10 + score_bins(chances, 10)
        self._gaps = np.bincount(cells, chances - labels, (users.max() + 1) * 10).reshape(-1, 10)
        self._sizes = np.bincount(users).astype(float)
        self.counted = self._sizes.size

    def value(self, weights: np.ndarray) -> float:
        return float(np.abs(weights @ self._gaps).sum() / (weights @ self._sizes))


def false_verdicts(seed: int, repeats: int, resamples: int) -> Iterator[Row]:
    """How often one way of training, held against itself, is called better."""
    for num_seeds in track(SEEDS, "false verdicts"):
        before, after = (np.zeros((repeats, len(METRICS))) for _ in range(2))
        for trial in range(repeats):
            random = generator(seed, "itself", num_seeds, trial)
            rows = draw_rows(random, 150)
            num_users = int(rows.users.max()) + 1
            sides = [[_trained(random, rows) for _ in range(num_seeds)] for _ in "ab"]
            questions = {
                metric: Question(
                    [one[place] for one in sides[0]],
                    [one[place] for one in sides[1]],
                    num_users,
                    "",
                    metric == "log_loss",
                )
                for place, metric in enumerate(METRICS)
            }
            found = answer(questions, num_users, resamples, trial)
            for place, metric in enumerate(METRICS):
                before[trial, place] = found[metric].is_significant
                after[trial, place] = "better" in found[metric].verdict
        row: Row = {"seeds a side": num_seeds}
        for place, metric in enumerate(METRICS):
            row |= {
                f"{metric}, before": before[:, place].mean(),
                f"{metric}, after": after[:, place].mean(),
            }
        yield row


def _trained(random: np.random.Generator, rows: Rows) -> list[Statistic]:
    """The metrics of one training: the same skill, the luck of a seed."""
    noise = np.exp(random.normal(0, SEED_SPREAD))
    seen = 0.8 * rows.true + noise * random.normal(size=rows.users.size)
    lift = random.normal(0, SEED_SPREAD)
    return statistics(rows, 1 / (1 + np.exp(-(0.6 * seen - 0.9 + lift))))


def power(seed: int, repeats: int, resamples: int) -> Iterator[Row]:
    """How often the verdict shows the difference of 80 % power, by the table and as z would plan it."""
    num_users = 60
    for num_seeds in track(POWER_SEEDS, "power"):
        noise = Noise(
            shared=1.0, each=2.0, seeds=0.05, num_users=num_users, num_seeds=num_seeds, of=""
        )
        by_z = 2.801585 * noise.variance(num_users, num_seeds) ** 0.5
        planned = noise.smallest_difference(num_users, num_seeds)
        row: Row = {"seeds a side": num_seeds, "z, difference": by_z, "table, difference": planned}
        for name, difference in (("z", by_z), ("table", planned), ("none", 0.0)):
            shown = [
                _is_shown(generator(seed, name, num_seeds, trial), noise, difference, resamples)
                for trial in range(repeats)
            ]
            row[f"{name}, shown"] = float(np.mean(shown))
        yield row


def _is_shown(random: np.random.Generator, noise: Noise, difference: float, resamples: int) -> bool:
    """The verdict on differences drawn with the noise's variances, by the library's own bootstrap."""
    users, seeds = noise.num_users, noise.num_seeds
    parts = difference + random.normal(size=users) * noise.shared**0.5
    parts = parts + random.normal(size=(seeds, users)) * noise.each**0.5
    parts = parts + random.normal(size=(seeds, 1)) * noise.seeds**0.5
    ones = np.ones(users)
    question = Question(
        [WeightedRatio(np.zeros(users), ones)] * seeds,
        [WeightedRatio(one, ones) for one in parts],
        users,
        "",
    )
    return answer({"": question}, users, resamples, int(random.integers(2**31)))[""].is_shown


PARTS: dict[str, tuple[Callable[[int, int, int], Iterator[Row]], str]] = {
    "coverage": (coverage, "share of 95 % intervals that hold the true difference"),
    "calibration": (
        calibration_errors,
        "calibration error: how often its interval holds its value and the truth",
    ),
    "false": (false_verdicts, "share of verdicts that call a ranker better than itself"),
    "power": (
        power,
        "share of verdicts that show the difference planned at 80 % (none: that show no difference)",
    ),
}


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = parsed(_parser(), argv)
    found = {}
    for name in dict.fromkeys(given.parts):
        simulate, title = PARTS[name]
        found[name] = list(simulate(given.seed, given.repeats, given.resamples))
        print(f"{title}; {given.repeats} draws a cell, seed {given.seed}")
        print(table(found[name]))
    if given.out:
        about = {
            **describe_machine(),
            "what": "verdicts about simulated rankers: coverage, calibration error, false verdicts, power",
            "simulated": True,
            "seed": given.seed,
            "repeats": given.repeats,
            "resamples": given.resamples,
            "min_users": MIN_USERS,
            **found,
        }
        write_json(given.out, about)


def table(rows: list[Row]) -> str:
    """Rows as Markdown."""
    lines = [f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
    for row in rows:
        cells = [
            f"{value:.3f}".lstrip("0") or "0" if isinstance(value, float) else str(value)
            for value in row.values()
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks.verdicts",
        description="Whether intervals, calibration errors, verdicts and the power table keep what they promise, in simulations.",
        example="python -m benchmarks.verdicts --out benchmarks/results/verdicts.json",
    )
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=count, default=150, help="draws a cell")
    parser.add_argument("--resamples", type=count, default=200, help="of users")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
