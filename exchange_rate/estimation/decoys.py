"""Metrics that mean nothing, made from those of the study: how well does the best of so many predict by luck?

Among 46 candidate metrics and 12 encoders, the best predicts well whatever they are. So every metric is set against decoys: the same metrics, with their encoders
exchanged. Exchanging the *outcome* among encoders instead does it for all metrics at once and keeps how they resemble each other; the smallest error of any metric
in each draw is what luck gives the best of them (Westfall and Young 1993, max-T). A metric predicts better than decoys where no more than 1 - level of draws have
a smaller one (a fifth of that is kept back, `MARGIN`): with nothing real, at least one such metric is found in at most 1 - level of studies, whatever the number of metrics.

Checkpoints of one training are not exchangeable with those of another, nor with each other. A draw exchanges the paths' means, and turns the deviations from a
path's mean over, all of one path or none (as cluster-robust tests do; Cameron, Gelbach and Miller 2008). Where every encoder is its own path, that is a
permutation of encoders. Few paths have few draws, which no share below 1 - level may fill: then nothing is better than decoys.
"""

from dataclasses import dataclass

import numpy as np

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.leave_out import Codes, squared_errors
from moon_rec.seeds import generator

NUM_DRAWS = 999
MARGIN = 0.8
"""Of the 1 - level that may err, the share that is used: what is exact on average is then kept in a count of studies, too."""
SHUFFLED, NOISE = "decoy: {} of other encoders", "decoy: noise"


def exchanged(values: Floats, codes: Codes, random: np.random.Generator, num: int) -> Floats:
    """`(encoders, num)`: `values` `(encoders,)` with means exchanged among paths and deviations from them turned over path by path."""
    counts = np.bincount(codes)
    means = np.bincount(codes, weights=values) / counts
    order = np.argsort(random.random((len(counts), num)), axis=0)
    signs = random.choice([-1.0, 1.0], (len(counts), num))
    return means[order][codes] + (values - means[codes])[:, None] * signs[codes]


def visible_decoys(metric: Floats, name: str, codes: Codes, seed: int) -> dict[str, Floats]:
    """The two decoys that stand among the candidates, by name, each `(encoders,)`.

    One is `metric` with its encoders exchanged, one is normal noise with as much spread between and within paths as `metric` has.
    """
    random = generator(seed, "decoys", name, len(metric))
    counts = np.bincount(codes)
    means = np.bincount(codes, weights=metric) / counts
    within = metric - means[codes]
    freedom = max(len(metric) - len(counts), 1)
    noise = random.normal(0, float(np.std(means, ddof=1)), len(counts))[codes]
    noise += random.normal(0, float(np.sqrt(np.sum(within**2) / freedom)), len(metric))
    return {
        SHUFFLED.format(name): exchanged(metric, codes, random, 1)[:, 0],
        NOISE: metric.mean() + noise,
    }


@dataclass(frozen=True, eq=False)
class Luck:
    """What the best of as many decoys as there are metrics reaches.

    Attributes:
        shares: `(draws,)` the smallest share of the mean's squared left-out error, over metrics, in each draw.
        mean: sum of the mean's squared left-out errors, of the study as it is; `num_encoders` how many they are.
    """

    shares: Floats
    mean: float
    num_encoders: int

    def p_value(self, share: float) -> float:
        """Chance that the best decoy's share is no larger than `share`; the study itself counts as one draw, so it is never 0."""
        near = share + 1e-9 * abs(share)  # a draw that is the study itself, up to rounding
        return float((1 + np.sum(self.shares <= near)) / (1 + len(self.shares)))

    def p_value_of(self, error: float) -> float:
        """The same for a root mean square left-out error; 1 where there is none."""
        if not np.isfinite(error) or self.mean <= 0:
            return 1.0
        return self.p_value(error**2 * self.num_encoders / self.mean)

    def error_to_beat(self, level: float) -> float:
        """The root mean square left-out error that the best decoy stays above in all but `allowed_share` of draws."""
        ordered = np.sort(self.shares)
        allowed = int(np.floor(allowed_share(level) * (1 + len(ordered)) + 1e-9)) - 1
        share = ordered[max(allowed, 0)]
        return float(np.sqrt(share * self.mean / self.num_encoders))


def allowed_share(level: float) -> float:
    """The share of draws that may have a smaller error than a metric that is better than decoys."""
    return MARGIN * (1 - level)


def luck(
    metrics: Floats, outcome: Floats, codes: Codes, seed: int, num_draws: int = NUM_DRAWS
) -> Luck:
    """The decoys' best errors for `metrics` `(encoders, metrics)`, all measured on all encoders, and `outcome` `(encoders,)`."""
    random = generator(seed, "exchanged outcomes", *map(int, metrics.shape))
    draws = exchanged(outcome, codes, random, num_draws)
    shares = squared_errors(metrics, draws, codes).share.min(axis=0)
    mean = squared_errors(metrics, outcome[:, None], codes).mean
    return Luck(shares, float(mean[0]), len(outcome))
