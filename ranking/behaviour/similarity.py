"""Cosines of frozen vectors: what every content way starts from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ranking.behaviour.interface import Behaviours, Target


def similarities(target: Target, behaviours: Behaviours) -> tuple[Tensor, Tensor]:
    """Cosine of every target with every behaviour, and where both have a vector.

    Returns:
        `(batch, targets, length)` cosines, of no meaning where unknown, and the same shape of booleans:
        real behaviours only.
    """
    assert target.content is not None and target.has_content is not None
    assert behaviours.content is not None and behaviours.has_content is not None
    known = (behaviours.mask & behaviours.has_content)[:, None, :] & target.has_content[:, :, None]
    return torch.bmm(target.content, behaviours.content.transpose(1, 2)), known


def numbers_with_content(with_content: Sequence[bool]) -> list[int]:
    """Which sequences have vectors; the others take no part in ways of using content."""
    return [number for number, has_vectors in enumerate(with_content) if has_vectors]
