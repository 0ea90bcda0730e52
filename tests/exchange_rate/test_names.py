"""Labels say what the settings say."""

import pytest

from exchange_rate.names import WAYS, RankerNames, ranker_name
from ranking.config import WAYS as ALL_WAYS
from ranking.config import RankerConfig


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"content": "simtier"}, "SimTier"),
        ({"content": "simtier+sata"}, "SimTier + SA-TA"),
        ({"content": "cube", "sequence": "bst", "search": "content"}, "CUBE over BST, content search"),
        ({"content": "none"}, "DIN on ids only"),
        ({"content": "none", "sequence": "dien", "search": "category"}, "DIEN on ids only, category search"),
    ],
)  # fmt: skip
def test_a_ranker_is_called_by_its_settings(settings, name):
    assert ranker_name(RankerConfig(**settings)) == name


def test_every_way_has_a_name_of_its_own():
    assert tuple(WAYS) == ALL_WAYS
    assert len({ranker_name(RankerConfig(content=way)) for way in ALL_WAYS}) == len(ALL_WAYS)


def test_what_else_two_rankers_differ_in_is_told():
    ids, cube = RankerConfig(), RankerConfig(content="cube", num_tiers=5, epochs=3, seed=0)
    assert RankerNames.of("", cube, ids).differences == ("epochs = 3 (baseline: 4)",)
    assert RankerNames.of("", RankerConfig(content="make", make_epochs=9), ids).differences == ()
    assert RankerNames.of("", cube, ids).permuted == "CUBE on permuted vectors"
