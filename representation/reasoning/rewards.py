"""What a roll-out is worth: are its attributes well formed, are they right, does the product's vector behind them find its query.

MOON3.0's rewards are not public but in kind: success of the embedding in retrieval, validity and accuracy of the attributes. How they are put together is chosen
after AFMRL (Alibaba, ACL Findings 2026): `R = R_of_valid * I(valid) + eta * I(invalid)`. Here

    R = accuracy_weight * F1 of attributes + retrieval_weight * success    where the answer is valid, else `invalid_reward`

- valid: the answer came to its end, and every part between commas is the name of an attribute that the shop knows and a value; no name twice.
- F1 of attributes: of the pairs of name and value against the product's own; precision counts too, so that listing everything earns nothing.
- success: the product's query is the first, or among the first k, of the batch's queries by the roll-out's own vector; other queries of the same product are not
  counted against it. AFMRL's `|P_x & topK(x, a)| / |P_x|` with one positive.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

from representation.pretraining.grading import words_of

Pairs = frozenset[tuple[str, str]]
"""Of names and values, in normal form."""


class AttributeNames:
    """The names of attributes that a shop knows, by which an answer is read: `colour red, base material cotton`."""

    def __init__(self, names: Iterable[str]) -> None:
        known = {tuple(words_of(name)) for name in names}
        self._known = sorted(known - {()}, key=lambda words: (-len(words), words))

    @classmethod
    def of(cls, items: pl.DataFrame) -> "AttributeNames":
        """Those of the products of a frame with the column `attributes`."""
        names = items.select(pl.col("attributes").explode().struct.field("name").unique())
        return cls(name for name in names.to_series().to_list() if name)

    def __len__(self) -> int:
        return len(self._known)

    def read(self, answer: str) -> Pairs | None:
        """The pairs that an answer states; None where it is not valid: a part without a known name or a value, a name twice, nothing."""
        found: dict[str, str] = {}
        for part in answer.split(","):
            words = words_of(part)
            name = next(
                (one for one in self._known if tuple(words[: len(one)]) == one and words[len(one) :]), None
            )  # fmt: skip
            if name is None or " ".join(name) in found:
                return None
            found[" ".join(name)] = " ".join(words[len(name) :])
        return frozenset(found.items())


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
    found: list[Pairs] = []
    for pairs in items["attributes"].to_list():
        stated = {
            (" ".join(words_of(one["name"] or "")), " ".join(words_of(one["value"] or "")))
            for one in pairs or []
        }
        found.append(frozenset(pair for pair in stated if all(pair)))
    return found


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
