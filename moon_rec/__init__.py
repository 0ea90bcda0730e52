"""What all stages share: shops, embedding tables, settings, tracking. See docs/design.md."""

import moon_rec.signals  # first: a signal is heard while the rest loads

# isort: split
import moon_rec.reachable  # noqa: F401 - then: a tracking server is asked while the rest loads

# isort: split
from moon_rec.data_folder import data_folder
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.estimate import Estimate
from moon_rec.shop import Shop
from moon_rec.shop.simulate import simulate_shop

__all__ = ["EmbeddingTable", "Estimate", "Shop", "data_folder", "simulate_shop"]
