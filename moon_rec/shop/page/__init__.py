"""A shop's description as files: one page, its numbers with their schema, and its figures."""

from moon_rec.shop.page.files import DESCRIBED, write_description
from moon_rec.shop.page.products import products

__all__ = ["DESCRIBED", "products", "write_description"]
