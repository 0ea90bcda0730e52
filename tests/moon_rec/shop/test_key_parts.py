"""Rules over all keys say the same however many parts they are checked in."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from moon_rec.shop.key_parts import parts_by
from moon_rec.shop.log_rules import doubled
from moon_rec.shop.references import reference_problems


def impressions(num_pages=200):
    """Pages of two rows: every fifth stands twice, and some rows have another user or time than their page."""
    page = np.arange(2 * num_pages) // 2
    start = datetime(2024, 3, 1)
    rows = pl.DataFrame(
        {
            "request_id": page * 7 - 300,
            "user_id": page % 13 - 6,
            "item_id": np.arange(2 * num_pages) % 11,
            "time": [start + timedelta(minutes=int(each)) for each in page],
            "position": np.arange(2 * num_pages) % 2,
            "clicked": np.arange(2 * num_pages) % 3 == 0,
            "search_id": pl.Series([None] * (2 * num_pages), dtype=pl.Int64),
        }
    )
    again = rows.filter(pl.col("request_id") % 5 == 0).with_columns(pl.col("request_id") + 100_000)
    rows = pl.concat([rows, again])
    other = pl.int_range(pl.len()) % 97 == 96
    return rows, rows.with_columns(user_id=pl.col("user_id") + other.cast(pl.Int64) * 40)


@pytest.mark.parametrize("rows_a_part", [1, 7, 60])
def test_parts_change_nothing(rows_a_part, monkeypatch):
    whole, broken = impressions()
    frames = {"impressions": broken.lazy()}
    wanted = doubled(whole.lazy()), list(map(str, reference_problems(frames)))
    assert wanted[0].copies and "more than one user_id" in wanted[1][0]
    monkeypatch.setattr("moon_rec.shop.key_parts.ROWS_A_PART", rows_a_part)
    assert (doubled(whole.lazy()), list(map(str, reference_problems(frames)))) == wanted


def test_every_row_with_a_key_is_in_one_part(monkeypatch):
    monkeypatch.setattr("moon_rec.shop.key_parts.ROWS_A_PART", 3)
    rows = pl.DataFrame({"key": [3, None, -3, 3, 8, 8, 0, 1, 2, None], "row": range(10)})
    parts = [part.collect() for part in parts_by(rows.lazy(), "key")]
    assert sorted(pl.concat(parts)["row"]) == [0, 2, 3, 4, 5, 6, 7, 8]
    keys = [set(part["key"]) for part in parts if part.height]
    assert len(keys) > 1 and sum(map(len, keys)) == len(set.union(*keys))
