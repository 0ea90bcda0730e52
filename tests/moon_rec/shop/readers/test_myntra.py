"""Myntra's raw files in both of their forms."""

import gzip
import zipfile

import pytest

from moon_rec.errors import ShopError
from moon_rec.shop import decode
from moon_rec.shop.readers.myntra import COLUMNS, read_pictures, read_products

OURS = """product_id,title,master_category,sub_category,article_type,base_colour,usage
7,"Nike, Blue Cap",Accessories,Headwear,Caps,Blue,Sports
3,Puma Tee,Apparel,Topwear,Tshirts,,Casual
9,Without Picture,Apparel,Topwear,Tshirts,Red,Casual
"""
PUBLISHED = """id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName
7,Men,Accessories,Headwear,Caps,Blue,Fall,2011,Sports,Nike, Blue Cap
3,Men,Apparel,Topwear,Tshirts,NA,Fall,2011,Casual,Puma Tee
9,Men,Apparel,Topwear,Tshirts,Red,Fall,2011,Casual,Without Picture
"""


@pytest.fixture
def raw(tmp_path):
    with gzip.open(tmp_path / "products.csv.gz", "wt") as file:
        file.write(OURS)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("7.jpg", b"seven")
        archive.writestr("3.jpg", b"three")
    return tmp_path


def test_products_with_pictures_by_id(raw):
    products = read_products(raw)
    assert dict(products.schema) == COLUMNS
    assert products["product_id"].to_list() == [3, 7]
    assert products["title"].to_list() == ["Puma Tee", "Nike, Blue Cap"]
    assert products["base_colour"].to_list() == [None, "Blue"]
    assert list(read_pictures(raw, [7, 3, 7])) == [b"seven", b"three", b"seven"]


def test_the_publishers_form_gives_the_same(raw, tmp_path):
    folder = tmp_path / "published"
    (folder / "images").mkdir(parents=True)
    (folder / "styles.csv").write_text(PUBLISHED)
    (folder / "images" / "7.jpg").write_bytes(b"seven")
    (folder / "images" / "3.jpg").write_bytes(b"three")
    assert read_products(folder).equals(read_products(raw))
    assert list(read_pictures(folder, [3])) == [b"three"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OURS.replace("base_colour", "colour"), "has no column base_colour: it has product_id"),
        (OURS.replace("7,", "x,", 1), "products.csv.gz: "),
        (OURS + "7,Again,a,b,c,d,e\n", "product_id 7 is duplicated"),
        (OURS.splitlines()[0] + "\n", "no product has a title and a picture"),
    ],
)
def test_broken_products_are_named(raw, text, message):
    with gzip.open(raw / "products.csv.gz", "wt") as file:
        file.write(text)
    with pytest.raises(ShopError, match=message) as error:
        read_products(raw)
    assert "\n" not in str(error.value)


def test_absent_files_are_named(raw):
    with pytest.raises(ShopError, match=r"has no picture 5\.jpg"):
        list(read_pictures(raw, [5]))
    (raw / "images.zip").unlink()
    with pytest.raises(ShopError, match=r"has no images\.zip or images: --data names the folder"):
        read_products(raw)
    with pytest.raises(ShopError, match="is not a folder"):
        read_products(raw / "none")


def test_the_real_catalogue(real_data):
    products = read_products(real_data / "myntra")
    assert products.height == 41_323
    assert products["article_type"].n_unique() == 141
    for data in read_pictures(real_data / "myntra", products["product_id"][:20]):
        assert decode(data).size == (60, 80)
