"""Settings become the modules they name."""

import pytest

from moon_rec.errors import RankingError
from ranking.assembly import ReadSizes, assemble
from ranking.behaviour import BST, CUBE, DIEN, DIN, DMF, MAKE, SimTier
from ranking.config import RankerConfig


def sizes(length):
    return ReadSizes(24, (24, 8), (length, 5), (True, False), 6, False)


def test_ways_stand_side_by_side_behind_the_sequence_model():
    config = RankerConfig(content="cube+simtier+dmf+make", sequence="dien")
    made = assemble(sizes(20), config, left_out=("dmf",))
    assert [type(part) for part in made.parts] == [DIEN, SimTier, MAKE, CUBE]
    made = assemble(sizes(20), RankerConfig(content="dmf", sequence="bst"))
    assert [type(part) for part in made.parts] == [BST, DMF]
    assert made.target_dim == sum(part.target_dim for part in made.parts)


@pytest.mark.parametrize("sequence", ["dien", "bst"])
def test_a_sequence_model_refuses_histories_that_it_cannot_read_at_once(sequence):
    with pytest.raises(RankingError, match="these histories have up to 1001") as caught:
        assemble(sizes(1001), RankerConfig(sequence=sequence))
    assert "\n" not in str(caught.value)
    assert isinstance(assemble(sizes(1001), RankerConfig()).parts[0], DIN)
