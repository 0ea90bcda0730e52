"""Impressions as a sorted frame in which the rows of a request stand together.

Notable choices
- What would silently become a number is refused by name: null ids, times and labels, a (request, item) pair
  that is there twice.
- Order depends on times and ids alone, never on how the file is sorted.
- Requests longer than `max_candidates` are cut into several with the same history, for candidates are
  padded to the longest request of a batch.
"""

import numpy as np
import polars as pl

from moon_rec.errors import RankingError
from moon_rec.shop import Shop
from ranking.features.feature_config import FeatureConfig, Period

LONGEST_CUT = 64
SHARED_COST = 1.0
KEYS = ("request_id", "search_id", "user_id", "item_id", "time")
NEVER_NULL = ("request_id", "user_id", "item_id", "time")


def read_period(
    shop: Shop, config: FeatureConfig, period: Period, may_be_empty: bool = False
) -> pl.DataFrame:
    """Impressions of a period, sorted as `in_requests` does.

    Raises:
        RankingError: no row (unless `may_be_empty`), a context column that is missing or not numeric, or a
            row that `check_rows` refuses.
    """
    check_context(shop.impressions.collect_schema(), config)
    columns = dict.fromkeys([*KEYS, "position", config.label, *config.context])
    frame = shop.in_period(shop.impressions.select(*columns), period).collect()
    if frame.height == 0 and not may_be_empty:
        raise RankingError(
            f"{shop.path}: no impression in the {period} period; move cut_time or test_time"
        )
    where = f"{shop.path}, {period} impressions"
    check_rows(frame, (*NEVER_NULL, config.label), where)
    frame = in_requests(frame)
    _refuse_doubles(frame, where)
    return frame


def check_context(schema: pl.Schema, config: FeatureConfig, where: str = "impressions") -> None:
    """Raise RankingError that names every context column which is absent or holds no numbers."""
    wrong = [
        f"{name!r} of {where} is {schema.get(name, 'absent')}"
        for name in config.context
        if name not in schema or not (schema[name].is_numeric() or schema[name] == pl.Boolean)
    ]
    if wrong:
        raise RankingError(
            f"context column {', '.join(wrong)}: wanted numbers; leave it out of context or encode it"
        )


def check_rows(frame: pl.DataFrame, never_null: tuple[str, ...], where: str) -> None:
    """Raise RankingError at the first of the named columns that holds a null."""
    for name in never_null:
        number = frame[name].null_count()
        if number:
            row = frame.row(int(frame[name].is_null().arg_max() or 0), named=True)
            first = ", ".join(f"{key} {row[key]}" for key in ("request_id", "item_id"))
            raise RankingError(
                f"{where}: {name} is null in {number} of {frame.height} rows (first: {first}); fill it "
                "or drop the rows, and check the shop with `python -m moon_rec shop check`"
            )


def in_requests(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows by request in order of its first time (the new column `start`), then by item."""
    frame = frame.with_columns(start=pl.col("time").min().over("request_id", "user_id"))
    return frame.sort("start", "request_id", "user_id", "search_id", "item_id", nulls_last=False)


def _refuse_doubles(frame: pl.DataFrame, where: str) -> None:
    keys = frame.select("request_id", "user_id", "item_id").to_numpy()
    twice = np.flatnonzero((keys[1:] == keys[:-1]).all(axis=1))
    if twice.size:
        request, _, item = keys[twice[0]].tolist()
        raise RankingError(
            f"{where}: request {request} shows item {item} twice ({twice.size} such rows); keep one row "
            "of each, and check the shop with `python -m moon_rec shop check`"
        )


def request_bounds(frame: pl.DataFrame, cut: int | None = None) -> np.ndarray:
    """Where requests begin, and the end: at a new id, user or search, or after `cut` rows."""
    keys = frame.select("request_id", "user_id", pl.col("search_id").fill_null(-1)).to_numpy()
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    if cut is not None:
        first = np.flatnonzero(begins)
        place = np.arange(len(keys)) - np.repeat(first, np.diff(np.append(first, len(keys))))
        begins |= place % cut == 0
    return np.append(np.flatnonzero(begins), len(keys))


def cheapest_cut(sizes: np.ndarray) -> int:
    """The length at which to cut requests, up to `LONGEST_CUT`: a piece of any length costs as many
    candidates as the cut, for it is padded to it, and `SHARED_COST` more for its history."""
    cuts = np.arange(1, min(LONGEST_CUT, int(sizes.max())) + 1)
    pieces = np.array([np.ceil(sizes / cut).sum() for cut in cuts])
    return int(cuts[np.argmin(pieces * (cuts + SHARED_COST))])
