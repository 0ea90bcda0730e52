"""Draws of listed items against literal loops."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def drawn(world):
    """Random rows and times, and what each draw gives for them."""
    rng = np.random.default_rng(0)
    rows = rng.integers(len(world.catalogue), size=(400, 5))
    days = rng.uniform(0, world.config.days, rows.shape)
    listing = world.listing
    of_rows = ("of_category", "newest_of_category", "sibling", "near")
    found = {name: getattr(listing, name)(rows, days, rng) for name in of_rows}
    found |= {name: getattr(listing, name)(days, rng) for name in ("popular", "newest")}
    return rows, days, found


@pytest.mark.parametrize(
    "name", ["of_category", "newest_of_category", "sibling", "near", "popular", "newest"]
)
def test_only_listed_items_are_drawn(world, drawn, name):
    _, days, found = drawn
    there = found[name] >= 0
    assert there.mean() > 0.3
    assert (world.listing.listed[found[name]] <= days)[there].all()


@pytest.mark.parametrize("name", ["of_category", "newest_of_category", "near"])
def test_the_category_is_kept(world, drawn, name):
    rows, _, found = drawn
    there = found[name] >= 0
    assert (world.catalogue.categories[found[name]] == world.catalogue.categories[rows])[
        there
    ].all()


@pytest.mark.parametrize("name", ["newest", "newest_of_category"])
def test_new_items_are_within_the_window(world, drawn, name):
    _, days, found = drawn
    there = found[name] >= 0
    assert (days - world.listing.listed[found[name]] < world.listing.window)[there].all()


def test_a_sibling_is_another_sku_of_the_spu(world, drawn):
    rows, _, found = drawn
    there = found["sibling"] >= 0
    spus = world.catalogue.spu_ids
    assert (spus[found["sibling"]] == spus[rows])[there].all()
    assert (found["sibling"] != rows)[there].all()


def test_popular_items_are_drawn_more_often(world, drawn):
    _, _, found = drawn
    assert world.listing.popularity[found["popular"]].mean() > 0.7


def test_neighbours_share_most_traits(world):
    catalogue = world.catalogue
    weights = np.array([trait.weight for trait in catalogue.traits])
    for row in range(0, len(catalogue), 97):
        likeness = {}
        for other in range(len(catalogue)):
            same = catalogue.codes[row] == catalogue.codes[other]
            if same[0] and catalogue.spu_ids[row] != catalogue.spu_ids[other]:
                likeness[other] = float(weights[1:] @ same[1:])
        best = sorted(likeness.values(), reverse=True)
        found = [n for n in world.listing.neighbours[row].tolist() if n >= 0]
        assert [likeness[n] for n in found] == pytest.approx(best[: len(found)])
        assert len(found) == min(24, len(best))


def test_some_items_are_listed_later(world, config):
    later = (world.listing.listed > 0).mean()
    assert later == pytest.approx(config.share_listed_later, abs=0.08)
    assert world.listing.listed.max() < config.days
