"""The MOON family as recipes, each with a card that says of every mechanism of its paper how near to it this project is."""

from representation.recipes.card import NAMES, STATUSES, Card, Mechanism, read_card, read_cards

__all__ = ["NAMES", "STATUSES", "Card", "Mechanism", "read_card", "read_cards"]
