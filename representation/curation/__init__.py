"""Curation of positive pairs: the hardest query of an item, one pair a query and SPU, the mix of exposure, texts that name things."""

from representation.curation.config import CurationConfig
from representation.curation.curated import Curated, CurationStep
from representation.curation.entities import EntityRecogniser, Gazetteer
from representation.curation.steps import curate

__all__ = ["Curated", "CurationConfig", "CurationStep", "EntityRecogniser", "Gazetteer", "curate"]
