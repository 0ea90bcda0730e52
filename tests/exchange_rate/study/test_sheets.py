"""Sheets of a study: drawn once for its control's encoder, kept with its run, shown in its report."""

import base64
import errno
import re
from types import SimpleNamespace

import pytest
from PIL import Image

from exchange_rate.evidence.study_file import CAPTIONS
from exchange_rate.report.write import _sheets, write_report
from exchange_rate.study import run as study_module
from exchange_rate.study.cell_files import CellResult, CellSpec
from exchange_rate.study.run import run_study
from exchange_rate.study.sheets import draw_sheets
from moon_rec.shop.simulate import SimulationConfig, simulate_shop
from representation import ProductEncoder, build_encoder
from representation.embed import embed_shop
from representation.model.backbone import BackboneConfig


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """A little simulated shop, and a finished cell of an untrained encoder on it."""
    folder = tmp_path_factory.mktemp("sheets")
    shop = simulate_shop(
        SimulationConfig(num_items=60, num_users=40, num_requests=300), folder / "shop"
    )
    start = CellSpec("start", "random weights", {}, shop=(str(shop.path), shop.digest))
    cells = folder / "study" / "cells"
    path = start.folder(cells) / "encoder"
    build_encoder(shop, path, BackboneConfig.preset("demo"))
    settings, inputs = {"width": None}, {"encoder": (start.key, "start/encoder")}
    spec = CellSpec("encoder", "random", settings, inputs, start.shop, {"encoder": "random"})
    embed_shop(ProductEncoder.from_pretrained(path), shop, spec.folder(cells) / "vectors")
    outputs = {"items": "vectors/items", "queries": "vectors/queries"}
    return shop, (spec, CellResult({}, {}, {}, outputs)), cells


def test_both_sheets_are_drawn_once(cell):
    shop, finished, cells = cell
    sheets = draw_sheets(shop, finished, cells, "test", "purchased", 0)
    assert [path.stem for path in sheets] == list(CAPTIONS)
    for path in sheets:
        with Image.open(path) as picture:
            assert picture.format == "PNG" and picture.width > 800
    times = [path.stat().st_mtime_ns for path in sheets]
    assert draw_sheets(shop, finished, cells, "test", "purchased", 0) == sheets
    assert [path.stat().st_mtime_ns for path in sheets] == times


def test_a_shop_with_nothing_to_draw_is_told(cell, tmp_path, capsys):
    """Vectors of another shop: neither sheet is drawn, and no half of one is left."""
    _, finished, cells = cell
    other = simulate_shop(
        SimulationConfig(num_items=40, num_users=20, num_requests=60, share_image=1, share_text=0, share_both=0),
        tmp_path / "other",
    )  # fmt: skip
    elsewhere = tmp_path / "study" / "cells"
    elsewhere.parent.mkdir()
    elsewhere.symlink_to(cells)
    assert draw_sheets(other, finished, elsewhere, "test", "purchased", 0) == []
    told = capsys.readouterr().err
    assert "no sheet 'neighbours': the items table was made from shop" in told
    assert "no sheet 'attention': shop" in told and "no search with words" in told


def test_a_cell_without_vectors_has_no_sheets(tmp_path):
    spec = CellSpec("encoder", "planted", {"width": None})
    empty = CellResult({}, {}, {}, {})
    shop = SimpleNamespace(name="planted")
    assert draw_sheets(shop, (spec, empty), tmp_path, "test", "purchased", 0) == []  # type: ignore[arg-type]


def test_the_report_shows_what_the_study_kept(
    planted, shop, lean, tracker, tmp_path, monkeypatch, planted_report, undrawn
):
    plan = lean.model_copy(update={"engagement": "clicked"})

    def draw(shop, finished, cells, period, engagement, seed):
        assert finished[0].labels["encoder"] == "direct"  # the best on validation
        assert (period, engagement, seed) == ("test", "clicked", 0)
        paths = [tmp_path / f"{name}.png" for name in CAPTIONS]
        for shade, path in enumerate(paths):
            Image.new("RGB", (4, 4), (shade, 0, 0)).save(path)
        return paths

    monkeypatch.setattr(study_module, "draw_sheets", draw)
    report = write_report(
        tracker, tmp_path / "r", run_study(shop, plan, tmp_path / "a", tracker, workers=1).id
    )
    page = report.page.read_text()
    shown = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)"', page)
    captions = [text.format(engagement="clicked") for text in CAPTIONS.values()]
    assert [caption for caption, _ in shown] == captions and "was clicked after" in captions[0]
    for name, (caption, data) in zip(CAPTIONS, shown, strict=True):
        kept = (tmp_path / f"{name}.png").read_bytes()
        assert base64.b64decode(data) == kept
        assert (report.folder / "figures" / f"{name}.png").read_bytes() == kept
        assert f"![{caption}](figures/{name}.png)" in (report.folder / "report.md").read_text()
    plain = planted_report.page.read_text()
    assert "<img" not in plain and "where it looks" not in plain
    assert "png" not in (report.folder / "report.json").read_text()  # pictures, not numbers


@pytest.mark.parametrize(
    ("error", "is_told"),
    [(OSError(errno.ENOSPC, "No space left"), False), (FileNotFoundError(errno.ENOENT, "gone"), True)],
)  # fmt: skip
def test_a_sheet_that_is_gone_is_left_out_and_a_full_disk_is_not(error, is_told, capsys):
    class Full:
        def fetch(self, *_):
            raise error

    study = SimpleNamespace(id="a", about={"sheets": ["neighbours"]})
    if not is_told:
        with pytest.raises(OSError, match="No space left"):
            _sheets(Full(), study)  # type: ignore[arg-type]
        return
    assert _sheets(Full(), study) == {}  # type: ignore[arg-type]
    assert "left out: sheet 'neighbours': " in capsys.readouterr().err
