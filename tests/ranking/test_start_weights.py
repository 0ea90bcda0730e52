"""Start weights of tables: in blocks, of some rows, by two processes, they are those of one table made at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ranking import start_weights
from ranking.start_weights import StartWeights

WORKER = Path(__file__).with_name("start_weights_worker.py")
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


def test_two_processes_make_the_halves_of_one_and_no_table_whole(tmp_path):
    """Three million rows of 16 numbers are 183 MiB: each process grew by 105 and 136, and by 372 when each made the table whole."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    found = subprocess.run(
        [*words, str(WORKER), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [rank["is_equal"] for rank in ranks] == [True, True]
    assert sum(rank["rows"] for rank in ranks) == ranks[0]["all_rows"]
    for rank in ranks:
        assert 0 < rank["rows"] < rank["all_rows"]
        assert rank["grown_mib"] < rank["table_mib"]
