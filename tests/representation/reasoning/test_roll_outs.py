"""Roll-outs: drawn by seed, read as a loop reads them, and what the objective does to their chances."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from representation.fusion import FusionConfig
from representation.pretraining.objective import IGNORED, Dialogue
from representation.reasoning.objective import group_advantages, policy_loss
from representation.reasoning.roll_outs import as_inputs, draw, read, with_seen_pictures

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
    has_ended = [one.has_ended for one in found.answers]
    assert has_ended[0] and not all(has_ended)
    for row, labels, ended in zip(found.rows, found.labels, has_ended, strict=True):
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


def test_a_picture_goes_through_the_tower_once_a_product(encoder, asked):
    """And its roll-outs share what comes out: draws to the bit, chances, vectors and gradients as with a picture for each."""
    dialogue, questions, often = asked
    once = replace(often, pixels=often.pixels[:1], which=torch.zeros(COUNT, dtype=torch.long))
    found = drawn(encoder, asked)
    assert drawn(encoder, (dialogue, questions, once)).rows == found.rows
    values = []
    for shown in (often, once):
        encoder.module.zero_grad()
        seen = read(encoder.backbone, *as_inputs(encoder, found, shown), TEMPERATURE)
        (seen.log_probs.sum() + seen.vectors[:, 0].sum()).backward()
        gradients = [value.grad for value in encoder.module.parameters() if value.grad is not None]
        values.append([seen.log_probs.detach(), seen.vectors.detach(), *gradients])
    for ours, theirs in zip(*values, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_what_a_tower_makes_of_a_picture_serves_all_passes(encoder, asked):
    dialogue, questions, often = asked
    kept = with_seen_pictures(encoder.backbone, often)
    assert kept.pixels is None
    found = drawn(encoder, (dialogue, questions, kept))
    assert found.rows == drawn(encoder, asked).rows
    ours, theirs = (read(encoder.backbone, *as_inputs(encoder, found, one), TEMPERATURE) for one in (kept, often))  # fmt: skip
    torch.testing.assert_close(ours.vectors, theirs.vectors, rtol=0, atol=1e-6)


def test_the_state_behind_an_answer_asks_the_raw_picture_and_title(encoder, asked):
    """A new fusion changes nothing; a learnt one is that of the vector's state, over picture and title, of which the answer is none."""
    found = drawn(encoder, asked)
    plain = read(encoder.backbone, *as_inputs(encoder, found, asked[2]), TEMPERATURE)
    encoder.add_fusion(FusionConfig(heads=2), 0)
    dialogue = Dialogue(encoder.composer, 8, MOST)
    questions = dialogue.questions(["List."] * 2, ["red mug", "lamp"], [True, False])
    rows = [questions[place // COUNT] + row[len(asked[1][place // COUNT]) :] for place, row in enumerate(found.rows)]  # fmt: skip
    inputs, labels = as_inputs(encoder, replace(found, rows=rows), asked[2])
    again = read(encoder.backbone, inputs, labels, TEMPERATURE)
    assert torch.equal(again.vectors, plain.vectors)
    fusion = encoder.module.modality_fusion
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        fusion.output.weight.copy_(torch.randn(fusion.output.weight.shape, generator=draws))
        fused = read(encoder.backbone, inputs, labels, TEMPERATURE).vectors
        embedded = encoder.backbone.embedded(inputs)
        states = encoder.backbone.states(embedded, inputs.mask, causal=True)
    for place, (row, question) in enumerate(zip(rows, [*questions[:1] * COUNT, *questions[1:] * COUNT], strict=True)):  # fmt: skip
        said = inputs.words[place, : len(row)].nonzero().flatten().tolist()
        words = encoder.tokenizer.decode(inputs.token_ids[place, said])
        assert words.strip() == ("red mug" if place < COUNT else "lamp")
        assert max(said) < len(question)
        masks = {"image": embedded.is_picture[place][None], "text": inputs.words[place][None]}
        with torch.no_grad():
            wanted = fusion(states[place, len(row) - 1][None], embedded.states[place][None], masks)
        torch.testing.assert_close(fused[place], functional.normalize(wanted, dim=1)[0], atol=1e-5, rtol=0)  # fmt: skip


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
