"""The tables that speed is measured on: what they claim to be, and the same rows whole and cut."""

import numpy as np
import torch

from benchmarks.din_steps import Bench
from benchmarks.synthetic_tables import ALL_FEATURES, one_row_a_request, synthetic_tables
from ranking.config import RankerConfig
from ranking.loader import Loader
from ranking.training.course import input_sizes, new_ranker

SMALL = {**ALL_FEATURES, "item": 50, "user": 7, "category": 4, "brand": 0}
CONFIG = RankerConfig(embedding_dim=4, attention_dim=8, tower=(8,), batch_size=16)


def test_lengths_and_values_are_those_asked_for():
    tables = synthetic_tables(40, 3, (2, 6), SMALL)
    requests = tables.periods["train"]
    lengths = requests.history_ends - requests.history_starts
    assert (lengths.min(), lengths.max()) == (2, 6) and requests.num_rows == 120
    features = tables.items.features
    assert features["category"].max() == 4 and not features["brand"].any()
    for name, rows in features.items():
        assert rows.max() < tables.num_embeddings[name]


def test_rows_one_by_one_score_as_in_their_requests():
    whole = synthetic_tables(20, 4, (3, 5), SMALL)
    cut = one_row_a_request(whole)
    model = new_ranker(whole, input_sizes(whole, None), CONFIG).eval()
    scores = []
    for tables in (whole, cut):
        batches = list(Loader(tables, "train", 16).epoch())
        assert sum(batch.num_rows for batch in batches) == 80
        found = torch.cat([model(batch) for batch in batches]).detach().numpy()
        order = np.concatenate([batch.table_rows.numpy() for batch in batches])
        scores.append(found[np.argsort(order)])
    assert np.abs(scores[0] - scores[1]).max() < 1e-5


def test_every_measurement_is_a_rate():
    bench = Bench(synthetic_tables(40, 1, (2, 6), SMALL), CONFIG)
    assert min(bench.loading(), bench.ready_batches(), bench.whole_loop()) > 0
