"""Which queues a training makes, and that a save of all forms is read."""

import pytest
import torch

from representation.posttraining.config import PosttrainConfig
from representation.posttraining.mixture import KINDS
from representation.posttraining.pair_batch import PairBatch
from representation.posttraining.past_negatives import PastNegatives

DEVICE = torch.device("cpu")


def past_of(**values):
    return PastNegatives(PosttrainConfig(batch_size=4, num_negatives=9, **values), None, 2, DEVICE)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"mixture": {"image->image": 1.0, "text->image": 1.0, "text->richer-text": 0.0}}, {"image"}),
        ({"mixture": {"text->richer-text": 1.0, "text->image": 1.0}, "pairs": "catalogue"}, {"image"}),
        ({}, {"richer-text", "image", "title+image", "richer-text+image"}),
    ],
    ids=["weights", "catalogue", "all"],
)  # fmt: skip
def test_queues_are_those_of_the_mixture(values, wanted):
    past = past_of(**values)
    assert set(past.queues) == set(past.drifts) == wanted


def test_a_save_goes_on_with_the_same_bits():
    """Names and tensors of a save are those of a training that had made queues of all forms."""
    mixture = {"mixture": {"image->image": 1.0}}
    past, again = past_of(**mixture), past_of(**mixture)
    ids = torch.arange(4)
    batch = PairBatch(KINDS["image->image"], None, None, None, None, ids, ids, ids, slice(0, 4))  # type: ignore[arg-type]
    past.push(batch, torch.randn(4, 2), None, 3)
    again.load_state_dict(past.state_dict())
    assert {name.partition("/")[0] for name in past.state_dict()} == {"image"}
    one, other = (
        each.queues["image"].draw(3, 4, torch.Generator().manual_seed(1)) for each in (past, again)
    )
    assert torch.equal(one.vectors, other.vectors) and torch.equal(one.item_ids, other.item_ids)
