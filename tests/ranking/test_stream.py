"""Chunks hold whole requests, are of bounded size, and together are the files."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moon_rec.errors import RankingError
from ranking.features.feature_config import FeatureConfig
from ranking.stream import ImpressionStream

FIRST = (datetime(2026, 1, 1) - datetime(1970, 1, 1)) // timedelta(microseconds=1)
CONFIG = FeatureConfig(context=("dwell",))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40),
    chunk_rows=st.integers(1, 60),
    group=st.integers(1, 50),
)
def test_chunks_of_whole_requests(tmp_path, sizes, chunk_rows, group):
    requests = np.repeat(np.arange(len(sizes)), sizes)
    shown = pl.DataFrame(
        {
            "request_id": requests,
            "user_id": requests % 3,
            "item_id": np.arange(requests.size),
            "time": requests + FIRST,
            "clicked": requests % 2 == 0,
            "dwell": np.arange(requests.size) / 2,
        },
        schema_overrides={"time": pl.Datetime("us")},
    )
    shown.write_parquet(tmp_path / "shown.parquet", row_group_size=group)
    stream = ImpressionStream([tmp_path / "shown.parquet"], CONFIG)
    chunks = list(stream.chunks(chunk_rows))
    assert stream.num_rows == shown.height
    together = pl.concat(chunks)
    assert together.select("request_id", "item_id", "dwell").equals(
        shown.select("request_id", "item_id", "dwell")
    )
    held = [set(chunk["request_id"]) for chunk in chunks]
    assert sum(map(len, held)) == len(sizes)
    assert max(chunk.height for chunk in chunks) <= 2 * chunk_rows + max(sizes)
    assert together["clicked"].dtype == pl.Int8


def test_a_period_is_cut_out(planted):
    file = planted.shop.path / "impressions.parquet"
    stream = ImpressionStream([file], CONFIG, planted.shop, "validation")
    found = pl.concat(list(stream.chunks(50)))
    wanted = planted.shop.in_period(planted.shop.impressions, "validation").collect()
    assert found["item_id"].equals(wanted["item_id"])
    assert 0 < found.height < stream.num_rows


def test_any_damage_to_a_file_to_score_is_one_line(planted, tmp_path):
    """Bits, blocks and lengths: refused before the first row, or a file of other values; never a traceback."""
    file = tmp_path / "shown.parquet"
    planted.frames["impressions"].write_parquet(file, row_group_size=500)
    good, random, refused = file.read_bytes(), np.random.default_rng(0), 0
    for number in range(90):
        data, place = bytearray(good), int(random.integers(len(good)))
        if number % 3 == 0:
            data[place] ^= 1 << int(random.integers(8))
        elif number % 3 == 1:
            data[place : place + 40] = bytes(40)
        else:
            del data[place:]
        file.write_bytes(data)
        try:
            rows = sum(frame.height for frame in ImpressionStream([file], CONFIG).chunks(1_000))
            assert rows == planted.frames["impressions"].height
        except RankingError as error:
            assert str(file) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 50
