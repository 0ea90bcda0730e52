"""The recipe of sampled non-clicks: a field of the manifest, null where they were observed, read strictly."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moon_rec.errors import ShopError
from moon_rec.shop import Shop
from moon_rec.shop.manifest import Manifest
from moon_rec.shop.non_click_recipe import (
    NonClickRecipe,
    ProbeAuc,
    non_clicks_said,
    other_recipes,
)
from moon_rec.shop.readers.interactions import InteractionsConfig, import_interactions
from moon_rec.shop.readers.tables import import_tables

RECIPE = NonClickRecipe("moon_rec", 3, "uniformly", 7, ProbeAuc(0.71, 0.7, 0.72))
shares = st.floats(0, 1)
recipes = st.builds(
    NonClickRecipe,
    st.text(min_size=1, max_size=40),
    st.integers(1, 100),
    st.text(min_size=1, max_size=40),
    st.integers(0, 2**63 - 1),
    st.none() | st.builds(ProbeAuc, shares, shares, shares),
)


@given(recipes)
def test_plain_values_and_back(recipe):
    again = NonClickRecipe.read(json.loads(json.dumps(recipe.as_dict())))
    assert again == recipe and again is not None
    assert again.is_as(replace(recipe, probe=None)) and not again.is_as(None)
    assert not other_recipes(recipe, again) and not other_recipes(None, None)
    for other in (None, replace(recipe, number=recipe.number + 1), replace(recipe, seed=recipe.seed + 1)):  # fmt: skip
        assert "different non-clicks" in other_recipes(recipe, other)


def test_in_words():
    assert non_clicks_said(None) == non_clicks_said(None, "; ") == ""
    assert non_clicks_said(RECIPE, "; ") == (
        "; non-clicks sampled (3 a positive uniformly; seed 7; a model without content tells them with AUC 0.710 [0.700, 0.720])"
    )
    assert non_clicks_said(RECIPE, is_brief=True) == "non-clicks sampled (3 a positive)"


def test_a_manifest_keeps_it_and_the_digest_does_not_know_it(make_shop, tmp_path):
    folder = make_shop()
    before = Shop.open(folder)
    assert before.non_clicks is None
    assert json.loads((folder / "manifest.json").read_text())["non_clicks"] is None
    replace(before.manifest, non_clicks=RECIPE).write(folder)
    after = Shop.open(folder)
    assert after.non_clicks == RECIPE and after.digest == before.digest
    assert after.manifest.renewed(folder).non_clicks == RECIPE
    assert import_tables(folder, tmp_path / "again").non_clicks == RECIPE


def test_a_manifest_of_before_has_none(make_shop):
    folder = make_shop()
    values = json.loads((folder / "manifest.json").read_text())
    del values["non_clicks"]
    (folder / "manifest.json").write_text(json.dumps(values))
    assert Manifest.read(folder).non_clicks is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("sampled", "'sampled' is no recipe"),
        ({"number": 2.5}, "number is 2.5, wanted int"),
        ({"seed": True}, "seed is True, wanted int"),
        ({"rules": ""}, "rules is '', wanted str"),
        ({"rules": None}, "rules is None"),
        ({"further": 1}, "is no recipe"),
        ({"probe": 0.7}, "probe is '0.7', wanted null or value, low and high"),
        ({"probe": {"value": 2, "low": 0, "high": 1}}, "from 0 to 1"),
    ],
)
def test_a_manifest_with_another_is_refused(make_shop, change, says):
    folder = make_shop()
    values = json.loads((folder / "manifest.json").read_text())
    values["non_clicks"] = RECIPE.as_dict() | change if isinstance(change, dict) else change
    (folder / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(ShopError) as caught:
        Shop.open(folder)
    assert "manifest.json: non_clicks: " in str(caught.value) and says in str(caught.value)


def test_the_importer_writes_what_its_probe_found(tmp_path, capsys):
    random = np.random.default_rng(0)
    users, items = random.integers(0, 200, 3_000), random.integers(0, 300, 3_000)
    rows = [(f"u{users[n]}", f"i{items[n]}", 1_700_000_000 + 500 * n) for n in range(3_000)]
    pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").write_csv(
        tmp_path / "log.csv"
    )
    shop = import_interactions([tmp_path / "log.csv"], tmp_path / "shop", config=InteractionsConfig(time_unit="s"))  # fmt: skip
    assert shop.non_clicks is not None and shop.non_clicks.probe is not None
    probe = shop.non_clicks.probe
    assert 0 < probe.low < probe.value < probe.high < 1
    said = capsys.readouterr().err
    assert f"what the sampling gives away: {probe.value:.4f} [{probe.low:.4f}, {probe.high:.4f}]" in said  # fmt: skip
    assert "non-clicks" not in shop.source
