"""`python -m representation.core_region` and the sheet of its boxes."""

import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image

from moon_rec.errors import EncoderError
from moon_rec.palette import BLUE, VERMILION
from moon_rec.shop import Shop
from moon_rec.shop.pictures import decode
from moon_rec.shop.schema import BOX_COLUMNS, FILES, KEYS, PICTURES, TRUE_BOXES
from representation.core_region import found_boxes
from representation.core_region.box import Box, overlap
from representation.core_region.boxed_shop import write_boxed_shop
from representation.core_region.command import main
from representation.core_region.crops import BOX_COLUMN
from representation.core_region.foreground import foreground_box
from representation.look import main as look
from representation.report.box_sheet import drawn_on, judged_rows


class Counting:
    """Finds the box of the upper left quarter, none of the pictures of `without`; stops at picture `stop`."""

    def __init__(self, stop: int = 10**9, without: int = -1) -> None:
        self.stop, self.without, self.asked = stop, without, 0
        self.titles: list[str] = []

    def boxes(self, pictures, titles):
        found = []
        for picture in pictures:
            if self.asked == self.stop:
                raise KeyboardInterrupt
            box = Box(0, 0, picture.width // 2, picture.height // 2)
            found.append(None if self.asked == self.without else box)
            self.asked += 1
        self.titles += titles
        return found


def rows_of(shop: Shop, table: str) -> pl.DataFrame:
    return shop.table(table).collect().sort(KEYS[table][0])


@pytest.fixture(scope="module")
def boxed(planted_shop, tmp_path_factory) -> Shop:
    """By the command itself."""
    folder = tmp_path_factory.mktemp("boxed")
    shop = shutil.copytree(planted_shop.path, folder / "shop")
    (shop / "truth").mkdir()
    pl.DataFrame(schema=BOX_COLUMNS).write_parquet(shop / TRUE_BOXES)
    main([str(shop), "--detector", "foreground", "--out", str(folder / "out")])
    return Shop.open(folder / "out")


def test_the_shop_is_as_it_was_with_the_detectors_boxes(boxed, planted_shop):
    boxed.validate()
    assert boxed.digest != planted_shop.digest
    assert boxed.source == f"{planted_shop.source}; core_box: foreground"
    for table in FILES:
        if not planted_shop.has(table):
            continue
        assert rows_of(boxed, table).drop(BOX_COLUMN, strict=False).equals(rows_of(planted_shop, table))  # fmt: skip
    for table, picture in PICTURES.items():
        rows = rows_of(boxed, table)
        for data, box in rows.select(picture, BOX_COLUMN).iter_rows():
            found = None if data is None else foreground_box(decode(data))
            assert box == (None if found is None else list(map(float, found[:4])))
        assert rows[BOX_COLUMN].is_not_null().any()
    assert (boxed.path / TRUE_BOXES).is_file()
    assert not list(boxed.path.parent.glob("*boxes-*"))


def test_boxes_that_are_there_are_never_lost_without_a_word(boxed, tmp_path, capsys):
    with pytest.raises(EncoderError, match=r"core_box with .* boxes; .* --existing keep .* --existing replace"):  # fmt: skip
        write_boxed_shop(boxed, Counting(), tmp_path / "new", "counting")
    before, without = rows_of(boxed, "items"), Counting()
    counted = write_boxed_shop(boxed, without, tmp_path / "kept", "counting", existing="keep")
    kept = rows_of(Shop.open(tmp_path / "kept"), "items")
    there = before[BOX_COLUMN].is_not_null()
    assert kept.filter(there).equals(before.filter(there))
    assert counted["items"].kept == there.sum()
    pictured = sum(boxed.pictured(table).collect()["has_picture"].sum() for table in PICTURES)
    assert without.asked == pictured - sum(one.kept for one in counted.values())
    everything = Counting(without=0)
    counted = write_boxed_shop(boxed, everything, tmp_path / "anew", "counting", existing="replace")
    assert everything.asked == pictured
    assert (counted["items"].without, counted["items"].kept) == (1, 0)
    made = rows_of(Shop.open(tmp_path / "anew"), "items").filter(pl.col("image").is_not_null())
    picture = decode(made["image"][1])
    assert made[BOX_COLUMN][0] is None and made[BOX_COLUMN][1].to_list() == [0, 0, picture.width // 2, picture.height // 2]  # fmt: skip


def test_a_stopped_search_for_boxes_goes_on(planted_shop, tmp_path, monkeypatch):
    """What stands is not looked at again, and the shop is that of an unbroken search, to the byte."""
    monkeypatch.setattr(found_boxes, "PIECES", 1)
    whole = Counting()
    write_boxed_shop(planted_shop, whole, tmp_path / "whole", "counting")
    items = int(planted_shop.pictured("items").collect()["has_picture"].sum())
    with pytest.raises(KeyboardInterrupt):
        write_boxed_shop(planted_shop, Counting(stop=items + 1), tmp_path / "out", "counting")
    assert not (tmp_path / "out").exists()
    (folder,) = tmp_path.glob("out.boxes-*")
    assert [one.name for one in folder.iterdir()] == ["items-000000.parquet"]
    rest = Counting()
    write_boxed_shop(planted_shop, rest, tmp_path / "out", "counting")
    assert rest.asked == whole.asked - items and not folder.exists()
    for table in FILES.values():
        if (tmp_path / "whole" / table).is_file():
            assert (tmp_path / "out" / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()  # fmt: skip
    assert Shop.open(tmp_path / "out").digest == Shop.open(tmp_path / "whole").digest


def test_a_detector_is_told_titles_and_query_texts(planted_shop, tmp_path):
    told = Counting()
    write_boxed_shop(planted_shop, told, tmp_path / "out", "counting")
    wanted = []
    for table, column in (("items", "title"), ("searches", "query_text")):
        rows = planted_shop.table(table).collect()
        wanted += rows.filter(pl.col(PICTURES[table]).is_not_null())[column].fill_null("").to_list()
    assert told.titles == wanted


def test_the_sheet_has_the_worst_boxes_first(boxed, tmp_path, capsys):
    shop = Shop.open(shutil.copytree(boxed.path, tmp_path / "shop"))
    rows = rows_of(shop, "items").filter(pl.col(BOX_COLUMN).is_not_null())
    true = [("items", key, 0, 0, 9 + place % 3, 9) for place, key in enumerate(rows["item_id"])]
    pl.DataFrame(true, schema=BOX_COLUMNS, orient="row").write_parquet(shop.path / TRUE_BOXES)
    look(["boxes", str(shop.path), "--count", "3", "--out", str(tmp_path / "sheet.html")])
    iou = [overlap(Box(*box), Box(*sides[2:])) for box, sides in zip(rows[BOX_COLUMN], true, strict=True)]  # fmt: skip
    worst = sorted(zip(iou, rows["item_id"], strict=True))[:3]
    page = (tmp_path / "sheet.html").read_text()
    places = [page.index(f"{key}: ") for _, key in worst]
    assert places == sorted(places) and page.count("IoU ") >= 3
    assert f"IoU {worst[0][0]:.2f}" in page
    assert f"mean IoU of the boxes {np.mean(iou):.3f}" in capsys.readouterr().out
    assert {one.key: one.iou for one in judged_rows(shop, "items") if one.iou is not None} == dict(zip(rows["item_id"], iou, strict=True))  # fmt: skip


def test_both_boxes_are_drawn_where_they_are():
    drawn = drawn_on(Image.new("RGB", (72, 36)), Box(10, 10, 30, 30), Box(40, 5, 60, 25))
    assert drawn.size == (144, 72)
    as_hex = lambda at: "#%02x%02x%02x" % drawn.getpixel(at)  # noqa: E731, UP031
    assert as_hex((20, 40)) == VERMILION and as_hex((59, 20)) == VERMILION
    assert as_hex((80, 10)) == BLUE and as_hex((119, 49)) == BLUE
    assert as_hex((40, 40)) == as_hex((100, 30)) == "#000000"
