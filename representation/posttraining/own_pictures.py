"""How much of a batch of queries by picture products' own pictures may be, altered.

An altered view puts the product on another ground, and tells product from ground by brightness (`augmentation.py`): a catalogue picture on white, as most shops have them. Any other
ground stays in the view, and tells in part which product it is, as no shopper's photo does. So where no share is asked for, a shop most of whose pictures stand on white gets more of
them than another, and either gets fewer the more pairs its log has (`own_share.py`). A choice of ours; measured (docs/log.md, 2026-11-25, recall@10 by picture): Myntra, on white, share 0 .046, .5 .093, .8 .127; a drawn shop, on colours, after
both parts .425, .470, .479, the last two after the first part alone .419 and .405 (a standard error is .025).
"""

import numpy as np
import polars as pl

from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.seeds import generator
from moon_rec.shop import Shop
from moon_rec.shop.pictures import decode
from representation.model.pixels import square
from representation.posttraining.augmentation import is_ground
from representation.posttraining.pairs import known_items

SHARE_ON_WHITE = 0.8
SHARE_ELSE = 0.5
SAMPLED = 256
SIDE = 64
LEAST_GROUND = 0.1
"""A picture stands on white where at least this share of its pixels is near white."""
LEAST_PICTURES = 0.5


def share_on_white(shop: Shop, seed: int = 0) -> tuple[float, int]:
    """Share of catalogue pictures that stand on white, among up to `SAMPLED` drawn from the products listed before the cut, and how many were looked at.

    Pictures that do not decode are left to the training, which names them where it needs them; without any picture the share is 0.
    """
    ids = known_items(shop).filter("has_image").sort("item_id").collect()["item_id"]
    drawn = generator(seed, "own pictures").permutation(len(ids))[:SAMPLED]
    chosen = pl.DataFrame({"item_id": ids.gather(drawn)})
    found = []
    for piece in shop.pictures("items"):
        for data in piece.join(chosen, on="item_id", how="semi")["image"]:
            try:
                pixels = square(decode(data), SIDE)
            except ShopError:
                continue
            found.append(is_ground(pixels).mean() >= LEAST_GROUND)
    return float(np.mean(found)) if found else 0.0, len(found)


def most_own_pictures(shop: Shop, seed: int = 0) -> float:
    """The share where the log has no pair (`own_share.py`): `SHARE_ON_WHITE` where at least `LEAST_PICTURES` of the catalogue's pictures stand on white, else `SHARE_ELSE`."""
    share, count = share_on_white(shop, seed)
    chosen = SHARE_ON_WHITE if share >= LEAST_PICTURES else SHARE_ELSE
    if count:
        say(
            f"{share:.0%} of {count} catalogue pictures stand on white: own_picture_share from {chosen:g} down"
        )
    return chosen
