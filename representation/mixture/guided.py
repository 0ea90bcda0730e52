"""MOON's guided experts: one takes the tokens of a product's category, one those of its attributes.

MOON (arXiv 2508.11999) puts FFN_cate and FFN_attr beside the routed experts and designates category tokens x' and attribute tokens x'' to them; its product text
is title, category and attributes one behind another. Queries carry no such tokens. Whether a designated token goes to routed experts, too, the paper does not
say: `ExpertsConfig.guided_share` is an option, by default its expert alone.

Which characters of a text are which is known where the text is written (`prompt.product_texts`), so it travels with the text as marks, then with its tokens as
roles, to the layer. A token takes the role of the marked characters that it has a part of.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

CATEGORY, ATTRIBUTE = 1, 2
"""Roles of tokens; 0: none."""
_ROLE_STEP = 1 << 32
"""A token id is less, so that one number carries a token and its role."""


class Mark(NamedTuple):
    """Characters `first` to `end - 1` of a text, and their role."""

    first: int
    end: int
    role: int


class MarkedText(str):
    """A text in normal form, some of whose characters have a role.

    Attributes:
        marks: rising, without overlap.
    """

    marks: tuple[Mark, ...] = ()

    @classmethod
    def joined(cls, parts: Sequence[tuple[str, int]], separator: str) -> "MarkedText":
        """Texts with their roles, one behind another; empty ones are left out."""
        marks, place = [], 0
        kept = [(text, role) for text, role in parts if text]
        for text, role in kept:
            if role:
                marks.append(Mark(place, place + len(text), role))
            place += len(text) + len(separator)
        made = cls(separator.join(text for text, _ in kept))
        made.marks = tuple(marks)
        return made


def marks_of(text: str, moved: int = 0) -> list[Mark]:
    """The marks of a text that is in normal form, or of another none, moved behind so many characters."""
    marks = text.marks if isinstance(text, MarkedText) else ()
    return [Mark(first + moved, end + moved, role) for first, end, role in marks]


def with_roles(
    ids: Sequence[int], offsets: Sequence[tuple[int, int]], marks: Sequence[Mark]
) -> list[int]:
    """Token ids that carry their roles; see `split_roles`.

    Args:
        offsets: first character of each token, and the one behind its last.
    """
    found = []
    for token, (first, end) in zip(ids, offsets, strict=True):
        role = next((mark.role for mark in marks if first < mark.end and mark.first < end), 0)
        found.append(token + role * _ROLE_STEP)
    return found


def split_roles(tokens: Tensor) -> tuple[Tensor, Tensor | None]:
    """Token ids and roles, each of the shape of `tokens`; None where no token has one."""
    roles = tokens.div(_ROLE_STEP, rounding_mode="floor")
    return (tokens % _ROLE_STEP, roles) if roles.any() else (tokens, None)


def guided_gates(gates: Tensor, roles: Tensor, share: float) -> Tensor:
    """Gates with those of the guided experts, `(tokens, routed + 2)`; each row sums to what it did.

    Args:
        gates: of the routed experts, `(tokens, routed)`.
        roles: `(tokens,)`, see `CATEGORY` and `ATTRIBUTE`.
        share: what a token with a role gives its guided expert.
    """
    is_guided = torch.stack([roles == CATEGORY, roles == ATTRIBUTE], dim=1).to(gates.dtype)
    left = 1 - share * is_guided.sum(dim=1, keepdim=True)
    total = gates.sum(dim=1, keepdim=True)
    return torch.cat([gates * left, total * share * is_guided], dim=1)
