"""Paths as random effects: the working model that weighs encoders of one path, and its variance by REML.

    y_ij = a + b m_ij + path_i + error_ij,      var(path) = ratio * var(error)

Encoders of one path share path_i, so three checkpoints of one training say less about a line than three trainings. REML (Patterson and Thompson 1971) of the one
ratio, profiled over everything else:

    -2 l(ratio) = log|V| + log|X'V^-1 X| + (J - p) log(r'V^-1 r),      V = I + ratio Z Z'

V^-1/2 is partial demeaning: each value less theta_i times its path's mean, theta_i = 1 - 1/sqrt(1 + n_i ratio) (Fuller and Battese 1974). The working model only
weighs; intervals do not rest on it (`exchange_rate.estimation.sandwich`).
"""

import numpy as np

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.sandwich import Clusters

SHARES = np.linspace(0.0, 0.98, 50)
"""The share of the scatter that a path has in common, as searched; then again around the best."""
PRIOR = 2.0
"""A pair of checkpoints that happen to lie on one height would otherwise be taken for exact, and their two points for the whole line: seen in a study of eight encoders on
seven paths, where REML said .99."""


def common_share(design: Floats, outcome: Floats, clusters: Clusters) -> float:
    """REML estimate of ratio / (1 + ratio), the share of the scatter that encoders of one path have in common, `largest_share` at most; 0 where every encoder is its own path.

    Args:
        design: `(encoders, terms)`; outcome: `(encoders,)`.
    """
    if clusters.count == len(outcome) or len(outcome) <= design.shape[1] + 1:
        return 0.0
    values = np.column_stack([design, outcome])
    sizes = clusters.is_real.sum(axis=1)
    sums = clusters.sums(values)
    outer = sums[:, :, None] * sums[:, None, :]
    best = SHARES[np.argmin(_deviance(SHARES, values, sizes, outer))]
    step = SHARES[1]
    near = np.linspace(max(best - step, 0.0), min(best + step, 0.99), 41)
    return min(
        float(near[np.argmin(_deviance(near, values, sizes, outer))]), largest_share(clusters)
    )


def largest_share(clusters: Clusters) -> float:
    """The largest share that so many encoders can tell: f / (f + PRIOR), f encoders beyond the first of each path."""
    beyond = len(clusters.code) - clusters.count
    return beyond / (beyond + PRIOR)


def _deviance(shares: Floats, values: Floats, sizes: Floats, outer: Floats) -> Floats:
    """-2 times the restricted log-likelihood, `(shares,)`, up to a constant."""
    count, columns = values.shape
    ratio = shares / (1 - shares)
    inflation = 1 + sizes * ratio[:, None]
    products = values.T @ values - np.einsum("sg,gij->sij", ratio[:, None] / inflation, outer)
    terms = columns - 1
    log_design = np.linalg.slogdet(products[:, :terms, :terms])[1]
    log_rest = np.linalg.slogdet(products)[1] - log_design
    return np.log(inflation).sum(axis=1) + log_design + (count - terms) * log_rest


class Whitening:
    """V^-1/2 of the working model with a common share, as a linear map of encoders."""

    def __init__(self, share: float, clusters: Clusters) -> None:
        """Args:
        share: see `common_share`; clusters: the paths.
        """
        self.share, self.clusters = share, clusters
        self._sizes = clusters.is_real.sum(axis=1)
        self._theta = 1 - 1 / np.sqrt(1 + self._sizes * share / (1 - share))

    def __call__(self, values: Floats) -> Floats:
        """`values` `(encoders, ...)`, mapped along the first axis."""
        if self.share == 0:
            return values
        part = (self._theta / self._sizes).reshape((-1,) + (1,) * (values.ndim - 1))
        return values - (part * self.clusters.sums(values))[self.clusters.code]
