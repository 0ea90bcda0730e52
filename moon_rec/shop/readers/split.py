"""Where time cuts a shop that came without cuts of its own."""

from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl

from moon_rec.errors import ShopError

_EPOCH = datetime(1970, 1, 1)


def check_shares(cut_share: float, test_share: float) -> None:
    """Validation lies between the two shares, so they must ascend.

    Raises:
        ShopError: they do not.
    """
    if not 0 < cut_share < test_share < 1:
        raise ShopError(
            f"cut_share {cut_share} and test_share {test_share}: wanted 0 < cut_share < test_share < 1, such as 0.8 and 0.9"
        )


def check_cuts(cut_time: datetime | None, test_time: datetime | None) -> None:
    """Two times that are named cut a shop; one alone does not.

    Raises:
        ShopError: one is named without the other.
    """
    if (cut_time is None) != (test_time is None):
        raise ShopError(
            "give both cut_time and test_time, or neither to split by cut_share and test_share"
        )


def split_times(times: pl.Series, cut_share: float, test_share: float) -> tuple[datetime, datetime]:
    """The times before which a share of the events lies: (cut_time, test_time).

    Raises:
        ShopError: the two fall on one moment, so that validation would be empty, or train is empty.
    """
    if not times.len() - times.null_count():
        raise ShopError("there are no events to split: the table of impressions is empty")
    counts = times.cast(pl.Datetime("us")).cast(pl.Int64)
    return split_at(
        lambda share: int(counts.quantile(share, interpolation="lower")),  # type: ignore[arg-type]
        cut_share,
        test_share,
    )


def split_at(
    moment_at: Callable[[float], int], cut_share: float, test_share: float
) -> tuple[datetime, datetime]:
    """The same of events that need not be in memory.

    Args:
        moment_at: gives the time, in microseconds since 1970, before which a share of them lies: the quantile, the lower of two.

    Raises:
        ShopError: as `split_times`.
    """
    first, cut_time, test_time = (
        _EPOCH + timedelta(microseconds=moment_at(share)) for share in (0, cut_share, test_share)
    )
    if not first < cut_time < test_time:
        raise ShopError(
            f"cut_time {cut_time} and test_time {test_time} leave a period empty (events begin at {first}): "
            "move cut_share and test_share apart, or take more data"
        )
    return cut_time, test_time
