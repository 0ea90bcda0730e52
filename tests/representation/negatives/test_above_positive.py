"""Negatives that score above the positive by a margin, against a loop, in one piece and in many."""

import pytest
import torch
from torch.nn import functional

from representation.negatives import above_positive as module
from representation.negatives.above_positive import above_positive


@pytest.mark.parametrize("at_once", [8, 1 << 24])
@pytest.mark.parametrize("margin", [0.0, 0.1, 2.0])
def test_equals_a_loop(monkeypatch, at_once, margin):
    monkeypatch.setattr(module, "SCORES_AT_ONCE", at_once)
    random = torch.Generator().manual_seed(3)
    queries, items = (
        functional.normalize(torch.randn(n, 4, generator=random), dim=1) for n in (6, 9)
    )
    right = (queries * items[:6]).sum(1)
    found = above_positive(queries, items, right, margin)
    for row in range(6):
        for column in range(9):
            above = float(queries[row] @ items[column]) > float(right[row]) + margin
            assert bool(found[row, column]) == above or column == row
    assert found.any() == (margin < 2)
