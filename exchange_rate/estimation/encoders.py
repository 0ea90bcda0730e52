"""A table of runs -> encoders side by side: the metrics that all of them have, their outcomes by segment, and the noise in these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.leave_out import Codes, path_codes
from exchange_rate.estimation.points import Points
from exchange_rate.estimation.proxies import Sample, noise_of
from exchange_rate.estimation.ranking import points_of


def seed_variance(points: Points) -> float:
    """Variance of an encoder's mean outcome from the noise of seeds; 0 where one seed each leaves it unknown."""
    runs = np.array(points.num_runs, dtype=np.float64)
    return (
        float(points.seed_noise**2 * np.mean(1 / runs)) if np.isfinite(points.seed_noise) else 0.0
    )


@dataclass(frozen=True, eq=False)
class Encoders:
    """The encoders of a study, in order of first appearance.

    Attributes:
        points: outcome, paths and noise of seeds.
        codes: `(encoders,)` paths by number.
        names: metrics that are finite for every encoder and not the same for all; `values` `(encoders, names)`.
        sample: the same for `proxies`, with the noise taken from draws of users where there are any.
    """

    points: Points
    codes: Codes
    names: tuple[str, ...]
    values: Floats
    sample: Sample

    @classmethod
    def of(
        cls, rows: pl.DataFrame, outcome: str, names: Sequence[str], draws: Mapping[str, Draws]
    ) -> "Encoders":
        """Gather them; `draws` by metric."""
        points = points_of(rows, outcome)
        found = _by_encoder(rows, [name for name in names if rows.schema[name].is_numeric()])
        kept = tuple(
            name
            for name, one in found.items()
            if np.isfinite(one).all() and np.ptp(one) > 1e-12 * max(1.0, float(np.abs(one).max()))
        )
        values = (
            np.stack([found[name] for name in kept], axis=1)
            if kept
            else np.empty((len(points.names), 0))
        )
        noises = {name: noise_of(draws[name].of(points.names)) for name in kept if name in draws}
        users = float(np.mean([one[0] for one in noises.values()])) if noises else 0.0
        shared = np.array([noises[name][1] if name in noises else 0.0 for name in kept])
        codes = path_codes(points.paths)
        sample = Sample(values, points.outcome, codes, users + seed_variance(points), shared)
        return cls(points, codes, kept, values, sample)

    @property
    def num_paths(self) -> int:
        """Distinct paths."""
        return int(self.codes.max()) + 1

    def column(self, name: str) -> Floats:
        """`(encoders,)` one metric."""
        return self.values[:, self.names.index(name)]

    def with_more(self, columns: Mapping[str, Floats]) -> Sample:
        """The sample with further metrics `(encoders,)` behind its own."""
        more = [values[:, None] for values in columns.values()]
        return Sample(
            np.hstack([self.values, *more]),
            self.sample.outcome,
            self.codes,
            self.sample.outcome_noise,
            np.concatenate([self.sample.shared_noise, np.zeros(len(more))]),
        )

    def beside(self, rows: pl.DataFrame, columns: Mapping[str, Floats]) -> pl.DataFrame:
        """Runs with further metrics `(encoders,)` as columns."""
        place = {name: row for row, name in enumerate(self.points.names)}
        order = [place[str(name)] for name in rows["encoder"].to_list()]
        return rows.with_columns(
            **{name: pl.Series(values[order]) for name, values in columns.items()}
        )


@dataclass(frozen=True, eq=False)
class SegmentOutcomes:
    """Outcomes by segment of the encoders that have all of them.

    Attributes:
        kept: `(encoders,)` which encoders of `Encoders` those are.
        outcomes: by segment `(kept encoders,)`; `noises` their variance from seeds.
    """

    kept: np.ndarray
    outcomes: dict[str, Floats]
    noises: dict[str, float]

    @classmethod
    def of(
        cls, rows: pl.DataFrame, encoders: Encoders, segments: Mapping[str, str]
    ) -> "SegmentOutcomes":
        """Gather them; a segment that no encoder has is left out."""
        found = {}
        for segment, column in segments.items():
            own = rows.filter(pl.col(column).is_finite().fill_null(False))
            if len(own):
                points = points_of(own, column)
                values = dict(zip(points.names, points.outcome.tolist(), strict=True))
                found[segment] = (values, seed_variance(points))
        names = encoders.points.names
        kept = np.array([all(name in values for values, _ in found.values()) for name in names])
        chosen = [name for name, keep in zip(names, kept.tolist(), strict=True) if keep]
        outcomes = {
            segment: np.array([values[name] for name in chosen])
            for segment, (values, _) in found.items()
        }
        return cls(kept, outcomes, {segment: noise for segment, (_, noise) in found.items()})


def _by_encoder(rows: pl.DataFrame, metrics: Sequence[str]) -> dict[str, Floats]:
    """`(encoders,)` by metric: the first finite value of each; NaN where there is none."""
    values = [pl.col(name).cast(pl.Float64) for name in metrics]
    first = [value.filter(value.is_finite()).first().fill_null(float("nan")) for value in values]
    found = rows.group_by("encoder", maintain_order=True).agg(first)
    return {name: found[name].to_numpy() for name in metrics}
