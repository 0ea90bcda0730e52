"""Frozen vectors by catalogue row, where they came from, and the semantic ids made of them."""

from ranking.content.stores import ContentStore, ContentStores

__all__ = ["ContentStore", "ContentStores"]
