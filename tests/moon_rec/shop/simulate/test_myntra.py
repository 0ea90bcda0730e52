"""Myntra's products as a catalogue: the guesses that its docstring describes."""

import numpy as np
import polars as pl
import pytest

pytest.importorskip("moon_rec.shop.readers.myntra")
from moon_rec.shop.simulate.myntra import MEASURES, MyntraCatalogue, _brands, _buyer, _parts, _spus


@pytest.fixture(scope="module")
def real(real_data):
    return MyntraCatalogue.make(real_data / "myntra", 400, seed=0)


def test_brands_are_what_titles_begin_with():
    titles = ["Red Tape Men Brown Shoes"] * 5 + [
        "Red Tape Formal Black",
        "Ferrari Tee",
        "Rare Women Top",
    ]
    assert _brands(titles) == ["Red Tape"] * 6 + [None, None]


@pytest.mark.parametrize(
    ("title", "buyer"),
    [
        ("Puma Men's Shoes", "men"),
        ("Women Red Top", "women"),
        ("Kids Cap", "kids"),
        ("A Mentor Bag", "unsaid"),
    ],
)
def test_buyers_are_read_from_titles(title, buyer):
    assert _buyer(title) == buyer


def test_an_spu_is_one_title_in_several_colours_with_near_ids():
    rows = [
        (1, "Acme Men Red Polo"),
        (2, "Acme Men Blue Polo 12"),
        (90, "Acme Men Red Polo"),
        (91, "Other Polo"),
    ]
    rows += [(200 + k, "Acme Women Heels") for k in range(7)]
    frame = pl.DataFrame(rows, schema=["product_id", "title"], orient="row").with_columns(
        article_type=pl.lit("Shirts"), base_colour=pl.Series((["Red", "Blue"] * 6)[: len(rows)])
    )
    assert _spus(frame).tolist() == [1, 1, 90, 91, *range(200, 207)]


def test_parts_are_equal_within_each_group():
    values, among = np.random.default_rng(0).random(80), ["a"] * 40 + ["b"] * 40
    values[40:] += 100
    parts = _parts(values.astype(np.float32), among)
    for group in (slice(0, 40), slice(40, 80)):
        assert np.bincount(parts[group]).tolist() == [10, 10, 10, 10]
        assert (np.diff(parts[group][np.argsort(values[group])]) >= 0).all()


def test_the_catalogue_is_whole(real):
    assert len(real) == 400 and (np.diff(real.item_ids) > 0).all()
    for k, trait in enumerate(real.traits):
        assert real.codes[:, k].min() >= 0 and real.codes[:, k].max() < len(trait.values)
    assert (real.prices > 0).all() and real.items["category"].str.count_matches("/").eq(2).all()
    assert all(words for words in real.words)


def test_what_is_measured_on_pictures_is_not_written(real):
    written = real.items.select("title", "attributes")
    names = {pair["name"] for pairs in written["attributes"].to_list() for pair in pairs}
    assert not names & set(MEASURES)
    pictures_only = [trait.name for trait in real.traits if trait.seen == "picture"]
    assert pictures_only == list(MEASURES)


def test_measured_traits_are_no_guess_from_article_type_or_colour(real):
    """Within each article type (or colour) the parts are equally frequent, so those columns tell nothing."""
    texture = [trait.name for trait in real.traits].index("texture")
    kind = np.bincount(real.codes[:, 0]).argmax()
    counts = np.bincount(real.codes[real.codes[:, 0] == kind, texture], minlength=4)
    assert counts.max() - counts.min() <= 1


def test_pictures_and_cut_products_come_in_the_order_asked(real):
    rows = np.array([300, 7])
    one_by_one = [next(iter(real.pictures(np.array([row])))) for row in rows]
    assert list(real.pictures(rows)) == one_by_one
    assert all(product.mode == "RGBA" for product in real.products(rows))
