"""The page: one file without an outside address, every figure named, text as text, and the numbers of the result."""

import html
import re
import shutil
from html.parser import HTMLParser

import polars as pl
import pytest
from PIL import Image

from moon_rec.command import run
from moon_rec.files import read_json
from moon_rec.shop import Shop
from moon_rec.shop.commands import main
from moon_rec.shop.description import describe
from moon_rec.shop.page import products, write_description
from moon_rec.shop.page.render import render
from tests.moon_rec.shop.conftest import TEST

VOID = {"meta", "img", "br", "wbr", "hr", "input", "link"}
NASTY = "</script><b onclick=x>&bold</b> {{ 1 }} $x_1$ \x1b[2J \u202eright"


class Reader(HTMLParser):
    """Elements with their attributes, and whether each that was opened is closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(simulated):
    return (simulated / "out" / "shop.html").read_text()


def test_the_page_asks_for_nothing_outside(page):
    drawn = re.sub(r'(?s)<metadata>.*?</metadata>|xmlns(:\w+)?="[^"]*"', "", page)  # matplotlib's
    assert not re.search(r"(?i)(https?:)?//[a-z]", re.sub(r'base64,[^"]*', "", drawn))
    for tag, attributes in Reader(page).elements:
        assert tag not in ("script", "iframe", "object", "embed", "form")
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/jpeg;base64,")), value
    assert "@import" not in page and not re.search(r"url\((?!#)", page)


def test_figures_pictures_and_tables_can_be_read_aloud(page):
    read = Reader(page)
    figures = read.all("figure")
    assert len(figures) == 5 and all(len(one["aria-label"]) > 30 for one in figures)
    assert all(one["alt"] for one in read.all("img")) and len(read.all("img")) == 18
    assert {one["scope"] for one in read.all("th")} == {"col", "row"}
    assert read.all("html")[0]["lang"] == "en" and len(read.all("h1")) == 1
    without_figures = Reader(re.sub(r"(?s)<svg.*?</svg>", "", page))
    ids = [one["id"] for _, one in without_figures.elements if "id" in one]
    assert len(ids) == len(set(ids))
    links = [one["href"][1:] for one in read.all("a")]
    assert len(links) == 9 and set(links) <= set(ids)


def test_on_a_phone_every_cell_has_its_columns_name_and_tables_scroll_in_their_box(page):
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    cells = Reader(page).all("td")
    assert len(cells) > 100
    assert all("data-label" in one or one.get("class") == "empty" for one in cells)
    assert page.count('<div class="scroll"><table') == page.count("<table") > 8


def test_the_page_is_for_light_dark_and_paper(page):
    style = page[page.index("<style>") : page.index("</style>")]
    for words in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem"):
        assert words in style


def test_the_page_prints_the_numbers_of_the_json(simulated, page):
    data = read_json(simulated / "out" / "shop.json")
    text = html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(svg|style).*?</\1>", "", page)))
    text = " ".join(text.split())
    for sentence in data["headline"]:
        assert sentence in text
    for one in data["drift"]["columns"]:
        assert f"{one['column']} {one['index']:.3f}" in text
    for part in (
        data["days"],
        data["places"],
        data["drift"],
        data["coverage"],
        *data["funnels"],
        *data["spreads"],
    ):
        assert part["definition"] in text
    for part in (data["days"], data["places"], data["drift"], *data["spreads"]):
        assert part["source"] in text
    rate = data["periods"][2]["click_rate"]
    assert f"{100 * rate['value']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]" in text
    assert data["interval"] in text and data["provenance"]["digest"] in text
    assert (
        page.index("Simulated") < page.index("<h2")
        and "every number here is of a simulated shop" in text
    )
    assert all(one["name"] in text for one in data["checks"])


def test_figures_are_files_too_and_the_same_shop_gives_the_same_bytes(simulated, tmp_path, capsys):
    figures = sorted(path.name for path in (simulated / "out" / "figures").iterdir())
    assert figures == ["drift.png", "funnels.png", "over_time.png", "places.png", "spreads.png"]
    with Image.open(simulated / "out" / "figures" / "over_time.png") as drawn:
        assert drawn.width > 1000
    shutil.copytree(simulated / "out", tmp_path / "again")
    (tmp_path / "again" / "shop.html").write_text("of an earlier run")
    words = ["describe", str(simulated / "shop"), "--out", str(tmp_path / "again")]
    assert run(main, [*words, "--overwrite"]) == 0
    for name in ("shop.html", "shop.json", "shop.schema.json", "figures/drift.png"):
        assert (tmp_path / "again" / name).read_bytes() == (simulated / "out" / name).read_bytes()


def test_markup_in_a_shop_is_text(make_shop, tmp_path, monkeypatch):
    from matplotlib import mathtext

    monkeypatch.setattr(
        mathtext.MathTextParser, "parse", lambda *_, **__: pytest.fail("TeX was parsed")
    )
    path = make_shop(
        items=lambda frame: frame.with_columns(
            title=pl.lit(NASTY), category=pl.lit(NASTY), brand=pl.lit(NASTY)
        ),
        impressions=lambda frame: frame.with_columns(pl.lit(NASTY).alias(NASTY)),
    )
    shop = Shop.open(path)
    page = write_description(describe(shop), products(shop), tmp_path / "out").read_text()
    read = Reader(page)
    assert not any(name.startswith("on") for _, one in read.elements for name in one)
    assert not read.all("script") and not read.all("b")
    assert "\x1b" not in page and "\u202e" not in page and "\\x1b[2J" in page
    assert "{{ 1 }}" in page and "&lt;b onclick=x&gt;" in page


def test_own_ids_stand_on_the_page_and_broken_pictures_are_called_so(make_shop):
    path = make_shop(
        items=lambda frame: frame.with_columns(
            image=pl.when(pl.col("item_id") == 11).then(pl.lit(b"nothing")).otherwise("image")
        )
    )
    (path / "ids").mkdir()
    own = pl.DataFrame(
        {"id": [11, 12, 13, 14, 15, 16], "own": [f"802.538.{n:02d}" for n in range(6)]}
    )
    own.write_parquet(path / "ids" / "item.parquet")
    shop = Shop.open(path)
    page = render(describe(shop, checked=True), {}, products(shop))
    assert page.count("item 802.538.") == 6 and "item 11<" not in page
    assert page.count("<span>no picture</span>") == page.count("broken picture: ") == 1
    assert "1 cannot be decoded" in page
    assert re.search(r'verdict other">broken</span> every rule', page)


def test_a_shop_with_the_least_there_is_has_a_page(make_shop, tmp_path):
    path = make_shop(
        searches=lambda frame: frame.clear(),
        items=lambda frame: frame.with_columns(
            image=pl.lit(None, pl.Binary), price=pl.lit(None, pl.Float64)
        ),
        impressions=lambda frame: frame.filter(pl.col("time") < TEST).with_columns(
            search_id=pl.lit(None, pl.Int64), position=pl.lit(0, pl.Int32)
        ),
    )
    (path / "users.parquet").unlink()
    shop = Shop.open(path)
    page = write_description(describe(shop), products(shop), tmp_path / "out").read_text()
    Reader(page)
    assert "The test period has no impressions" in page and "nan" not in page.lower().replace(
        "finan", ""
    )
    assert "Nothing was checked here" in page and "Simulated" not in page
