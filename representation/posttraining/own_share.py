"""How much of a batch is made of the products themselves (`own_pictures.py`, `own_words.py`) where no share is asked for: less, the more the log says.

A shop with few searches of few of its products learns most from the products' own pictures and words; one with many searches a product has the real thing. So the share
falls with the pairs a product has, in the log before the cut:

    share = most / (1 + pairs per product / HALVED_AT)

The form and `HALVED_AT` are ours. Measured: docs/log.md, 2026-11-27, with what was not.
"""

HALVED_AT = 10.0
"""Pairs a product at which the share is half of what it is without any."""


def own_share(most: float, num_pairs: int, num_products: int) -> float:
    """The share, rounded to a hundredth.

    Args:
        most: without any pair.
        num_pairs: of the log, of the form of query that the own pairs stand beside.
        num_products: listed before the cut, at least 1.
    """
    return round(most / (1 + num_pairs / max(num_products, 1) / HALVED_AT), 2)
