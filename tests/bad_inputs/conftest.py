"""The good workspace that every case breaks in one place."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from moon_rec.embedding_table import EmbeddingTable
from tests.bad_inputs.harness import in_its_turn
from tests.ranking.conftest import draw_frames, write_shop


@pytest.fixture(scope="session")
def good_workspace(tmp_path_factory) -> Path:
    """Made once; tests get a copy."""
    folder = tmp_path_factory.mktemp("good")
    frames, known = draw_frames()
    pictures = [_picture(number) for number in range(frames["items"].height)]
    frames["items"] = frames["items"].with_columns(image=pl.Series(pictures))
    asked = [
        _picture(1000 + row) if row % 3 == 0 else None for row in range(frames["searches"].height)
    ]
    frames["searches"] = frames["searches"].with_columns(
        query_image=pl.Series(asked, dtype=pl.Binary)
    )
    # a search needs words or a picture
    words = pl.when(pl.col("query_image").is_null() & pl.col("query_text").is_null())
    frames["searches"] = frames["searches"].with_columns(
        query_text=words.then(pl.lit("any words")).otherwise(pl.col("query_text"))
    )
    shop = write_shop(frames, folder / "shop")
    for name, table in known.items():
        vectors, _ = table.lookup(table.ids)
        EmbeddingTable.from_arrays(
            table.ids, vectors, encoder="planted encoder", shop=shop.digest
        ).save(folder / name)
    shutil.copytree(folder / "shop", folder / "tables")
    (folder / "tables" / "manifest.json").unlink()
    return folder


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    """Where every workspace lies in turn: what MLflow and SQLAlchemy work out for a store is then worked out once."""
    return tmp_path_factory.mktemp("turns") / "workspace"


@pytest.fixture
def workspace(good_workspace: Path, place: Path) -> Iterator[Path]:
    """A folder of its own that holds

    - `shop/`: 120 items with pictures, 900 requests of 6 by 40 users, searches by words and by picture; a planted taste
    - `tables/`: its Parquet tables alone, for `moon_rec shop import tables --data tables --out new`
    - `items/`, `queries/`: embedding tables of its items (117 of 120) and searches (all but 5), 8 wide
    """
    with in_its_turn(good_workspace, place) as folder:
        yield folder


def _picture(seed: int) -> bytes:
    colour = np.random.default_rng(seed).integers(0, 256, 3)
    file = io.BytesIO()
    Image.new("RGB", (8, 8), tuple(int(value) for value in colour)).save(file, "PNG")
    return file.getvalue()
