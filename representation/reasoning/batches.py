"""Batches of searches by words and what was engaged with: what a step of reasoning is given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch
from torch import Tensor

from moon_rec.seeds import generator
from representation.core_region.box import Box
from representation.encoder import ProductEncoder
from representation.model.backbone import Inputs
from representation.negatives import KnownPositives
from representation.pretraining.objective import Dialogue
from representation.reasoning.encoder import questions_of
from representation.reasoning.rewards import Pairs, true_pairs
from representation.training.picture_store import PictureStore


@dataclass
class ReasoningBatch:
    """Pairs of a search's words and a product.

    Attributes:
        queries: the words.
        asked: the question about each product, up to its answer.
        questions: the same as token ids.
        blocked: `(pairs, pairs)` boolean, True where the product is known to be no negative of the query; False for its own.
        passed: `(pairs, pairs)` boolean, True where the query of a column is another one that the product of the row answers.
        true: attributes of each product.
    """

    queries: Inputs
    asked: Inputs
    questions: list[list[int]]
    blocked: Tensor
    passed: Tensor
    true: list[Pairs]

    def to(self, device: torch.device) -> "ReasoningBatch":
        """The same on `device`."""
        return replace(
            self,
            queries=self.queries.to(device),
            asked=self.asked.to(device),
            blocked=self.blocked.to(device),
            passed=self.passed.to(device),
        )

    @property
    def label(self) -> str:
        """Of none: all batches are alike."""
        return ""

    @property
    def num_pairs(self) -> int:
        """Pairs."""
        return len(self.questions)

    @property
    def num_tokens(self) -> int:
        """Real tokens before the answers, which are drawn later and not counted."""
        return self.queries.num_tokens + self.asked.num_tokens


class ReasoningBatches:
    """Pairs in a seeded order, epoch by epoch; step s always gives the same batch.

    Args:
        pairs: with the columns of `posttraining.pairs.COLUMNS`.
        words: search_id and query_text of all of them.
        items: `item_id`, `title`, `attributes`, `has_image` of all that the pairs hold, ascending, in the order of `pictures`.
        boxes: where the core region of each is, as far as it is known.
    """

    def __init__(
        self,
        encoder: ProductEncoder,
        dialogue: Dialogue,
        pairs: pl.DataFrame,
        words: pl.DataFrame,
        items: pl.DataFrame,
        pictures: Sequence[bytes | None],
        boxes: Sequence[Box | None] | None,
        known: KnownPositives,
        batch_size: int,
        seed: int,
        scratch_bytes: int,
    ) -> None:
        self._encoder, self._dialogue, self._known = encoder, dialogue, known
        self._pairs = pairs
        texts = dict(words.iter_rows())
        self._texts = [texts[search] for search in pairs["search_id"]]
        self._items = items
        self._row_of = {item: row for row, item in enumerate(items["item_id"])}
        self._true = true_pairs(items)
        self._size, self._seed = min(batch_size, pairs.height), seed
        names = [f"items.image of item {item_id}" for item_id in items["item_id"]]
        self._pictures = PictureStore(
            pictures,
            names,
            encoder.image_size,
            scratch_bytes=scratch_bytes,
            cut=encoder.cut,
            boxes=boxes,
        )
        self._order = (-1, np.zeros(0, np.int64))

    def make(self, step: int) -> ReasoningBatch:
        """The batch of a step."""
        places = np.arange(step * self._size, (step + 1) * self._size)
        count = self._pairs.height
        chosen = [
            int(self._of_epoch(int(epoch))[place % count])
            for epoch, place in zip(places // count, places, strict=True)
        ]
        pairs, encoder = self._pairs[chosen], self._encoder
        rows = [self._row_of[item] for item in pairs["item_id"]]
        items = self._items[rows]
        has = items["has_image"].to_list()
        questions = questions_of(self._dialogue, items, has)
        seen = [row for row, pictured in zip(rows, has, strict=True) if pictured]
        pictures = self._pictures.take(seen) if seen else None
        asked = encoder.composer.batch(questions, pictures)
        tokens = encoder.tokens([self._texts[place] for place in chosen], "query", "words")
        answers = self._known.blocked(pairs, pairs["item_id"].to_numpy(), pairs["spu_id"].to_numpy())  # fmt: skip
        passed = torch.from_numpy(answers.T.copy())  # by product, the queries that it answers
        blocked = torch.from_numpy(answers).fill_diagonal_(False)
        passed.fill_diagonal_(False)
        true = [self._true[row] for row in rows]
        queries = encoder.prepare("query", tokens, None)
        return ReasoningBatch(queries, asked, questions, blocked, passed, true)

    def _of_epoch(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            drawn = generator(self._seed, "reasoning", epoch).permutation(self._pairs.height)
            self._order = (epoch, drawn)
        return self._order[1]
