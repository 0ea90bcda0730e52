"""Two rankers over several seeds: AUC of each, their paired difference, and the share of the way to the best possible AUC.

The statistic is `ranking.compare_seeds`'s (a test holds the two equal): mean over seeds of B minus A, bootstrap over users, all seeds and both rankers under
the same draws. Taking every number from one set of draws is what makes the share of the way, a ratio of differences, cheap.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from moon_rec.errors import StudyError
from moon_rec.estimate import Estimate
from ranking.judging.judgement import true_probabilities
from ranking.judging.resampling import interval, resample, too_few
from ranking.metrics import group_codes
from ranking.significance import statistic_of

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
) -> dict[str, Estimate]:
    """Compare rankers A and B, one table of scores a seed (`ranking.evaluate.score`), paired by position.

    Returns:
        For each segment that has both classes (overall, `_warm`, `_cold`): `auc_a`, `auc_b`, `auc_gain` (B minus A), `gauc_gain`, and with the true
        click probabilities `auc_best` and `share_of_the_way` ((B - A) / (best - A)).

    Raises:
        StudyError: no seeds, another number of them on the two sides, or scores of different rows.
    """
    if not a or len(a) != len(b):
        raise StudyError(f"{len(a)} seeds of {name_a} and {len(b)} of {name_b}: wanted as many")
    tables = [_aligned(a[0], one) for one in (*a, *b)]
    first = tables[0]
    best = true_probabilities(first, truth) if truth is not None else None
    cold = first["is_cold"].to_numpy()
    estimates: dict[str, Estimate] = {}
    for segment, words in SEGMENTS.items():
        rows = {"": np.ones(len(cold), bool), "_cold": cold, "_warm": ~cold}[segment]
        labels = first["label"].to_numpy()[rows].astype(np.int64)
        if labels.size == 0 or labels.min() == labels.max():
            continue
        columns = [one["score"].to_numpy()[rows] for one in tables]
        users = first["user_id"].to_numpy()[rows]
        found = _Segment(labels, columns, None if best is None else best[rows], users)
        found.draw(num_resamples, seed)
        estimates |= {
            f"{name}{segment}": Estimate(value, low, high, len(found.whole), text + words, level)
            for name, (value, low, high, text) in found.numbers(name_a, name_b, level).items()
        }
    return estimates


class _Segment:
    """AUC and GAUC of every seed of A and B, and of the truth, on one segment's rows."""

    def __init__(
        self,
        labels: np.ndarray,
        columns: list[np.ndarray],
        best: np.ndarray | None,
        users: np.ndarray,
    ):
        codes = group_codes(users, labels.size)
        self.num_seeds = len(columns) // 2
        self.statistics = [statistic_of("auc", labels, column, codes) for column in columns]
        self.has_best = best is not None
        if best is not None:
            self.statistics.append(statistic_of("auc", labels, best, codes))
        self.has_gauc = _has_both_classes(labels, codes)
        if self.has_gauc:
            self.statistics += [statistic_of("gauc", labels, column, codes) for column in columns]
        self.whole = np.ones(int(codes.max()) + 1)

    def draw(self, num_resamples: int, seed: int) -> None:
        self.point = np.array([[one.value(self.whole) for one in self.statistics]])
        self.drawn = resample(self.statistics, len(self.whole), num_resamples, seed)

    def numbers(
        self, name_a: str, name_b: str, level: float
    ) -> dict[str, tuple[float, float, float, str]]:
        seeds = f"mean over {self.num_seeds} seeds" if self.num_seeds > 1 else "one seed"
        how = f"{seeds}; bootstrap over users"
        found = {
            "auc_a": (self._mean(0), f"AUC by midranks of {name_a}, {how}"),
            "auc_b": (self._mean(1), f"AUC by midranks of {name_b}, {how}"),
            "auc_gain": (
                self._mean(1) - self._mean(0),
                f"AUC of {name_b} minus AUC of {name_a} on the same rows, {how}, paired",
            ),
        }
        after = 2 * self.num_seeds + self.has_best
        if self.has_gauc:
            found["gauc_gain"] = (
                self._mean(1, after) - self._mean(0, after),
                f"GAUC (per user, weighted by impressions, one-class users left out) of {name_b} minus {name_a}, {how}, paired",
            )
        if self.has_best:
            best = self._both(2 * self.num_seeds)
            found["auc_best"] = (best, "AUC of the true click probability (simulated)")
            way = best - self._mean(0)
            share = np.divide(
                self._mean(1) - self._mean(0), way, out=np.full_like(way, np.nan), where=way > 0
            )
            found["share_of_the_way"] = (
                share,
                f"(AUC of {name_b} - AUC of {name_a}) / (AUC of the true click probability - AUC of {name_a}), {how}, paired (simulated)",
            )
        estimates = {}
        for name, (values, text) in found.items():
            counted = self.statistics[after if name.startswith("gauc") else 0].counted
            few = f"; {too_few(counted)}" if too_few(counted) else ""
            ends = interval(values[1:], level, counted)
            estimates[name] = (float(values[0]), *ends, text + few)
        return estimates

    def _both(self, column: int) -> np.ndarray:
        """A statistic on the whole rows, then under every draw."""
        return np.concatenate([self.point[:, column], self.drawn[:, column]])

    def _mean(self, side: int, first: int = 0) -> np.ndarray:
        start = first + side * self.num_seeds
        rows = np.vstack([self.point, self.drawn])
        return rows[:, start : start + self.num_seeds].mean(axis=1)


def _has_both_classes(labels: np.ndarray, codes: np.ndarray) -> bool:
    """Whether any user has a click and a non-click."""
    clicks, rows = np.bincount(codes, labels), np.bincount(codes)
    return bool(((clicks > 0) & (clicks < rows)).any())


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
