"""Two rankers over several seeds: AUC of each, their paired difference, and the share of the way to the best possible AUC.

Differences are `ranking.significance.answers`': mean over seeds of B minus A, with its interval over users and seeds where there are several seeds (two ways of
training are compared), over users alone where there is one (two trainings are). The other numbers are taken under the same draws of users, whose percentiles
are their intervals.

All segments are taken under one set of draws of all users. A draw depends on the seed and on who the users are, not on what was scored: an encoder against the baseline, against its
own vectors permuted, and every other encoder of the study against either see the same draws of users, in whatever process. The share of the way against a permuted control is what content
adds of what is left above that control. What encoders have in common under draws is told by `exchange_rate.study.draws`.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import polars as pl

from moon_rec.errors import StudyError
from moon_rec.estimate import Estimate
from ranking.comparison import Comparison
from ranking.judging.judgement import true_probabilities
from ranking.judging.resampling import drawn_values, interval, too_few
from ranking.metrics import group_codes
from ranking.significance import Question, answers, statistic_of

NO_PARTS: Mapping[str, tuple[str, np.ndarray]] = MappingProxyType({})
SEGMENTS = {"": "", "_warm": ", warm items only", "_cold": ", cold items only"}
KEYS = ["request_id", "item_id"]


def compare_rankers(
    a: Sequence[pl.DataFrame],
    b: Sequence[pl.DataFrame],
    truth: pl.DataFrame | pl.LazyFrame | None,
    name_a: str = "A",
    name_b: str = "B",
    num_resamples: int = 500,
    seed: int = 0,
    level: float = 0.95,
    parts: Mapping[str, tuple[str, np.ndarray]] = NO_PARTS,
) -> dict[str, Estimate]:
    """Compare rankers A and B, one table of scores a seed (`ranking.evaluate.score`), paired by position.

    Args:
        parts: further segments: what stands behind their figures' names -> their words, and their rows `(rows,)` boolean in the order of `a[0]`.

    Returns:
        For each segment that has both classes (overall, `_warm`, `_cold`, and those of `parts`): `auc_a`, `auc_b`, `auc_gain` (B minus A), `gauc_gain`, and with the true
        click probabilities `auc_best` and `share_of_the_way` ((B - A) / (best - A)).

    Raises:
        StudyError: no seeds, another number of them on the two sides, or scores of different rows.
    """
    if not a or len(a) != len(b):
        raise StudyError(f"{len(a)} seeds of {name_a} and {len(b)} of {name_b}: wanted as many")
    tables = [_aligned(a[0], one) for one in (*a, *b)]
    first = tables[0]
    best = true_probabilities(first, truth) if truth is not None else None
    num_users, segments = _segments(tables, best, parts)
    words = SEGMENTS | {name: f", {text} only" for name, (text, _) in parts.items()}
    statistics = (one for found in segments.values() for one in (*found.statistics, *found.gauc))
    drawn = drawn_values(statistics, num_users, num_resamples, seed)
    for found in segments.values():
        found.values = np.stack([drawn[one] for one in found.statistics], axis=1)
    questions = {
        f"{name}{segment}": question
        for segment, found in segments.items()
        for name, question in found.questions(name_a, name_b).items()
    }
    gains = answers(questions, drawn, level)
    estimates: dict[str, Estimate] = {}
    for segment, found in segments.items():
        own = {name: gains.get(f"{name}{segment}") for name in ("auc_gain", "gauc_gain")}
        numbers = found.numbers(name_a, name_b, level)
        numbers |= {name: _gain(gain) for name, gain in own.items() if gain is not None}
        estimates |= {
            f"{name}{segment}": Estimate(
                value, low, high, found.num_users, text + words[segment], level
            )
            for name, (value, low, high, text) in numbers.items()
        }
    return estimates


def _segments(
    tables: Sequence[pl.DataFrame],
    best: np.ndarray | None,
    parts: Mapping[str, tuple[str, np.ndarray]],
) -> tuple[int, dict[str, "_Segment"]]:
    """How many users there are, and each segment that has both classes."""
    first = tables[0]
    cold, users = first["is_cold"].to_numpy(), group_codes(first["user_id"].to_numpy(), len(first))
    segments: dict[str, _Segment] = {}
    rows_of = {"": np.ones(len(cold), bool), "_warm": ~cold, "_cold": cold}
    rows_of |= {name: rows for name, (_, rows) in parts.items()}
    for segment, rows in rows_of.items():
        labels = first["label"].to_numpy()[rows].astype(np.int64)
        if labels.size and labels.min() < labels.max():
            columns = [one["score"].to_numpy()[rows] for one in tables]
            found = _Segment(labels, columns, None if best is None else best[rows], users[rows])
            segments[segment] = found
    return int(users.max()) + 1, segments


def _gain(found: Comparison) -> tuple[float, float, float, str]:
    reason = f"; {found.no_interval}" if found.no_interval else ""
    return found.value, *found.verdict_interval, found.definition + reason


class _Segment:
    """AUC and GAUC of every seed of A and B, and of the truth, on one segment's rows; `users` are codes that all segments share."""

    values: np.ndarray
    """`(1 + resamples, statistics)`: on all users, then under every draw."""

    def __init__(
        self,
        labels: np.ndarray,
        columns: list[np.ndarray],
        best: np.ndarray | None,
        users: np.ndarray,
    ):
        self.num_users = int(np.unique(users).size)
        self.num_seeds = len(columns) // 2
        self.statistics = [statistic_of("auc", labels, column, users) for column in columns]
        self.gauc = [statistic_of("gauc", labels, column, users) for column in columns]
        self.has_best = best is not None
        if best is not None:
            self.statistics.append(statistic_of("auc", labels, best, users))

    def questions(self, name_a: str, name_b: str) -> dict[str, Question]:
        """B minus A; GAUC's is left out where no user has both classes."""
        count = self.num_seeds
        metrics = {
            "auc_gain": ("AUC", self.statistics[: 2 * count]),
            "gauc_gain": (
                "GAUC (per user, weighted by impressions, one-class users left out)",
                self.gauc,
            ),
        }
        over = "interval over users and seeds" if count > 1 else "bootstrap over users alone"
        return {
            name: Question(
                statistics[:count],
                statistics[count:],
                self.num_users,
                f"{metric} of {name_b} minus that of {name_a} on the same rows, {self._seeds}, paired; {over}",
            )
            for name, (metric, statistics) in metrics.items()
        }

    @property
    def _seeds(self) -> str:
        return f"mean over {self.num_seeds} seeds" if self.num_seeds > 1 else "one seed"

    def numbers(
        self, name_a: str, name_b: str, level: float
    ) -> dict[str, tuple[float, float, float, str]]:
        """AUC of each, of the truth, and the share of the way."""
        how = f"{self._seeds}; bootstrap over users"
        found = {
            "auc_a": (self._mean(0), f"AUC by midranks of {name_a}, {how}"),
            "auc_b": (self._mean(1), f"AUC by midranks of {name_b}, {how}"),
        }
        if self.has_best:
            best = self.values[:, 2 * self.num_seeds]
            found["auc_best"] = (best, "AUC of the true click probability (simulated)")
            way = best - self._mean(0)
            share = np.divide(
                self._mean(1) - self._mean(0), way, out=np.full_like(way, np.nan), where=way > 0
            )
            found["share_of_the_way"] = (
                share,
                f"(AUC of {name_b} - AUC of {name_a}) / (AUC of the true click probability - AUC of {name_a}), {how}, paired (simulated)",
            )
        counted = self.statistics[0].counted
        few = f"; {too_few(counted)}" if too_few(counted) else ""
        return {
            name: (float(values[0]), *interval(values[1:], level, counted), text + few)
            for name, (values, text) in found.items()
        }

    def _mean(self, side: int) -> np.ndarray:
        start = side * self.num_seeds
        return self.values[:, start : start + self.num_seeds].mean(axis=1)


def _aligned(first: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """`other` in the order of `first`."""
    if other.select(KEYS).equals(first.select(KEYS)):
        return other
    both = first.select(KEYS).join(other, on=KEYS, how="left", maintain_order="left")
    if len(both) != len(first) or len(other) != len(first) or both["score"].null_count():
        raise StudyError(
            f"two tables of scores, of {len(first)} and {len(other)} impressions, are not of the same rows"
        )
    return both
