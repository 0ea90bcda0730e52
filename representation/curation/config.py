"""Settings of curation: which of the report's four steps are taken, and how far each goes.

The report (MOON technical report, second post-training stage) names the steps and gives no number for any of them: every number here is our choice.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from moon_rec.bounds import MOST_COUNTED, Count, CountOrZero, Seed, Share
from moon_rec.config import Config, CountsWhen, Rules


def _read_by(step: str) -> CountsWhen:
    return CountsWhen(
        lambda config: bool(getattr(config, step)),
        f"{step} is off ({{self.{step}!r}}); leave it out or switch that on",
    )


class CurationConfig(Config):
    """How pairs are curated; each step can be switched off by itself.

    Attributes:
        hardest_query: of an item with many queries of one kind, keep the pairs whose query is least like it under a previous model.
        hardest_keep, hardest_from: how many such pairs are kept, of an item with at least how many.
        hardest_least_similarity: pairs less alike than this are taken for noise and kept only where an item has too few others; -1: none is.
        merge_spu: a query and an SPU make one pair, however many of its SKUs were engaged with.
        spu_item: which SKU stands for its SPU. `representative`: for all pairs the same, the one engaged with most often (one with a picture before one without);
            `own`: a pair keeps the SKU that was engaged with, which leaves more items to learn from.
        rebalance_categories: drop pairs of over-represented categories, so that each kind's mix of categories nears that of what was shown before the cut.
        rebalance_distance: total variation from the mix of exposure at which a kind's mix is near enough; nothing more is dropped. 0: as near as can be.
        rebalance_keep: least share of a kind's pairs that stays, however far the mix then is: an exact match can cost nearly all pairs, where one category has few.
        rebalance_depth: levels of the category path that make a category; 0: all, so the leaf.
        rebalance_last: re-balance after the entity filter rather than before it, in the report's order; the filter then cannot unsettle the mix again.
        fewest_entities: drop pairs with fewer entities than this in a text; 0 switches the filter off.
        entities_in: `each` text of a pair must hold as many (query and title); or the `title` alone, or both `together`. A query without words is never a reason.
        fold_plural: let the gazetteer take a word's final s for a plural's, in words of four letters or more, so that `shirt` finds the category `Shirts`.
        seed: of what re-balancing drops; None: 0, and in a post-training that of the training.
    """

    hardest_query: bool = True
    hardest_keep: Count = 1
    hardest_from: Annotated[int, Field(ge=2, le=MOST_COUNTED)] = 2
    hardest_least_similarity: Annotated[float, Field(ge=-1, le=1)] = -1.0
    merge_spu: bool = True
    spu_item: Literal["representative", "own"] = "representative"
    rebalance_categories: bool = True
    rebalance_distance: Share = 0.05
    rebalance_keep: Annotated[float, Field(gt=0, le=1)] = 0.5
    rebalance_depth: CountOrZero = 0
    rebalance_last: bool = False
    fewest_entities: CountOrZero = 2
    entities_in: Literal["each", "title", "together"] = "each"
    fold_plural: bool = True
    seed: Seed | None = None

    counts_when: ClassVar[Rules] = {
        **dict.fromkeys(
            ("hardest_keep", "hardest_from", "hardest_least_similarity"), _read_by("hardest_query")
        ),
        "spu_item": _read_by("merge_spu"),
        **dict.fromkeys(
            ("rebalance_distance", "rebalance_keep", "seed"), _read_by("rebalance_categories")
        ),
        "rebalance_last": CountsWhen(
            lambda config: config.rebalance_categories and config.fewest_entities > 0,
            "one of re-balancing and the entity filter is off; leave it out",
        ),
        **dict.fromkeys(("entities_in", "fold_plural"), _read_by("fewest_entities")),
    }
