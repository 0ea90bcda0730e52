"""What a demo keeps when it is resumed, and what it takes away when it is not; refusals are in the catalogue of bad inputs."""

import contextlib

import pytest

from exchange_rate.demo import MARKER, _about, _prepare
from exchange_rate.study.lock import locked
from moon_rec.errors import StudyError
from moon_rec.files import read_json


def prepare(out, seed, **options):
    with contextlib.ExitStack() as held:
        _prepare(held, out, seed, **options)


def test_the_same_demo_is_resumed_and_begun_afresh_with_overwrite(tmp_path):
    out = tmp_path / "demo"
    prepare(out, 3, resume=False)
    assert read_json(out / MARKER) == _about(3)
    (out / "shop").mkdir()
    prepare(out, 3, resume=True)
    assert (out / "shop").is_dir()
    prepare(out, 4, resume=False, overwrite=True)
    assert not (out / "shop").exists() and read_json(out / MARKER)["seed"] == 4


def test_all_that_a_study_leaves_goes_with_the_demo(tmp_path):
    out = tmp_path / "demo"
    prepare(out, 0, resume=False)
    for name in ("cells", "draws", "neighbours", "sheets"):
        (out / "study" / name / "1").mkdir(parents=True)
        (out / "study" / name / "1" / "kept.parquet").touch()
    prepare(out, 0, resume=False, overwrite=True)
    assert not (out / "study").exists()


def test_resuming_nothing_begins(tmp_path):
    prepare(tmp_path / "demo", 0, resume=True)
    assert read_json(tmp_path / "demo" / MARKER)["seed"] == 0


@pytest.mark.parametrize("options", [{"resume": True}, {"resume": False, "overwrite": True}])
def test_a_demo_that_is_at_work_is_neither_joined_nor_removed(tmp_path, options):
    out = tmp_path / "demo"
    with contextlib.ExitStack() as held:
        _prepare(held, out, 0, resume=False)
        (out / "shop").mkdir()
        with pytest.raises(StudyError, match="another study works there"):
            prepare(out, 0, **options)
        assert (out / "shop").is_dir() and read_json(out / MARKER) == _about(0)
    with locked(out):
        pass
