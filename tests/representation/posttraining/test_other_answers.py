"""What else may answer a query: siblings as positives, negatives above the positive, and the past as the only negatives (MoCo, SCL); each written out."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from moon_rec.errors import ConfigError
from representation.losses import infonce
from representation.posttraining.batches import Batches
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.momentum import MomentumEncoder
from representation.posttraining.pairs import logged_pairs, own_pairs
from representation.posttraining.schedule import Schedule
from representation.posttraining.step import ContrastiveStep

MIXTURE = {"text->title+image": 1.0}
PLAIN = {"batch_size": 8, "precision": "float32", "steps": 12, "mixture": MIXTURE}


def step_of(encoder, known, **values):
    config = PosttrainConfig.model_validate({**PLAIN, **values})
    return ContrastiveStep(config, encoder.widths[-1:], known, encoder.device)


def embedder(encoder):
    return lambda *sides: [encoder.embed(side) for side in sides]


@pytest.fixture
def batches(little_shop, encoder, known):
    pairs = logged_pairs(little_shop), own_pairs(little_shop)
    schedule = Schedule(*pairs, MIXTURE, {}, 12, 8, 0)
    return Batches(little_shop, encoder, schedule, known, None, 0)


def doubled(batch):
    """Its second pair's item also answers its first query."""
    batch.blocked = batch.blocked.clone()
    batch.blocked[0, 1] = True
    return batch


def test_what_is_known_to_answer_is_a_positive(encoder, known, batches):
    batch = doubled(batches.make(0))
    with torch.no_grad():
        queries, items = encoder.embed(batch.queries), encoder.embed(batch.items)
    step = step_of(encoder, known, other_positives="positives")
    found = step.backward(batch, 0, embedder(encoder), torch.float32)
    wanted = infonce(queries, items, 0.07, batch.blocked, siblings=batch.blocked).item()
    assert found.loss.item() == pytest.approx(wanted, rel=1e-5)
    left_out = step_of(encoder, known).backward(batch, 0, embedder(encoder), torch.float32)
    assert left_out.loss.item() != pytest.approx(wanted, rel=1e-3)


def test_chunks_change_nothing_of_siblings(encoder, known, batches):
    losses = []
    for chunk in (None, 3):
        step = step_of(encoder, known, other_positives="positives", chunk_size=chunk)
        found = step.backward(doubled(batches.make(0)), 0, embedder(encoder), torch.float32)
        losses.append(found.loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_a_negative_above_the_positive_is_left_out(encoder, known, batches, margin):
    """Vectors by chance: half of what they are compared with lies above the positive."""

    def run(**values):
        step = step_of(encoder, known, num_negatives=40, queue_drift="kept", **values)
        random = torch.Generator().manual_seed(0)
        for number in range(4):
            drawn = torch.randn(2, 8, encoder.dim, generator=random)
            vectors = [*functional.normalize(drawn, dim=2)]
            found = step.loss(batches.make(number), number, vectors)[1]
        return vectors, found

    (queries, items), found = run(above_positive_margin=margin)
    batch, drawn = batches.make(3), found.past.drawn
    right = (queries * items).sum(1, keepdim=True) + margin
    above = (queries @ items.T > right) & ~torch.eye(8, dtype=torch.bool)
    assert above.any() and torch.equal(found.blocked, batch.blocked | above)
    was_known = known.blocked(batch.rows, drawn.item_ids.numpy(), drawn.spu_ids.numpy())
    of_past = (queries @ found.past.bank.vectors.T > right).numpy()
    assert of_past.any() and np.array_equal(found.past.blocked, was_known | of_past)
    assert found.numbers()["negatives"] < 0.9 * run()[1].numbers()["negatives"]


def test_the_past_alone_is_moco(encoder, known, batches):
    """Query against the slow encoder's vector of its own positive and the queue: no other item of the batch, no gradient but the query's."""
    values = {"queue_term": "alone", "num_negatives": 24, "queue_drift": "kept", "momentum": 0.9}
    step = step_of(encoder, known, **values)
    slow = MomentumEncoder(encoder, 0.9)
    for number in range(6):
        batch = batches.make(number)
        found = step.backward(batch, number, embedder(encoder), torch.float32, slow=slow.embed)
    assert len(found.past.drawn.item_ids) == 24
    with torch.no_grad():
        queries, keys = encoder.embed(batch.queries), slow.embed(batch.items)
    losses = []
    for row in range(8):
        scores = [float(queries[row] @ keys[row])]
        for place, vector in enumerate(found.past.bank.vectors):
            if not found.past.blocked[row, place]:
                scores.append(float(queries[row] @ vector))
        scores = np.array(scores) / 0.07
        losses.append(np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[0])
    assert found.loss.item() == pytest.approx(np.mean(losses), rel=1e-4)
    vectors = [queries.clone().requires_grad_(), keys.clone().requires_grad_()]
    step.loss(batch, 6, vectors, [keys])[0].backward()
    assert vectors[0].grad.abs().sum() > 0
    assert vectors[1].grad is None or not vectors[1].grad.any()


def test_a_first_step_without_a_past_learns_from_the_batch(encoder, known, batches):
    values = {"queue_term": "alone", "num_negatives": 24, "momentum": 0.9}
    slow = MomentumEncoder(encoder, 0.9)
    found = step_of(encoder, known, **values).backward(
        batches.make(0), 0, embedder(encoder), torch.float32, slow=slow.embed
    )
    assert found.past is None and found.loss > 0.1


def test_scl_is_a_preset_of_its_parts():
    scl = PosttrainConfig.preset("scl")
    assert (scl.num_past, scl.queue_length, scl.queue_term) == (196_800, 196_800, "alone")
    assert scl.hard_negative_kinds == ("clicked",) and scl.triplet_weight > 0
    small = PosttrainConfig.preset("scl", num_negatives=50, queue_length=50)
    assert small.has_queue and small.num_past == 50


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"queue_term": "alone", "num_negatives": 20}, "wants momentum"),
        ({"other_positives": "positives", "loss": "circle"}, "is for loss='infonce'"),
        ({"other_positives": "positives", "symmetric": True}, "is for loss='infonce'"),
    ],
)
def test_what_does_not_go_together_is_refused(values, said):
    with pytest.raises((ConfigError, ValueError), match=said):
        PosttrainConfig.model_validate({**PLAIN, **values})
