"""What all stages share: shops, embedding tables, settings, tracking. See docs/design.md."""

from moon_rec.data_folder import data_folder
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.estimate import Estimate

__all__ = ["EmbeddingTable", "Estimate", "data_folder"]
