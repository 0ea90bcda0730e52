"""What an encoder that reasons writes about products that it was not trained on, those listed from the cut on: is it well formed, is it right.

Greedy answers; each figure a mean over products with Wilson's 95 % interval or, of F1, `moon_rec.shares.mean_share`'s. What counts is that of `rewards.py`.
"""

import numpy as np
import polars as pl

from moon_rec.estimate import Estimate
from moon_rec.progress import say
from moon_rec.seeds import generator
from moon_rec.shares import mean_share
from moon_rec.shop import Shop
from representation.core_region.crops import box_columns
from representation.encoder import ProductEncoder
from representation.pretraining.grading import as_logged
from representation.reasoning.encoder import ReasoningEncoder
from representation.reasoning.rewards import AttributeNames, attribute_f1, true_pairs

DEFINITIONS = {
    "attribute_validity": "share of products listed from the cut on of which the greedy answer comes to its end and is names and values alone, no name more often than a product has it",
    "attribute_f1": "F1 of the stated and the true attributes of products listed from the cut on, name and value; an answer that is not valid has 0",
}


class WritingGrader:
    """Grades what is written about the same products each time.

    Args:
        items: `item_id`, `title`, `attributes`, `image`, of products that have an attribute.
        names: those that an answer may state.
    """

    def __init__(self, items: pl.DataFrame, names: AttributeNames) -> None:
        self._items, self._names, self._true = items, names, true_pairs(items)

    @classmethod
    def of(cls, shop: Shop, num_products: int, seed: int = 0) -> "WritingGrader | None":
        """Of up to `num_products` products listed from the cut on, drawn by `seed`; None, which is said, where none of them has an attribute."""
        box = box_columns(shop.items.collect_schema().names())
        columns = shop.items.select("item_id", "title", "attributes", "image", "listed_at", *box)
        is_later = pl.col("listed_at") >= shop.cut_time
        later = columns.filter(is_later).select("item_id", "attributes").sort("item_id").collect()
        ids = later["item_id"].filter(
            pl.Series([bool(pairs) for pairs in true_pairs(later)], dtype=pl.Boolean)
        )
        if not len(ids):
            say(
                "what is written is not graded: no product with an attribute is listed from the cut on"
            )
            return None
        drawn = ids.gather(generator(seed, "graded").permutation(len(ids))[:num_products]).sort()
        chosen = columns.filter(pl.col("item_id").is_in(drawn.implode())).sort("item_id").collect()
        before = columns.filter(~is_later).select("attributes").collect()
        return cls(chosen, AttributeNames.of(before))

    def __call__(self, encoder: ProductEncoder) -> dict[str, float]:
        """Figures as a training's log keeps them: `NAME`, `NAME_low`, `NAME_high` and `NAME_products`; each is said in a line, too."""
        return as_logged(self.estimates(encoder))

    def estimates(self, encoder: ProductEncoder) -> dict[str, Estimate]:
        """The figures by name."""
        values = self.values(encoder)
        return {name: mean_share(of, definition=DEFINITIONS[name]) for name, of in values.items()}

    def values(self, encoder: ProductEncoder) -> dict[str, np.ndarray]:
        """What each product has of each figure, `(products,)`, by name; the same products in the same order each time."""
        assert isinstance(encoder, ReasoningEncoder)
        answers = encoder.answers(self._items, progress=False)
        stated = [self._names.read(one.text) if one.has_ended else None for one in answers]
        valid = np.array([float(pairs is not None) for pairs in stated])
        f1 = np.array(
            [0.0 if pairs is None else attribute_f1(pairs, true) for pairs, true in zip(stated, self._true, strict=True)]
        )  # fmt: skip
        return {"attribute_validity": valid, "attribute_f1": f1}
