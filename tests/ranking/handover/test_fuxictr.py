"""The hand-over to FuxiCTR: read back by FuxiCTR itself, and by hand."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from ranking.features import FeatureConfig, RankingTables
from ranking.handover import write_fuxictr
from ranking.loader import Loader

READ_BACK = """
import importlib.util, sys, warnings
from unittest.mock import MagicMock
# imported by its preprocessing and its Parquet loader, which take no part here
for name in ("ray", "h5py"):
    if importlib.util.find_spec(name) is None:
        sys.modules[name] = MagicMock()
        for part in ("data", "data.datasource", "data.datasource.filename_provider"):
            sys.modules[f"{name}.{part}"] = MagicMock()
warnings.simplefilter("ignore")
import numpy as np, torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import FeatureEmbeddingDict
folder, out = sys.argv[1:]
features = FeatureMap("shop", folder)
features.load(folder + "/feature_map.json", {"embedding_dim": 4})
layer = FeatureEmbeddingDict(features, 4)
found = {}
for name in ("train", "valid", "test"):
    loader, _ = RankDataLoader(features, stage="train", train_data=f"{folder}/{name}.npz", batch_size=64,
                               shuffle=False, data_format="npz", num_workers=0)
    batches = list(loader)
    for key in batches[0]:
        found[f"{name}.{key}"] = torch.cat([batch[key] for batch in batches]).numpy()
    inputs = {k: v for k, v in batches[0].items() if k in layer.embedding_layers}
    looked_up = layer(inputs)
    assert looked_up["history_item"].shape[1:] == (features.features["history_item"]["max_len"], 4)
    assert layer.embedding_layers["history_item"] is layer.embedding_layers["item"]
    if "item_vector" in inputs:
        pretrained = layer.embedding_layers["item_vector"].pretrain_embedding
        assert not pretrained.weight.requires_grad
        found["vectors"] = pretrained.weight.detach().numpy()
np.savez(out, **found)
"""


@pytest.fixture(scope="module")
def tables(planted) -> RankingTables:
    return RankingTables.build(planted.shop, FeatureConfig(history_length=7, max_candidates=4))


@pytest.fixture(scope="module")
def written(tables, planted, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("handover") / "fuxictr"
    write_fuxictr(tables, out, planted.items.permuted(3))
    return out


def expected(tables: RankingTables, period: str) -> dict[str, np.ndarray]:
    """Row by row from the loader's batches: known ids as they are, unknown last, histories oldest first."""
    rows: dict[str, list] = {}
    requests = tables.periods[period]
    for request in range(requests.request_ids.size):
        batch = Loader(tables, period, 1).batch(np.array([request]))
        own = {name: batch.ids[name].values().numpy() for name in batch.ids.keys()}  # noqa: SIM118
        for row in range(batch.num_rows):
            for name in ("user", "item", "category", "brand", "price", "query"):
                value = own[name][row if name not in ("user", "query") else 0]
                unknown = tables.num_embeddings[name]
                rows.setdefault(name, []).append(value if value else unknown)
            for name in ("item", "category", "brand"):
                unknown = tables.num_embeddings[name]
                past = [value if value else unknown for value in own[f"history_{name}"][::-1]]
                rows.setdefault(f"history_{name}", []).append([0] * (7 - len(past)) + past)
            rows.setdefault("label", []).append(float(batch.labels[row]))
    return {name: np.array(values) for name, values in rows.items()}


def check(found: dict[str, np.ndarray], tables: RankingTables, period: str) -> None:
    wanted = expected(tables, period)
    for name, values in wanted.items():
        if name in found:
            assert np.array_equal(found[name], values), name
    assert {"user", "item", "history_item", "label"} <= found.keys() & wanted.keys()
    requests = tables.periods[period]
    assert np.array_equal(found["item_vector"], requests.items + 1)
    assert np.array_equal(
        found["request_id"], np.repeat(requests.request_ids, np.diff(requests.offsets))
    )


@pytest.mark.parametrize(("period", "file"), [("train", "train"), ("validation", "valid")])
def test_every_row_is_the_loaders(tables, written, period, file):
    check(dict(np.load(written / "shop" / f"{file}.npz", allow_pickle=False)), tables, period)


def test_the_vectors_are_by_item_id_in_its_vocabulary(tables, written, planted):
    stored = np.load(written / "shop" / "item_vectors.npz", allow_pickle=False)
    vocabulary = json.loads((written / "shop" / "feature_vocab.json").read_text())["item_vector"]
    vectors, _ = planted.items.permuted(3).lookup(stored["key"])
    assert np.array_equal(stored["value"], vectors)
    assert [vocabulary[str(key)] for key in stored["key"]] == list(
        tables.items.rows(stored["key"]) + 1
    )


@pytest.mark.skipif(
    find_spec("fuxictr") is None,
    reason="FuxiCTR is not installed: pip install --no-deps -r requirements/torchrec.txt",
)
def test_fuxictr_reads_it_back(tables, written, planted, tmp_path):
    out = tmp_path / "found.npz"
    words = [sys.executable, "-c", READ_BACK, str(written / "shop"), str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = dict(np.load(out, allow_pickle=False))
    for period, file in (("train", "train"), ("validation", "valid"), ("test", "test")):
        start = f"{file}."
        own = {name.removeprefix(start): v for name, v in found.items() if name.startswith(start)}
        check(own, tables, period)
    vectors, present = planted.items.permuted(3).lookup(tables.items.ids)
    assert np.allclose(found["vectors"][1:-1][present], vectors[present], atol=1e-6)
    assert not found["vectors"][[0, -1]].any()
