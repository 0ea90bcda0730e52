"""What a roll-out is worth: are its attributes well formed, are they right, does the product's vector behind them find its query.

MOON3.0's rewards are not public but in kind: success of the embedding in retrieval, validity and accuracy of the attributes. How they are put together is chosen
after AFMRL (Alibaba, ACL Findings 2026): `R = R_of_valid * I(valid) + eta * I(invalid)`. Here

    R = accuracy_weight * F1 of attributes + retrieval_weight * success    where the answer is valid, else `invalid_reward`

- valid: the answer came to its end, and every part between commas is the name of an attribute that the shop knows and a value; no name more often than a product has it.
- F1 of attributes: of the pairs of name and value against the product's own; precision counts too, so that listing everything earns nothing.
- success: the product's query is the first, or among the first k, of the batch's queries by the roll-out's own vector; other queries of the same product are not
  counted against it. AFMRL's `|P_x & topK(x, a)| / |P_x|` with one positive.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

from moon_rec.texts import normal_text, normal_texts
from representation.pretraining.grading import words_of
from representation.same_words import normal_words

Pairs = frozenset[tuple[str, str]]
"""Of names and values, in normal form."""


class AttributeNames:
    """The names of attributes that a shop knows, by which an answer is read: `colour red, base material cotton`.

    What pretraining teaches to say of a product of the shop is valid, whatever its texts hold: a text with a comma in it is read as one where the shop has it so, a name may
    be stated as often as a product has it, and a value without a word (`-`) states nothing.
    """

    def __init__(self, names: Iterable[str]) -> None:
        known = {tuple(words_of(name)) for name in names}
        self._known = sorted(known - {()}, key=lambda words: (-len(words), words))
        self._most: dict[str, int] = {}
        self._whole: dict[str, tuple[str, str]] = {}
        self._runs: list[int] = []

    @classmethod
    def of(cls, items: pl.DataFrame) -> "AttributeNames":
        """Those of the products of a frame with the column `attributes`."""
        pairs = _stated(items)
        names = cls(pairs["name"].unique().to_list())
        said = pairs.filter(pl.col("text").is_not_null() & (pl.col("name") != ""))
        often = said.group_by("row", "name").len().group_by("name").agg(pl.col("len").max())
        names._most = dict(often.iter_rows())
        whole = said.filter(pl.col("text").str.contains(",") | (pl.col("value") == ""))
        names._whole = {text: (name, value) for text, name, value in whole.select("text", "name", "value").unique().iter_rows()}  # fmt: skip
        names._runs = sorted({text.count(",") + 1 for text in names._whole}, reverse=True)
        return names

    def __len__(self) -> int:
        return len(self._known)

    def read(self, answer: str) -> Pairs | None:
        """The pairs that an answer states; None where it is not valid: a part without a known name or a value, a name more often than any product has it, nothing."""
        parts = normal_texts([answer])[0].lower().split(",")
        found: list[tuple[str, str]] = []
        at = 0
        while at < len(parts):
            runs = {run: ",".join(parts[at : at + run]).strip() for run in (*self._runs, 1)}
            run = next((run for run, text in runs.items() if text in self._whole), 1)
            pair = self._whole.get(runs[run]) or self._plain(runs[1])
            if pair is None:
                return None
            found.append(pair)
            at += run
        often = Counter(name for name, _ in found)
        if any(count > self._most.get(name, 1) for name, count in often.items()):
            return None
        return frozenset(pair for pair in found if pair[1])

    def _plain(self, part: str) -> tuple[str, str] | None:
        """Name and value of a part of an answer, by the longest name that it begins with."""
        words = words_of(part)
        for name in self._known:
            if tuple(words[: len(name)]) == name and words[len(name) :]:
                return " ".join(name), " ".join(words[len(name) :])
        return None


def attribute_f1(stated: Pairs, true: Pairs) -> float:
    """Twice the pairs in common over the pairs of both; 0 without any."""
    both = len(stated) + len(true)
    return 2 * len(stated & true) / both if both else 0.0


def retrieval_success(vectors: Tensor, queries: Tensor, own: Tensor, passed: Tensor, k: int) -> Tensor:  # fmt: skip
    """1.0 where a roll-out's own query is among the first k of the batch's by its vector, else 0.0; a tie counts against it. `(roll-outs,)`.

    Args:
        vectors: `(roll-outs, dim)` unit vectors. queries: `(queries, dim)` unit vectors.
        own: `(roll-outs,)` int64, the row of its query.
        passed: `(roll-outs, queries)` boolean, True where the query is another one of the same product, which is passed over.
    """
    scores = vectors @ queries.T
    right = scores.gather(1, own[:, None])
    ahead = (scores >= right) & ~passed
    ahead = ahead.scatter(1, own[:, None], False)
    return (ahead.sum(dim=1) < k).float()


class Rewarded(NamedTuple):
    """What roll-outs earned, each `(roll-outs,)` float32: in all, and its parts; `f1` and `success` are there for invalid ones, too, and earn them nothing."""

    rewards: Tensor
    valid: Tensor
    f1: Tensor
    success: Tensor


class Rewards(NamedTuple):
    """How much each part is worth, see the formula above."""

    accuracy_weight: float
    retrieval_weight: float
    invalid_reward: float

    def of(
        self,
        stated: Sequence[Pairs | None],
        true: Sequence[Pairs],
        success: Tensor,
    ) -> Rewarded:
        """Of roll-outs.

        Args:
            stated: what each says, None where it is not valid.
            true: what is so of its product.
            success: `(roll-outs,)`, see `retrieval_success`.
        """
        valid = torch.tensor([pairs is not None for pairs in stated], device=success.device)
        scores = [
            0.0 if pairs is None else attribute_f1(pairs, own)
            for pairs, own in zip(stated, true, strict=True)
        ]
        f1 = torch.tensor(scores, dtype=torch.float32, device=success.device)
        earned = self.accuracy_weight * f1 + self.retrieval_weight * success
        rewards = torch.where(valid, earned, torch.full_like(earned, self.invalid_reward))
        return Rewarded(rewards, valid.float(), f1, success)


def true_pairs(items: pl.DataFrame) -> list[Pairs]:
    """Of each product, its attributes in normal form; those without a value are left out."""
    found: list[set[tuple[str, str]]] = [set() for _ in range(items.height)]
    whole = _stated(items).filter((pl.col("name") != "") & (pl.col("value") != ""))
    for row, name, value in whole.select("row", "name", "value").iter_rows():
        found[row].add((name, value))
    return [frozenset(pairs) for pairs in found]


def _stated(items: pl.DataFrame) -> pl.DataFrame:
    """All attributes of products: `row` of the frame, `name` and `value` as their words, and the `text` that is said of them, null where none is."""
    each = items.select(pl.int_range(pl.len()).alias("row"), "attributes").explode("attributes")
    each = each.filter(pl.col("attributes").is_not_null()).unnest("attributes")
    is_said = pl.col("value") != ""
    said = pl.when(is_said).then(pl.concat_str("name", "value", separator=" "))
    return each.with_columns(said=said).select(
        "row",
        name=normal_words("name", part_unspaced=False),
        value=normal_words("value", part_unspaced=False),
        text=normal_text("said").str.to_lowercase(),
    )


def shares(rewarded: Rewarded) -> dict[str, float]:
    """Means over roll-outs, for the log."""
    return {
        "reward": rewarded.rewards.mean().item(),
        "valid": rewarded.valid.mean().item(),
        "attribute_f1": rewarded.f1.mean().item(),
        "retrieval_success": rewarded.success.mean().item(),
    }


def spread(rewards: np.ndarray) -> float:
    """Share of groups `(groups, roll-outs)` whose rewards differ: the others teach nothing."""
    return float((rewards.max(axis=1) > rewards.min(axis=1)).mean())
