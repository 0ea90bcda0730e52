"""Every picture that an import cannot use is named in one file of the shop; what is not there is counted."""

import io

import polars as pl
import pytest
from PIL import Image

from moon_rec.shop import Shop
from moon_rec.shop.commands import main
from moon_rec.shop.faults import SCHEMA
from tests.moon_rec.shop.readers.interactions import layouts

FILE = "broken_pictures.csv"


def products(folder, names, form="csv"):
    """A log, and a table of items "p00", "p01" ... with a column of pictures."""
    rows = layouts.behaviour()
    rows.select(
        "time", "clicked", user="user", item=pl.format("p{}", pl.col("item").cast(str).str.zfill(2))
    ).write_csv(folder / "log.csv")
    table = pl.DataFrame({"item": [f"p{i:02d}" for i in range(len(names))], "photo": names})
    if form == "csv":
        table.write_csv(folder / "items.csv")
    else:
        table.write_parquet(folder / "items.parquet")
    return ["import", "interactions", "log.csv", "--items", f"items.{form}", "--out", "shop"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_broken_pictures_are_named_by_own_id_and_row(here, capsys):
    """An item that stands twice is its first row; rows are those of the table."""
    (here / "photos").mkdir()
    names = [f"{i}.png" for i in range(24)]
    for i in range(24):
        (here / "photos" / f"{i}.png").write_bytes(layouts.picture(i))
    (here / "photos" / "2.png").unlink()
    (here / "photos" / "5.png").write_bytes(b"no picture")
    (here / "photos" / "9.png").write_bytes(layouts.picture(9)[:45])
    (here / "photos" / "11.png").write_bytes(b"")
    words = products(here, names)
    table = pl.read_csv(here / "items.csv")
    pl.concat([table.head(4), table]).write_csv(here / "items.csv")
    main([*words, "--set", "items.image=photo", "--pictures", "photos"])
    said = "".join(capsys.readouterr())
    assert f"20 taken, 1 missing, 3 broken (each is in shop/{FILE})" in said
    found = pl.read_csv(here / "shop" / FILE)
    assert found.columns == list(SCHEMA)
    assert found["id"].to_list() == ["p05", "p09", "p11"]
    assert found["row"].to_list() == [9, 13, 15]
    assert found["value"].to_list() == ["'5.png'", "'9.png'", "'11.png'"]
    assert set(found["column"]) == {"photo"} and set(found["table"]) == {"items"}
    assert found["rule"][0].startswith("10 bytes do not decode as a picture")
    assert "no bytes" in found["rule"][2] and found["mend"].null_count() == 0
    images = Shop.open("shop").items.collect()
    assert images["image"].null_count() == 4
    main(["check", "shop"])


def test_bytes_in_the_table_are_named_too(here):
    names = [layouts.picture(i) for i in range(24)]
    names[3] = b"\x89PNG\r\n\x1a\n torn"
    main([*products(here, names, "parquet"), "--set", "items.image=photo"])
    found = pl.read_csv(here / "shop" / FILE)
    assert found["id"].to_list() == ["p03"] and found["value"].to_list() == ["13 bytes"]


def test_no_broken_picture_is_no_file_and_another_import_removes_it(here, capsys):
    names = [layouts.picture(i) for i in range(24)]
    words = products(here, [b"torn", *names[1:]], "parquet")
    main([*words, "--set", "items.image=photo"])
    assert (here / "shop" / FILE).is_file()
    digest = Shop.open("shop").digest
    products(here, [None, *names[1:]], "parquet")
    main([*words, "--set", "items.image=photo", "--overwrite"])
    assert not (here / "shop" / FILE).exists()
    assert Shop.open("shop").digest == digest, "the file is no part of the shop's digest"
    assert "23 taken, 1 missing, 0 broken\n" in "".join(capsys.readouterr())


@pytest.mark.parametrize("form", ["WEBP", "GIF", "BMP", "JPEG"])
def test_every_kind_that_a_shop_can_hold_is_taken(form, here, capsys):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 99, 199)).save(file, form)
    (here / "photos").mkdir()
    ending = form.lower()
    (here / "photos" / f"0.{ending}").write_bytes(file.getvalue())
    words = products(here, [f"0.{ending}"])
    main([*words, "--set", "items.image=photo", "--pictures", "photos"])
    assert "pictures: 1 taken, 0 missing, 0 broken" in "".join(capsys.readouterr())
