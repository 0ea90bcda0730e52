"""What roll-outs earn on products that no training saw: the rewards of `rewards.py`, of searches by words from the cut on and products listed from then on.

A training's log tells what roll-outs of training earned, on products that it saw; whether rewards rise where it counts is told here. Roll-outs are drawn and rewarded as in
training, as many of each product, in batches as large, the same draws each time.
"""

import numpy as np
import polars as pl
import torch

from moon_rec.progress import say
from moon_rec.seeds import generator, seed_of
from moon_rec.shares import mean_share
from moon_rec.shop import Shop
from moon_rec.shop.engagement import engagements
from moon_rec.texts import has_text
from representation.encoder import ProductEncoder
from representation.negatives import KnownPositives
from representation.pretraining.grading import as_logged
from representation.reasoning.encoder import dialogue_of
from representation.reasoning.rewards import AttributeNames, true_pairs
from representation.reasoning.roll_outs import Branched, draw, read, with_seen_pictures
from representation.reasoning.train import ReasonConfig, asked_about, batches_of, earned

_WHOSE = "of roll-outs about products listed from the cut on, with the searches by words that led to them, in batches as in training"
DEFINITIONS = {
    "held_out_reward": f"mean reward {_WHOSE}",
    "held_out_f1": f"mean F1 of attributes {_WHOSE}; one that is not valid has 0",
    "held_out_success": f"share {_WHOSE} that find their search",
}


class HeldOutRewards:
    """Rewards of roll-outs about the same products each time.

    Attributes:
        bounds: least and most that a roll-out can earn.
    """

    def __init__(self, shop: Shop, config: ReasonConfig, pairs: pl.DataFrame, searches: pl.LazyFrame) -> None:  # fmt: skip
        """Use `of`."""
        self._config = config.model_copy(update={"seed": 0})  # pairs and draws of all trainings
        self._shop, self._pairs, self._searches = shop, pairs, searches
        self._items = asked_about(shop, pairs)
        before = shop.items.filter(pl.col("listed_at") < shop.cut_time).select("attributes")
        self._names = AttributeNames.of(before.collect())
        most = config.accuracy_weight + config.retrieval_weight
        self.bounds = (min(config.invalid_reward, 0.0), max(config.invalid_reward, most))

    @classmethod
    def of(cls, shop: Shop, config: ReasonConfig, num_products: int) -> "HeldOutRewards | None":
        """Of up to `num_products` products, whole batches of them, each with one search; None, which is said, where there is no batch."""
        listed = shop.items.filter(pl.col("listed_at") >= shop.cut_time)
        listed = listed.select("item_id", "spu_id", "attributes").collect()
        listed = listed.filter(pl.Series([bool(pairs) for pairs in true_pairs(listed)], dtype=pl.Boolean)).lazy()  # fmt: skip
        later = [engagements(shop, config.engagement, period) for period in ("validation", "test")]
        searches = shop.searches.filter((pl.col("time") >= shop.cut_time) & has_text("query_text"))
        found = pl.concat(later).join(listed.drop("attributes"), on="item_id")
        found = found.join(searches.select("search_id"), on="search_id", how="semi")
        pairs = found.sort("item_id", "time", "search_id").unique("item_id", keep="first").collect()
        pairs = pairs.sort("item_id")
        drawn = generator(0, "rewarded").permutation(pairs.height)[:num_products]
        whole = len(drawn) // config.batch_size * config.batch_size
        if not whole:
            say(
                f"rewards are not graded: {len(drawn)} products listed from the cut on were {config.engagement} after a search by words, and a batch has {config.batch_size}"
            )
            return None
        none = pl.lit(None, pl.Int64)
        columns = {"query_item_id": none, "has_image": pl.lit(True)}
        pairs = pairs[np.sort(drawn[:whole])].select("search_id", "item_id", "spu_id")
        return cls(shop, config, pairs.with_columns(**columns), searches)

    def __call__(self, encoder: ProductEncoder) -> dict[str, float]:
        """The figures as a training's log keeps them; see `WritingGrader`."""
        bounds = {"held_out_reward": self.bounds}
        return as_logged(
            {
                name: mean_share(
                    of, definition=DEFINITIONS[name], bounds=bounds.get(name, (0.0, 1.0))
                )
                for name, of in self.values(encoder).items()
            }
        )

    @torch.inference_mode()
    def values(self, encoder: ProductEncoder) -> dict[str, np.ndarray]:
        """Mean over the roll-outs of each product of each figure, `(products,)`, by name; the same products in the same order each time."""
        config, found = self._config, []
        known = KnownPositives.from_pairs({"text": self._pairs}, self._searches)
        made = batches_of(encoder, self._shop, config, self._pairs, self._searches, self._items, known)  # fmt: skip
        was_training = encoder.module.training
        encoder.module.eval()
        end, most = dialogue_of(encoder).end, config.answer_tokens
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(0, "rewarded"))
            for step in range(self._pairs.height // config.batch_size):
                batch = made.make(step).to(encoder.device)
                asked = with_seen_pictures(encoder.backbone, batch.asked)
                drawn = draw(encoder, batch.questions, asked, config.group_size, end, most, config.sampling_temperature)  # fmt: skip
                rolled = Branched.of(encoder, drawn, asked)
                vectors = read(encoder.backbone, rolled, config.sampling_temperature).vectors
                of = earned(config, self._names, batch, drawn.answers, encoder.embed(batch.queries), vectors)  # fmt: skip
                each = torch.stack([of.rewards, of.f1, of.success])
                found.append(each.unflatten(1, (-1, config.group_size)).mean(dim=2).cpu().numpy())
        encoder.module.train(was_training)
        return dict(zip(DEFINITIONS, np.hstack(found).astype(np.float64), strict=True))
