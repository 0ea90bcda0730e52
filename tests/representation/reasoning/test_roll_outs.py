"""Roll-outs: drawn by seed, read as a loop reads them, and what the objective does to their chances."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from representation.fusion import FusionConfig
from representation.pretraining.objective import IGNORED, Dialogue
from representation.reasoning.objective import group_advantages, policy_loss
from representation.reasoning.roll_outs import Branched, draw, read, sayable, with_seen_pictures

MOST, COUNT, TEMPERATURE = 5, 3, 0.7


@pytest.fixture
def asked(encoder):
    """Two questions, the first with a picture."""
    import numpy as np

    dialogue = Dialogue(encoder.composer, 8, MOST)
    questions = dialogue.questions(["List."] * 2, ["red mug", "lamp"], [True, False])
    picture = np.full((1, 16, 16, 3), 90, np.uint8)
    return dialogue, questions, encoder.composer.batch(questions, picture).to(encoder.device)


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
    rolled = Branched.of(encoder, found, asked[2])
    with torch.no_grad():
        seen = read(encoder.backbone, rolled, TEMPERATURE)
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


def test_an_answer_as_long_as_may_be_comes_to_its_end(encoder, asked):
    """Pretraining teaches answers of as many tokens, and their ends."""
    dialogue, questions, inputs = asked
    wanted = draw(encoder, questions, inputs, 1, dialogue.end, 9, None).answers[0].tokens
    most = next(at for at in range(1, 9) if wanted[at] not in wanted[:at])
    end = [wanted[most], *dialogue.end[1:]]
    for length, has_ended in ((most, True), (most - 1, False)):
        found = draw(encoder, questions, inputs, 1, end, length, None)
        assert found.answers[0].tokens == wanted[:length]
        assert found.answers[0].has_ended == has_ended
        assert (found.labels[0][len(questions[0]) + length] == end[0]) == has_ended


def alone(encoder, asked, place, row):
    """A roll-out as a row of its own, with its picture."""
    made = encoder.composer.batch([row], None).to(encoder.device)
    made.pixels = asked[2].pixels[:1] if place < COUNT else None
    return made


def test_chances_vectors_and_gradients_are_those_of_one_row_at_a_time(encoder, asked):
    """Answers of a product share its question, and see nothing of each other."""
    found = drawn(encoder, asked)
    assert len({len(row) for row in found.rows}) > 1
    together = read(encoder.backbone, Branched.of(encoder, found, asked[2]), TEMPERATURE)
    encoder.module.zero_grad()
    (together.log_probs.sum() + together.vectors[:, 0].sum()).backward()
    ours = [None if value.grad is None else value.grad.clone() for value in encoder.module.parameters()]  # fmt: skip
    encoder.module.zero_grad()
    for place, (row, told) in enumerate(zip(found.rows, found.labels, strict=True)):
        asks = len(asked[1][place // COUNT])
        states = encoder.backbone.output_states(alone(encoder, asked, place, row), causal=True)[0]
        total = functional.normalize(states[len(row) - 1], dim=-1)
        torch.testing.assert_close(together.vectors[place], total, atol=1e-5, rtol=0)
        total = total[0]
        for at in range(asks, len(row)):
            if told[at] == IGNORED:
                assert not together.said[place, at - asks] and not together.log_probs[place, at - asks]  # fmt: skip
                continue
            logits = encoder.backbone.logits(states[at - 1]) / TEMPERATURE
            logits = logits.index_fill(0, torch.tensor([encoder.backbone.image_token_id]), -torch.inf)  # fmt: skip
            wanted = functional.log_softmax(logits, dim=-1)[row[at]]
            torch.testing.assert_close(together.log_probs[place, at - asks], wanted, atol=1e-5, rtol=1e-5)  # fmt: skip
            total = total + wanted
        total.backward()
    for value, wanted in zip(encoder.module.parameters(), ours, strict=True):
        assert (value.grad is None) == (wanted is None)
        if wanted is not None:
            torch.testing.assert_close(value.grad, wanted, rtol=1e-4, atol=1e-5)


def test_what_is_kept_of_a_question_draws_what_reading_it_anew_draws(encoder, asked):
    """The likeliest token of the whole row again and again, against keys and values that are kept; rows of several lengths, with a picture and without."""
    found = drawn(encoder, asked, temperature=None)
    for place, one in enumerate(found.answers):
        wanted = list(asked[1][place // COUNT])
        for _ in range(MOST):
            inputs = alone(encoder, asked, place, wanted)
            with torch.no_grad():
                state = encoder.backbone.output_states(inputs, causal=True)[0, len(wanted) - 1]
                scores = sayable(encoder.backbone, encoder.backbone.logits(state))
            if (token := int(scores.argmax())) == asked[0].end[0]:
                break
            wanted.append(token)
        assert one.tokens == wanted[len(asked[1][place // COUNT]) :]


def test_what_a_tower_makes_of_a_picture_serves_all_passes(encoder, asked):
    dialogue, questions, inputs = asked
    kept = with_seen_pictures(encoder.backbone, inputs)
    assert kept.pixels is None
    found = drawn(encoder, (dialogue, questions, kept))
    assert found.rows == drawn(encoder, asked).rows
    ours, theirs = (read(encoder.backbone, Branched.of(encoder, found, one), TEMPERATURE) for one in (kept, inputs))  # fmt: skip
    torch.testing.assert_close(ours.vectors, theirs.vectors, rtol=0, atol=1e-6)


def test_the_state_behind_an_answer_asks_the_raw_picture_and_title(encoder, asked):
    """A new fusion changes nothing; a learnt one is that of the vector's state, over picture and title, of which the answer is none."""
    found = drawn(encoder, asked)
    plain = read(encoder.backbone, Branched.of(encoder, found, asked[2]), TEMPERATURE)
    encoder.add_fusion(FusionConfig(heads=2), 0)
    dialogue = Dialogue(encoder.composer, 8, MOST)
    questions = dialogue.questions(["List."] * 2, ["red mug", "lamp"], [True, False])
    rows = [questions[place // COUNT] + row[len(asked[1][place // COUNT]) :] for place, row in enumerate(found.rows)]  # fmt: skip
    found = replace(found, rows=rows, questions=questions)
    rolled = Branched.of(encoder, found, asked[2])
    again = read(encoder.backbone, rolled, TEMPERATURE)
    assert torch.equal(again.vectors, plain.vectors)
    fusion = encoder.module.modality_fusion
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        fusion.output.weight.copy_(torch.randn(fusion.output.weight.shape, generator=draws))
    fused = read(encoder.backbone, rolled, TEMPERATURE).vectors
    for place, row in enumerate(rows):
        inputs = alone(encoder, asked, place, row)
        said = inputs.words[0].nonzero().flatten().tolist()
        words = encoder.tokenizer.decode(inputs.token_ids[0, said])
        assert words.strip() == ("red mug" if place < COUNT else "lamp")
        assert max(said) < len(questions[place // COUNT])
        with torch.no_grad():
            embedded = encoder.backbone.embedded(inputs)
            states = encoder.backbone.states(embedded, inputs.mask, causal=True)
            masks = {"image": embedded.is_picture, "text": inputs.words}
            wanted = fusion(states[:, len(row) - 1], embedded.states, masks)
        torch.testing.assert_close(fused[place], functional.normalize(wanted, dim=1)[0], atol=1e-5, rtol=0)  # fmt: skip


def test_the_objective_makes_rewarded_roll_outs_likelier(encoder, asked):
    found = drawn(encoder, asked)
    rolled = Branched.of(encoder, found, asked[2])
    rewards = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    optimizer = torch.optim.SGD(encoder.module.parameters(), lr=0.05)

    def chances():
        seen = read(encoder.backbone, rolled, TEMPERATURE)
        return seen, seen.log_probs.sum(dim=1).detach().view(2, COUNT)

    seen, before = chances()
    loss = policy_loss(seen.log_probs, group_advantages(rewards).view(-1), seen.said, 0.2, 0.0).loss
    loss.backward()
    optimizer.step()
    moved = chances()[1] - before
    best = rewards.bool()
    assert (moved[best] > 0).all()
    assert (moved[best] > moved[~best].view(2, -1).max(dim=1).values).all()
