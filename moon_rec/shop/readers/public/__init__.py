"""Public data sets in the layouts that their publishers ship, each a TOML map for the importer of interactions."""

from moon_rec.shop.readers.public.reader import import_public_set
from moon_rec.shop.readers.public.sets import PublicSet, public_set, public_sets

__all__ = ["PublicSet", "import_public_set", "public_set", "public_sets"]
