"""Context columns -> standardised numbers, with what was learnt of them from train rows.

Notable choices
- A null or NaN takes the train mean. With `missing_context="flag"`, a column that misses values in train rows
  also gets a 0/1 column that says where; one that misses none in training gets no such column, for
  nothing could be learnt of it. `"error"` refuses a missing value. Infinity is always refused.
- A column that is the same in all train rows is zero everywhere: nothing was learnt of another value.
- Position is a standardised logarithm in training and its train mean when scoring.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from moon_rec.errors import RankingError
from ranking.features.feature_config import FeatureConfig

POSITION = "position"


@dataclass(frozen=True)
class ContextColumn:
    """One numeric column of impressions.

    Attributes:
        name: of the column.
        mean, deviation: over train rows that have a value; deviation 0 where they all agree.
        has_flag: whether a 0/1 column for missing values follows it.
    """

    name: str
    mean: float
    deviation: float
    has_flag: bool = False

    @classmethod
    def fit(cls, train: pl.DataFrame, name: str, config: FeatureConfig) -> "ContextColumn":
        """Mean and deviation over train rows.

        Raises:
            RankingError: an infinite value, a missing one where those are refused, or none at all.
        """
        values = _numbers(train, name, config)
        missing = np.isnan(values)
        if missing.all():
            raise RankingError(
                f"context column {name!r} has no value in the train period; leave it out of context"
            )
        is_constant = np.nanmin(values) == np.nanmax(values)
        return cls(
            name,
            float(np.nanmean(values)),
            0.0 if is_constant else float(np.nanstd(values)),
            has_flag=config.missing_context == "flag" and bool(missing.any()),
        )

    @property
    def width(self) -> int:
        """Columns that it becomes."""
        return 1 + self.has_flag

    def standardise(self, frame: pl.DataFrame, config: FeatureConfig) -> np.ndarray:
        """The column of `frame`, `(rows, width)` float64; missing values are 0, the mean.

        Raises:
            RankingError: an infinite value, or a missing one where those are refused.
        """
        values = _numbers(frame, self.name, config)
        found = np.zeros((values.size, self.width))
        missing = np.isnan(values)
        if self.deviation > 0:
            found[:, 0] = np.where(missing, 0, (values - self.mean) / self.deviation)
        if self.has_flag:
            found[:, 1] = missing
        return found


def read_context(
    columns: tuple[ContextColumn, ...],
    frame: pl.DataFrame,
    config: FeatureConfig,
    in_training: bool,
) -> np.ndarray:
    """All columns of `frame` side by side, `(rows, num_context)` float32; position only in training."""
    found = np.zeros((frame.height, sum(column.width for column in columns)), dtype=np.float32)
    place = 0
    for column in columns:
        if in_training or column.name != POSITION:
            found[:, place : place + column.width] = column.standardise(frame, config)
        place += column.width
    return found


def context_names(config: FeatureConfig) -> tuple[str, ...]:
    """Columns in the order in which the ranker reads them."""
    return tuple(dict.fromkeys([*config.context, *([POSITION] if config.use_position else [])]))


def _numbers(frame: pl.DataFrame, name: str, config: FeatureConfig) -> np.ndarray:
    """The column as float64, NaN where missing."""
    values = frame[name].cast(pl.Float64).to_numpy()
    if name == POSITION:
        return np.log1p(np.maximum(values, 0))
    infinite = np.isinf(values)
    if infinite.any():
        raise RankingError(
            f"context column {name!r} is infinite in {int(infinite.sum())} rows "
            f"({_first(frame, infinite)}); write null where there is no value"
        )
    missing = np.isnan(values)
    if config.missing_context == "error" and missing.any():
        raise RankingError(
            f"context column {name!r} misses {int(missing.sum())} of {values.size} values "
            f'({_first(frame, missing)}); fill it, or set missing_context to "flag" or "mean"'
        )
    return values


def _first(frame: pl.DataFrame, rows: np.ndarray) -> str:
    row = frame.row(int(np.flatnonzero(rows)[0]), named=True)
    return f"first: request {row['request_id']}, item {row['item_id']}"
