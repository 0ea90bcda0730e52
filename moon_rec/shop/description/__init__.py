"""What a shop holds, in numbers: one typed result, which the terminal, the JSON and the page print."""

from moon_rec.shop.description.results import Description
from moon_rec.shop.description.whole import describe

__all__ = ["Description", "describe"]
