"""The tables of a shop: opened, written, checked, and what is derived from them."""

from moon_rec.shop.shop import Shop
from moon_rec.shop.writer import ShopWriter

__all__ = ["Shop", "ShopWriter"]
