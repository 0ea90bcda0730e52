"""The command: what it writes, and how it refuses."""

import pytest

from moon_rec.command import run
from ranking.handover.__main__ import main


@pytest.mark.parametrize(
    ("to", "file"), [("fuxictr", "shop/feature_map.json"), ("torcheasyrec", "train.parquet")]
)
def test_it_writes_the_folder(planted, tmp_path, to, file):
    words = [str(planted.shop.path), "--out", str(tmp_path / "out"), "--to", to]
    assert run(main, words) == 0
    assert (tmp_path / "out" / file).exists()


def test_errors_are_one_line(planted, tmp_path, capsys):
    planted.items.save(tmp_path / "items")
    shop = str(planted.shop.path)
    (tmp_path / "there").mkdir()
    assert run(main, [shop, "--out", str(tmp_path / "there"), "--to", "fuxictr"]) == 2
    assert "exists already" in capsys.readouterr().err
    words = [shop, "--out", str(tmp_path / "new"), "--to", "fuxictr", "--history-vectors"]
    assert run(main, words) == 2
    assert "goes with --to torcheasyrec" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
