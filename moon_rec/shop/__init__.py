"""The tables of a shop: opened, written, checked, and what is derived from them."""

from moon_rec.shop.engagement import engagements, exposure_counts
from moon_rec.shop.history import Histories
from moon_rec.shop.pictures import decode
from moon_rec.shop.shop import Shop
from moon_rec.shop.validation import validate_folder
from moon_rec.shop.writer import ShopWriter

__all__ = [
    "Histories",
    "Shop",
    "ShopWriter",
    "decode",
    "engagements",
    "exposure_counts",
    "validate_folder",
]
