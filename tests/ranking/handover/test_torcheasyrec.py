"""The hand-over to TorchEasyRec: every row against the loader's, and a configuration that names its columns."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ranking.features import FeatureConfig, RankingTables
from ranking.handover import write_torcheasyrec
from ranking.loader import Loader


@pytest.fixture(scope="module")
def tables(planted) -> RankingTables:
    return RankingTables.build(planted.shop, FeatureConfig(history_length=5))


@pytest.fixture(scope="module")
def written(tables, planted, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("handover") / "torcheasyrec"
    write_torcheasyrec(tables, out, planted.items, history_vectors=True)
    return out


def test_every_row_is_the_loaders(tables, written, planted):
    frame = pl.read_parquet(written / "test.parquet")
    batch = next(iter(Loader(tables, "test", 10**6).epoch()))
    ids = {name: batch.ids[name] for name in batch.ids.keys()}  # noqa: SIM118
    assert frame["item"].to_list() == ids["item"].values().tolist()
    assert frame["label"].to_list() == batch.labels.tolist()
    owners = batch.request_rows.numpy()
    assert frame["user"].to_list() == ids["user"].values().numpy()[owners].tolist()
    pasts = [past.tolist() for past in ids["history_item"].to_dense()]
    assert frame["history__item"].to_list() == [pasts[owner] for owner in owners]
    vectors, _ = planted.items.lookup(tables.items.ids[tables.periods["test"].items])
    assert np.allclose(np.array(frame["item_vector"].to_list()), vectors)
    row = int(np.argmax([len(past) for past in frame["history__vector"]]))
    request = tables.periods["test"].row_requests()[row]
    requests = tables.periods["test"]
    newest = tables.history_events[
        requests.history_starts[request] : requests.history_ends[request]
    ]
    wanted, _ = planted.items.lookup(tables.items.ids[newest[::-1]])
    assert np.allclose(np.array(frame["history__vector"][row].to_list()), wanted)


def test_the_configuration_names_columns_that_are_there(tables, written):
    text = (written / "multi_tower_din.config").read_text()
    assert text.count("{") == text.count("}")
    columns = pl.read_parquet_schema(written / "train.parquet")
    grouped = set(re.findall(r'feature_names: "(\w+)"', text))
    assert {"user", "item", "history__item", "item_vector"} <= grouped
    assert grouped <= set(columns)
    inner = re.findall(r'sequence_name: "(\w+)"(.*?)(?=sequence_name|model_config)', text, re.S)
    for group, body in inner:
        for name in re.findall(r'feature_name: "(\w+)"', body):
            assert f"{group}__{name}" in columns
    sizes = dict(
        re.findall(r'feature_name: "(\w+)"\s+expression: "\w+:\w+"\s+num_buckets: (\d+)', text)
    )
    assert int(sizes["item"]) == tables.num_embeddings["item"]
