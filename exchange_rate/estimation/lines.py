"""A line through encoders: noise of the metric corrected for, paths as random effects, intervals that hold for few paths.

With M the projection off the whitened intercept, and S the covariances of the noise over encoders (`exchange_rate.estimation.noise`), all whitened alike:

    slope = (x'M y - tr(M Sxy)) / (x'M x - tr(M Sxx))

Where every encoder is its own path, tr(M Sxx) / (J - 1) is u_eff^2 = tr(P S P) / (J - 1) of Bibaut et al. (2024), and for noise that is independent and equal the slope is
Fuller's (1987, eq. 1.2.3). Noise that is the same for all encoders is projected away, not subtracted.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.mixed import Whitening, common_share
from exchange_rate.estimation.noise import Noise
from exchange_rate.estimation.sandwich import Clusters, Figure, RobustFit

SMALL_SAMPLE = 2.0
"""Fuller's modification (1987, section 2.5): a denominator that is near zero by luck makes slopes that are huge on average. The noise is taken off less that many of its
degrees of freedom."""


@dataclass(frozen=True, eq=False)
class Line:
    """A fitted line.

    Attributes:
        frame: the encoders as weighed; fit: of height at the frame's centre and slope, which do not lean on each other there.
        around: `(encoders, encoders)` covariance of the whitened noise around the line; None where no noise is known.
        metric, outcome: `(encoders,)` as given.
    """

    frame: "Frame"
    fit: RobustFit
    around: Floats | None
    metric: Floats
    outcome: Floats

    @cached_property
    def slope(self) -> Figure:
        """Outcome per unit of the metric."""
        return self.fit.figure(np.array((0.0, 1.0)), self.around)

    @cached_property
    def height(self) -> Figure:
        """The line at the frame's centre."""
        return self.fit.figure(np.array((1.0, 0.0)), self.around)

    @cached_property
    def intercept(self) -> Figure:
        """The line at a metric of 0."""
        return self.fit.figure(np.array((1.0, -self.frame.centre)), self.around)

    @property
    def scatter(self) -> float:
        """Standard deviation of encoders around the line."""
        height, slope = self.fit.weights
        rest = self.outcome - height - slope * (self.metric - self.frame.centre)
        return float(np.sqrt(rest @ rest / max(len(rest) - 2, 1)))


def fit_line(
    metric: Floats,
    outcome: Floats,
    noise: Noise,
    clusters: Clusters,
    share: float | None = None,
) -> Line | None:
    """Fit; None where the metric's spread is no larger than its noise.

    Args:
        metric, outcome: `(encoders,)`.
        share: what encoders of one path have in common, where it is known from another fit; by default it is estimated.
    """
    frame = Frame.of(metric, outcome, noise, clusters, share)
    if frame is None:
        return None
    design = np.column_stack([frame.one, frame.white(metric) - frame.centre * frame.one])
    fit = RobustFit.of(design, frame.white(outcome), clusters, frame.lost, frame.lost_both)
    around = noise.through(frame.white).around(float(fit.weights[1])) if noise.is_known else None
    return Line(frame, fit, around, metric, outcome)


@dataclass(frozen=True, eq=False)
class Frame:
    """Encoders as the working model weighs them, and what of the metric's spread is noise.

    Attributes:
        share: of the scatter, what encoders of one path have in common; white: the whitening that follows from it.
        one: `(encoders,)` the whitened intercept.
        centre: the metric's weighed mean.
        spread: weighed squares of the metric around it.
        lost, lost_both: `(encoders,)` expected noise in each encoder's square of the metric, and in its product with the outcome.
    """

    share: float
    white: Whitening
    one: Floats
    centre: float
    spread: float
    lost: Floats
    lost_both: Floats

    @property
    def signal(self) -> float:
        """Share of the metric's spread that is not its noise."""
        return 1 - float(self.lost.sum()) / self.spread

    @classmethod
    def of(
        cls,
        metric: Floats,
        outcome: Floats,
        noise: Noise,
        clusters: Clusters,
        share: float | None = None,
    ) -> "Frame | None":
        """As `fit_line` has it; None where the metric's spread is no larger than its noise."""
        ones = np.ones(len(metric))
        if share is None:
            share = common_share(np.column_stack([ones, metric]), outcome, clusters)
        white = Whitening(share, clusters)
        one, x = white(ones), white(metric)
        centre = float(one @ x) / float(one @ one)
        away = x - centre * one
        spread = float(away @ away)
        lost = lost_both = np.zeros(len(one))
        if noise.is_known:
            own = noise.through(lambda values: off(one, white(values)))
            total = float(np.trace(own.metric))
            ease = 1 - SMALL_SAMPLE * float(np.sum(own.metric**2)) / total**2 if total else 1.0
            lost, lost_both = max(ease, 0.0) * own.metric.diagonal(), own.both.diagonal()
        if spread - float(lost.sum()) <= 1e-12 * float(x @ x):
            return None
        return cls(share, white, one, centre, spread, lost, lost_both)


def off(one: Floats, values: Floats) -> Floats:
    """`values` `(encoders, ...)` less their projection on `one` `(encoders,)`, along the first axis."""
    return values - np.multiply.outer(one, one @ values) / float(one @ one)


def is_within_noise(metric: Floats, noise: Noise, level: float) -> bool:
    """Whether the metric's spread over encoders is not told from what its noise alone would make.

    One-sided test of (J - 1) variances against the quadratic form of the noise, by a chi-squared variable of the same mean and variance (Satterthwaite); for equal and
    independent noise it is the exact chi-squared test.
    """
    own = noise.through(lambda values: values - values.mean(axis=0)).metric
    mean, square = float(np.trace(own)), float(np.sum(own**2))
    if mean <= 0:
        return False
    freedom = mean**2 / square
    away = metric - metric.mean()
    return bool(away @ away < mean / freedom * special.chdtri(freedom, 1 - level))
