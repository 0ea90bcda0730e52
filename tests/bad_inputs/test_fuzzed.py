"""Every reader of a stranger's file with a few damages of each of its files, drawn by Hypothesis; `benchmarks.fuzz` draws many more."""

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.damage import damaged
from benchmarks.strangers import make_shared, readers
from moon_rec.errors import MoonRecError

READERS = readers()
EXAMPLES = {"encoder": 8, "text encoder": 8, "dual encoder": 8, "shop, its tables": 5, "shop import tables": 5, "MovieLens": 5, "Online Retail": 5}  # fmt: skip


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fuzzed")
    make_shared(folder)
    return folder


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_is_refused_in_one_line_or_read(reader, shared, tmp_path):
    folder = tmp_path / "inside" / "data"
    folder.mkdir(parents=True)
    reader.good(shared, folder)
    reader.read(folder)
    good = {path: path.read_bytes() for name in reader.files for path in sorted(folder.glob(name))}
    assert len(good) >= len(reader.files)
    listed = sorted(tmp_path.rglob("*"))

    @settings(max_examples=EXAMPLES.get(reader.name, 25), suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(sorted(good)), st.integers(0, 2**32))
    def holds(path: Path, seed: int) -> None:
        path.write_bytes(damaged(good[path], random.Random(seed)))
        try:
            reader.read(folder)
        except MoonRecError as error:
            assert str(error) and "\n" not in str(error) and len(str(error)) < 10_000
        finally:
            path.write_bytes(good[path])

    holds()
    assert sorted(tmp_path.rglob("*")) == listed, "something was written beside the files"
    shutil.rmtree(tmp_path / "inside")
