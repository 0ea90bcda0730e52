"""Points of a planted rate, and what an analysis makes of them."""

import numpy as np
import polars as pl
import pytest

from exchange_rate import analyse
from exchange_rate.analysis.results import Results

RECALL, WORDS = "image_search_recall@10", "text_search_recall@10"
ERROR = 0.01


def make_points() -> pl.DataFrame:
    """Seven encoders, three seeds, AUC rising by .2 per unit of recall."""
    random = np.random.default_rng(0)
    recall = np.linspace(0.1, 0.7, 7) + random.normal(0, 0.01, 7)
    words = random.uniform(0.2, 0.3, 7)
    rows = [
        {
            "encoder": f"encoder {place}",
            "seed": f"seed {seed}",
            RECALL: recall[place],
            f"{RECALL}_error": ERROR,
            WORDS: words[place],
            "auc": 0.6 + 0.2 * recall[place] + random.normal(0, 0.001),
        }
        for place in range(7)
        for seed in range(3)
    ]
    return pl.DataFrame(rows)


@pytest.fixture
def points() -> pl.DataFrame:
    return make_points()


@pytest.fixture(scope="session")
def found() -> Results:
    """The results of the planted points; tests copy it with changes."""
    return analyse(make_points())
