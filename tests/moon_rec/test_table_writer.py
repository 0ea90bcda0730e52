"""A table written in pieces is the table made in memory."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from moon_rec import EmbeddingTable
from moon_rec.errors import TableError
from moon_rec.table_writer import write_table

IDS = np.arange(50) * 3 - 20
VECTORS = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
NAN = np.where(IDS[:, None] == 10, np.nan, VECTORS)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize("step", [1, 7, 50])
def test_pieces_make_the_same_table(tmp_path, precision, step):
    chunks = (VECTORS[start : start + step] for start in range(0, 50, step))
    written = write_table(tmp_path / "pieces", IDS, chunks, 6, precision=precision, encoder="e")
    whole = EmbeddingTable.from_arrays(IDS, VECTORS, precision=precision, encoder="e")
    whole.save(tmp_path / "whole")
    assert (written.digest, written.widths, written.encoder) == (whole.digest, (6,), "e")
    assert isinstance(written.vectors, np.memmap) and isinstance(written.ids, np.memmap)
    np.testing.assert_array_equal(written.lookup(IDS)[0], whole.lookup(IDS)[0])
    files = [load_file(tmp_path / name / "table.safetensors") for name in ("pieces", "whole")]
    assert files[0].keys() == files[1].keys()
    for name, values in files[0].items():
        np.testing.assert_array_equal(values, files[1][name])


@pytest.mark.parametrize(
    ("ids", "chunks", "expected"),
    [
        (IDS[::-1], [VECTORS], "id 124 follows 127: ids written in pieces must ascend"),
        (IDS, [VECTORS[:49]], "49 vectors for 50 ids"),
        (IDS, [VECTORS, VECTORS[:1]], r"shape \(1, 6\) after 50 rows"),
        (IDS, [VECTORS[:, :5]], r"shape \(50, 5\) after 0 rows: wanted \(any, 6\)"),
        (IDS, [VECTORS[:9], NAN[9:]], "id 10 holds NaN"),
    ],
)
def test_pieces_that_do_not_fit_are_named_and_leave_nothing(tmp_path, ids, chunks, expected):
    with pytest.raises(TableError, match=expected):
        write_table(tmp_path / "table", ids, chunks, 6)
    assert list(tmp_path.iterdir()) == []
