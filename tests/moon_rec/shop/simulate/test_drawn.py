"""The drawn catalogue: what the picture shows and what the text says are told apart."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from moon_rec.shop.simulate.drawing import COLOURS, ORNAMENTS, PATTERNS, PLACES, SILHOUETTES
from moon_rec.shop.simulate.drawn import DrawnCatalogue

ROWS = np.arange(40)


def texts(catalogue):
    """Everything that is written of each item."""
    for row in catalogue.items.iter_rows(named=True):
        attributes = " ".join(f"{pair['name']} {pair['value']}" for pair in row["attributes"])
        fields = (row["title"], row["category"], row["brand"], attributes, row["description"])
        yield set(re.findall(r"[a-z]+", " ".join(fields).lower()))


def test_what_only_the_picture_shows_is_never_written(catalogue):
    hidden = {word for group in (PATTERNS, ORNAMENTS, PLACES) for word in group}
    code = {trait.name: k for k, trait in enumerate(catalogue.traits)}
    for row, (words, query) in enumerate(zip(texts(catalogue), catalogue.words, strict=True)):
        second = list(COLOURS)[catalogue.codes[row, code["second_colour"]]]
        for said in (words, {word.lower() for word in query}):
            assert not said & hidden
            assert second not in said


def test_what_is_in_both_or_in_the_text_is_written(catalogue):
    for row, words in enumerate(texts(catalogue)):
        for trait, code in zip(catalogue.traits, catalogue.codes[row], strict=True):
            if trait.seen != "picture":
                assert trait.values[code].lower() in words, trait.name


def test_what_only_the_text_says_changes_no_pixel(catalogue):
    codes = catalogue.codes.copy()
    for k, trait in enumerate(catalogue.traits):
        if trait.seen == "text":
            codes[:, k] = (codes[:, k] + 1) % len(trait.values)
    other = DrawnCatalogue(
        catalogue.items, catalogue.traits, codes, catalogue.words, catalogue.shapes, catalogue.shades,
        catalogue.seed, catalogue.size,
    )  # fmt: skip
    assert list(other.pictures(ROWS)) == list(catalogue.pictures(ROWS))


@pytest.mark.parametrize("name", ["category", "colour", "pattern", "second_colour", "ornament"])
def test_what_the_picture_shows_changes_pixels(catalogue, name):
    k = next(k for k, trait in enumerate(catalogue.traits) if trait.name == name)
    pattern = next(k for k, trait in enumerate(catalogue.traits) if trait.name == "pattern")
    rows = ROWS[catalogue.codes[ROWS, pattern] != PATTERNS.index("plain")]
    codes = catalogue.codes.copy()
    codes[:, k] = (codes[:, k] + 1) % len(catalogue.traits[k].values)
    other = DrawnCatalogue(
        catalogue.items, catalogue.traits, codes, catalogue.words, catalogue.shapes, catalogue.shades,
        catalogue.seed, catalogue.size,
    )  # fmt: skip
    for old, new in zip(catalogue.pictures(rows), other.pictures(rows), strict=True):
        assert old != new


def test_skus_of_an_spu_differ_in_colour_alone(catalogue):
    names = [trait.name for trait in catalogue.traits]
    others = [k for k, name in enumerate(names) if name not in ("colour", "second_colour")]
    sizes = np.bincount(np.unique(catalogue.spu_ids, return_inverse=True)[1])
    assert sizes.max() == 4 and (sizes > 1).mean() > 0.5
    for spu in np.unique(catalogue.spu_ids)[:200]:
        codes = catalogue.codes[catalogue.spu_ids == spu]
        assert (codes[:, others] == codes[0, others]).all()
        assert len(np.unique(codes[:, names.index("colour")])) == len(codes)


def test_the_second_colour_is_another(catalogue):
    names = [trait.name for trait in catalogue.traits]
    assert (
        catalogue.codes[:, names.index("colour")]
        != catalogue.codes[:, names.index("second_colour")]
    ).all()


def test_pictures_are_of_the_asked_size_and_all_differ(catalogue):
    pictures = list(catalogue.pictures(ROWS))
    assert len(set(pictures)) == len(ROWS)
    assert Image.open(io.BytesIO(pictures[0])).size == (catalogue.size, catalogue.size)


def test_a_picture_does_not_depend_on_which_others_are_drawn(catalogue):
    assert list(catalogue.pictures(ROWS[7:9])) == list(catalogue.pictures(ROWS))[7:9]


def test_every_silhouette_holds_its_ornament(catalogue):
    """An ornament that fell off the silhouette would be a trait nobody can see."""
    from dataclasses import replace

    from moon_rec.shop.simulate.drawing import draw

    plain = replace(catalogue.look(0), pattern="plain", ornament="none")
    for kind in SILHOUETTES:
        for place in PLACES:
            bare = np.asarray(draw(replace(plain, kind=kind, place=place)), dtype=int)
            star = np.asarray(
                draw(replace(plain, kind=kind, place=place, ornament="star")), dtype=int
            )
            visible = (np.abs(bare - star).max(axis=2) > 40) & (bare[:, :, 3] > 0)
            assert visible.sum() > 250, (kind, place)
