"""The calibration curve: what was predicted and what was clicked, bin after bin of equally many rows. No torch.

Notable choices
- Bins hold equally many rows (ties share a bin), so that each point is measured about as well as any
  other; bins of equal width leave nearly all rows of a CTR model in the first one.
- A point's interval comes of a bootstrap over users, as every interval here; rows of a user are alike
  and the usual binomial interval is too short for them. Bins stay where the whole data put them.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from moon_rec.shares import wilson
from ranking.groups import group_codes
from ranking.judging.resampling import (
    NOTHING,
    Statistic,
    WeightedRatio,
    interval,
    resample,
    too_few,
)
from ranking.metrics import NUM_BINS, check_probabilities, checked, score_bins

NUM_RESAMPLES = 300


@dataclass(frozen=True)
class CalibrationCurve:
    """Points of a calibration curve, by rising prediction; bins without rows are left out.

    Attributes:
        counts: `(bins,)` rows of each bin.
        predictions: `(bins,)` their mean predicted click probability.
        rates: `(bins,)` their click rate.
        lows, highs: `(bins,)` ends of the click rate's interval at `level`; NaN in a bin of too few users.
    """

    counts: tuple[int, ...]
    predictions: tuple[float, ...]
    rates: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    level: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def calibration_curve(
    labels: np.ndarray,
    probabilities: np.ndarray,
    users: np.ndarray,
    num_bins: int = NUM_BINS,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> CalibrationCurve:
    """Mean prediction and click rate, with its interval over users, in bins of equally many rows.

    Args:
        labels: `(rows,)` of 0 and 1; one class is allowed.
        probabilities: `(rows,)` in [0, 1].
        users: `(rows,)` ids.

    Raises:
        RankingError: as `ranking.log_loss`, users that are not one a row, or `num_bins` below 1.
    """
    labels, probabilities = checked(labels, probabilities, both_classes=False)
    check_probabilities(probabilities)
    codes = group_codes(users, labels.size)
    bins = score_bins(probabilities, num_bins)
    counts = np.bincount(bins, minlength=num_bins)
    found = np.flatnonzero(counts)
    num_users = int(codes.max()) + 1
    cells = codes * num_bins + bins
    shape, size = (num_users, num_bins), num_users * num_bins
    rows_of = np.bincount(cells, minlength=size).reshape(shape).astype(np.float64)
    clicks_of = np.bincount(cells, labels, minlength=size).reshape(shape)
    rates: list[Statistic] = [
        WeightedRatio(clicks_of[:, bin].copy(), rows_of[:, bin].copy()) for bin in found
    ]
    drawn = resample(rates, num_users, num_resamples, seed)
    ends = [interval(drawn[:, column], level, rate.counted) for column, rate in enumerate(rates)]
    for place, (bin, rate) in enumerate(zip(found, rates, strict=True)):
        if clicks_of[:, bin].sum() in (0, counts[bin]):
            ends[place] = _of_none_or_all(bool(clicks_of[:, bin].any()), rate.counted, level)
    sums = np.bincount(bins, probabilities, minlength=num_bins)
    clicks = np.bincount(bins, labels, minlength=num_bins)
    return CalibrationCurve(
        counts=tuple(int(counts[bin]) for bin in found),
        predictions=tuple(float(sums[bin] / counts[bin]) for bin in found),
        rates=tuple(float(clicks[bin] / counts[bin]) for bin in found),
        lows=tuple(low for low, _ in ends),
        highs=tuple(high for _, high in ends),
        level=level,
    )


def _of_none_or_all(has_clicks: bool, users: int, level: float) -> tuple[float, float]:
    """Wilson's interval of no or of all clicks, where draws of users vary by nothing; users count, not rows,
    for those of a user are alike."""
    if too_few(users):
        return NOTHING, NOTHING
    low, high = wilson(float(has_clicks), users, level)
    return float(low), float(high)


def curve_of(scores: pl.DataFrame, num_resamples: int = NUM_RESAMPLES) -> CalibrationCurve:
    """The calibration curve of a table of scores (`label, score, user_id`)."""
    labels, probabilities = scores["label"].to_numpy(), scores["score"].to_numpy()
    users = scores["user_id"].to_numpy()
    return calibration_curve(labels, probabilities, users, num_resamples=num_resamples)
