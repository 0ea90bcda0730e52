"""Context columns -> standardised numbers, with what was learnt of them from train rows.

Notable choices
- A null or NaN takes the train mean. With `missing_context="flag"`, a column that misses values in train rows
  also gets a 0/1 column that says where; one that misses none in training gets no such column, for
  nothing could be learnt of it. `"error"` refuses a missing value. Infinity is always refused.
- A column that is the same in all train rows is zero everywhere: nothing was learnt of another value.
- Position is a standardised logarithm in training and its train mean when scoring.
- Outcomes and keys are no context, whatever is asked for. A column that alone tells the train labels nearly perfectly, by its values or by where it is missing, was filled in after
  the click (`moon_rec.shop.leaks.knowledge`): it is refused unless `trusted_context` asks for it by name.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from moon_rec.errors import RankingError
from moon_rec.shop.leaks import knowledge, position_knowledge
from ranking.features.feature_config import FeatureConfig

POSITION = "position"
OUTCOMES = ("clicked", "carted", "purchased")
KEYS = ("request_id", "search_id", "user_id", "item_id", "time")


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


def refuse_answers(train: pl.DataFrame, config: FeatureConfig, where: object) -> None:
    """Refuse columns of context that are or know the label, and those that are keys.

    Args:
        train: impressions of the train period with label, position and context columns.
        where: the shop's folder, for the message.

    Raises:
        RankingError: an outcome or a key, a column whose AUC is beyond belief, or one that only positive rows have.
    """
    for name in config.context:
        if name in OUTCOMES:
            raise RankingError(
                f"{where}: context column {name!r} is an outcome, known only after the page was shown; leave it out of context"
            )
        if name in KEYS:
            raise RankingError(
                f"{where}: context column {name!r} is a key of the log and no quantity; leave it out of context (users, items "
                "and searches are read as ids)"
            )
    for name in context_names(config):
        if name in config.trusted_context:
            continue
        if name == POSITION:
            found = position_knowledge(train, config.label)
        else:
            found = knowledge(train[name], train[config.label])
        if not found.is_believable:
            leave = "leave it out of context" if name in config.context else "turn use_position off"
            raise RankingError(
                f"{where}: context column {name!r} knows {config.label} in the train period: {found}; {leave}, or, if it is "
                f'known before the page is shown, ask for it by name: trusted_context=["{name}"]'
            )


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
