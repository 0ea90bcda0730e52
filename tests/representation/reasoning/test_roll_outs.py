"""Roll-outs: drawn by seed, read as a loop reads them, and what the objective does to their chances."""

import pytest
import torch
from torch.nn import functional

from representation.pretraining.objective import IGNORED, Dialogue
from representation.reasoning.objective import group_advantages, policy_loss
from representation.reasoning.roll_outs import as_inputs, draw, read

MOST, COUNT, TEMPERATURE = 5, 3, 0.7


@pytest.fixture
def asked(encoder):
    """Two questions, the first with a picture, each three times."""
    import numpy as np

    dialogue = Dialogue(encoder.composer, 8, MOST)
    questions = dialogue.questions(["List."] * 2, ["red mug", "lamp"], [True, False])
    picture = np.full((1, 16, 16, 3), 90, np.uint8)
    often = [row for row in questions for _ in range(COUNT)]
    inputs = encoder.composer.batch(often, picture.repeat(COUNT, axis=0))
    return dialogue, questions, inputs.to(encoder.device)


def drawn(encoder, asked, seed=0, temperature=TEMPERATURE):
    dialogue, questions, inputs = asked
    torch.manual_seed(seed)
    return draw(encoder, questions, inputs, COUNT, dialogue.end, MOST, temperature)


def test_the_seed_decides_what_is_drawn(encoder, asked):
    first = drawn(encoder, asked)
    assert drawn(encoder, asked).rows == first.rows
    assert drawn(encoder, asked, seed=1).rows != first.rows
    assert len({tuple(row) for row in first.rows[:COUNT]}) > 1, "roll-outs of a product differ"
    greedy = drawn(encoder, asked, temperature=None)
    assert greedy.rows[0] == greedy.rows[1] == drawn(encoder, asked, 5, None).rows[2]
    for place, row in enumerate(first.rows):
        question = asked[1][place // COUNT]
        assert row[: len(question)] == question and row[-1] == asked[0].end[-1]


@pytest.mark.parametrize("temperature", [TEMPERATURE, None])
def test_the_token_of_pictures_is_never_said(encoder, asked, temperature, monkeypatch):
    """A model to which it is the likeliest of all: rows would ask for pictures that are not there."""
    place, plain = encoder.backbone.image_token_id, encoder.backbone.logits

    def logits(states):
        found = plain(states)
        found[..., place] += 100
        return found

    monkeypatch.setattr(encoder.backbone, "logits", logits)
    found = drawn(encoder, asked, temperature=temperature)
    inputs, labels = as_inputs(encoder, found, asked[2])
    with torch.no_grad():
        seen = read(encoder.backbone, inputs, labels, TEMPERATURE)
    assert torch.isfinite(seen.log_probs).all()
    for at, row in enumerate(found.rows):
        assert place not in row[len(asked[1][at // COUNT]) :]


def test_an_end_that_was_not_drawn_is_not_learnt(encoder, asked):
    dialogue, _, _ = asked
    found = drawn(encoder, asked)
    dialogue.end[0] = found.rows[0][len(asked[1][0]) + 1]  # what the first says second ends it now
    found = drawn(encoder, asked)
    assert found.has_ended[0] and not all(found.has_ended)
    for row, labels, ended in zip(found.rows, found.labels, found.has_ended, strict=True):
        assert (labels[-1] == row[-1]) == ended
        said = [label for label in labels if label != IGNORED]
        assert 1 <= len(said) <= MOST + ended


def test_chances_and_vectors_are_those_of_one_row_at_a_time(encoder, asked):
    found = drawn(encoder, asked)
    inputs, labels = as_inputs(encoder, found, asked[2])
    with torch.no_grad():
        together = read(encoder.backbone, inputs, labels, TEMPERATURE)
    for place, (row, told) in enumerate(zip(found.rows, found.labels, strict=True)):
        pixels = asked[2].pixels[:1] if place < COUNT else None
        alone = encoder.composer.batch([row], None).to(encoder.device)
        alone.pixels = pixels
        with torch.no_grad():
            states = encoder.backbone.output_states(alone, causal=True)[0]
        for at in range(1, len(row)):
            if told[at] == IGNORED:
                assert not together.said[place, at - 1] and not together.log_probs[place, at - 1]
                continue
            logits = encoder.backbone.logits(states[at - 1]) / TEMPERATURE
            logits[encoder.backbone.image_token_id] = -torch.inf
            wanted = functional.log_softmax(logits, dim=-1)[row[at]]
            torch.testing.assert_close(together.log_probs[place, at - 1], wanted, atol=1e-5, rtol=1e-5)  # fmt: skip
        vector = functional.normalize(states[len(row) - 1], dim=-1)
        torch.testing.assert_close(together.vectors[place], vector, atol=1e-5, rtol=0)


def test_the_objective_makes_rewarded_roll_outs_likelier(encoder, asked):
    found = drawn(encoder, asked)
    inputs, labels = as_inputs(encoder, found, asked[2])
    rewards = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    optimizer = torch.optim.SGD(encoder.module.parameters(), lr=0.05)

    def chances():
        seen = read(encoder.backbone, inputs, labels, TEMPERATURE)
        return seen, seen.log_probs.sum(dim=1).detach().view(2, COUNT)

    seen, before = chances()
    loss = policy_loss(seen.log_probs, group_advantages(rewards).view(-1), seen.said, 0.2, 0.0).loss
    loss.backward()
    optimizer.step()
    moved = chances()[1] - before
    best = rewards.bool()
    assert (moved[best] > 0).all()
    assert (moved[best] > moved[~best].view(2, -1).max(dim=1).values).all()
