"""A period's impressions with their scores, as the table that everything asked later is answered from; and the refusal of equal periods."""

from typing import Protocol

import numpy as np
import polars as pl

from moon_rec.errors import RankingError
from ranking.features import Period, RankingTables

COLUMNS = (
    "request_id", "item_id", "user_id", "label", "score", "is_cold",
    "category", "price_bucket", "history_length", "user_activity",
)  # fmt: skip
"""Of a table of scores."""


class Scorer(Protocol):
    """A ranker, or anything else that scores tables."""

    def predict(self, tables: RankingTables, period: Period) -> np.ndarray:
        """Click probabilities `(rows,)`."""
        ...


def score(ranker: Scorer, tables: RankingTables, period: Period = "test") -> pl.DataFrame:
    """Scores of a period's impressions.

    Returns:
        One row an impression, in order of time: `request_id, item_id, user_id, label, score, is_cold`;
        the score is a click probability (float64), cold means fewer than `cold_below` train impressions.
        Then what to group by: `category` (leading level; null where the train period does not know
        it), `price_bucket` (from 1 up at the train items' quantiles; null without a price),
        `history_length` (behaviours before the request, as many as the ranker may read) and
        `user_activity` (the user's impressions among those that the ranker was trained on, whichever shop
        is scored).

    Raises:
        RankingError: tables other than the ranker's, or validation and test that are the same rows.
    """
    refuse_equal_periods(tables)
    rows = impressions_of(tables, period)
    place = rows.columns.index("label") + 1
    return rows.insert_column(place, pl.Series("score", ranker.predict(tables, period)))


def impressions_of(tables: RankingTables, period: Period) -> pl.DataFrame:
    """What `score` says of a period's impressions besides their score."""
    requests = tables.periods[period]
    place = requests.row_requests()
    return pl.DataFrame(
        {
            "request_id": requests.request_ids[place],
            "item_id": requests.item_ids,
            "user_id": requests.user_ids[place],
            "label": requests.labels.astype(np.int8),
            "is_cold": requests.is_cold,
            "category": _leading_categories(tables)[requests.items],
            "price_bucket": _price_buckets(tables)[requests.items],
            "history_length": (requests.history_ends - requests.history_starts)[place],
            "user_activity": tables.preparation.user_counts[requests.users][place],
        }
    )


def _leading_categories(tables: RankingTables) -> pl.Series:
    """First level of each catalogue row's category path, null where unknown."""
    known = tables.vocabularies["category"].values.cast(pl.String).str.split("/").list.first()
    values = pl.concat([pl.Series([None], dtype=pl.String), known.rename("")])
    return values.gather(tables.items.features["category"])


def _price_buckets(tables: RankingTables) -> pl.Series:
    """Price bucket of each catalogue row, null without a price."""
    buckets = pl.Series(tables.items.features["price"])
    return buckets.set(buckets == 0, None)


def refuse_equal_periods(tables: RankingTables) -> None:
    """Raise RankingError where validation and test hold an impression in common."""
    rows = [_keys(tables, period) for period in ("validation", "test")]
    common = rows[0].join(rows[1], on=["request_id", "item_id"], how="semi")
    if common.height:
        raise RankingError(
            f"validation and test share {common.height} impressions (first: request "
            f"{common['request_id'][0]}); what chooses must not judge: mend the two times"
        )


def _keys(tables: RankingTables, period: Period) -> pl.DataFrame:
    requests = tables.periods[period]
    return pl.DataFrame(
        {"request_id": requests.request_ids[requests.row_requests()], "item_id": requests.item_ids}
    )
