"""What a demo keeps when it is resumed, and what it takes away when it is not; refusals are in the catalogue of bad inputs."""

from exchange_rate.demo import MARKER, _about, _prepare
from moon_rec.files import read_json


def test_the_same_demo_is_resumed_and_begun_afresh_with_overwrite(tmp_path):
    out = tmp_path / "demo"
    _prepare(out, 3, resume=False)
    assert read_json(out / MARKER) == _about(3)
    (out / "shop").mkdir()
    _prepare(out, 3, resume=True)
    assert (out / "shop").is_dir()
    _prepare(out, 4, resume=False, overwrite=True)
    assert not (out / "shop").exists() and read_json(out / MARKER)["seed"] == 4


def test_resuming_nothing_begins(tmp_path):
    _prepare(tmp_path / "demo", 0, resume=True)
    assert read_json(tmp_path / "demo" / MARKER)["seed"] == 0
