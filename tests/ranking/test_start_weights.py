"""Start weights of tables: in blocks and of some rows they are those of one table made at once."""

import pytest
import torch
from torch import nn

from ranking import start_weights
from ranking.start_weights import StartWeights

SHAPES = [(1, 8), (2, 8), (3, 5), (33, 1), (1000, 8), (1001, 7), (1003, 3), (4097, 16)]


@pytest.mark.parametrize("block_numbers", [64, 1 << 20])
@pytest.mark.parametrize(("rows", "dim"), SHAPES)
def test_rows_are_those_of_the_whole_table_bit_for_bit(monkeypatch, rows, dim, block_numbers):
    monkeypatch.setattr(start_weights, "BLOCK_NUMBERS", block_numbers)
    torch.manual_seed(5)
    whole = nn.Embedding(rows, dim)
    StartWeights()(whole.weight)
    after = torch.rand(3)
    torch.manual_seed(5)
    start = StartWeights()
    start(nn.Embedding(rows, dim, device="meta").weight)
    assert torch.equal(torch.rand(3), after)  # what is drawn next is the same, too
    for first, last in [(0, rows), (rows // 2, rows), (0, rows // 2), (rows // 3, 2 * rows // 3)]:
        part, stream = torch.full((last - first, dim), torch.nan), torch.get_rng_state()
        start.fill(part, first)
        assert torch.equal(part, whole.weight[first:last])
        assert torch.equal(torch.get_rng_state(), stream)
