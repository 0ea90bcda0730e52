"""Grading of answers on products listed from the cut on: greedy decoding, the figures, and the turn that questions stand in."""

import numpy as np
import polars as pl
import pytest
import torch

from moon_rec.errors import EncoderError
from representation import pretrain as command
from representation.core_region.config import CoreRegionConfig
from representation.pretraining import grading
from representation.pretraining.grading import Grader, grades_as_lines, greedy_answers, token_f1
from representation.pretraining.objective import Dialogue, chat_turn
from representation.pretraining.questions import ask

TEMPLATE = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe brief<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


@pytest.fixture
def graded(little_shop):
    return Grader.of(little_shop, 100)


def test_only_products_from_the_cut_on_are_graded_by_their_own_answers(little_shop, graded):
    later = little_shop.items.filter(pl.col("listed_at") >= little_shop.cut_time).collect()
    assert set(graded._items["item_id"]) == set(later["item_id"])
    assert {one.question for one in graded._asked} <= set(grading.GRADED)
    fewer = Grader.of(little_shop, 2)
    assert fewer._items.height == 2


def test_greedy_answers_are_those_of_a_literal_loop(encoder, graded, monkeypatch):
    """One question at a time, all of it computed anew for each token; batches of 3 mix rows with a picture and without, and rows that end early."""
    asked, pictures, items = graded._asked, graded._pictures, graded._items
    dialogue = Dialogue(encoder.composer, grading.CONTEXT_TOKENS, 6)
    from representation.training.picture_store import PictureStore

    store = PictureStore(
        pictures, [str(one) for one in items["item_id"]], encoder.layout.image_size, keep=False
    )
    wanted, ends = [], _common_token(encoder, asked, dialogue, pictures, store)
    dialogue.end[0] = ends
    monkeypatch.setattr(grading, "Dialogue", lambda *_: dialogue)
    for one in asked:
        has = pictures[one.row] is not None
        row = dialogue.questions([one.words], [one.context], [has])[0]
        shown = store.take([one.row]) if has else None
        said = []
        while len(said) < 6:
            inputs = encoder.composer.batch([row + said], shown).to(encoder.device)
            with torch.no_grad():
                states = encoder.backbone.output_states(inputs, causal=True)
                token = int(encoder.backbone.logits(states[0, len(row + said) - 1]).argmax())
            if token == ends:
                break
            said.append(token)
        wanted.append(encoder.tokenizer.decode(said, skip_special_tokens=True))
    found = greedy_answers(encoder, asked, items, pictures, batch_size=3, most_tokens=6)
    assert found == wanted
    assert len({len(one) for one in found}) > 1, "no row ended before another"


def _common_token(encoder, asked, dialogue, pictures, store):
    """A token that ends some answers of a random model, none at once."""
    said = greedy_answers(encoder, asked, pl.DataFrame({"item_id": range(99)}), pictures, 64, 6)
    tokens = [encoder.tokenizer.encode(one, add_special_tokens=False) for one in said]
    later = [ids[2] for ids in tokens if len(ids) > 2]
    return max(set(later), key=later.count)


@pytest.mark.parametrize(
    ("said", "true", "wanted"),
    [
        ("Red mug", "red mug", 1.0),
        ("a red red mug", "red mug", 2 * 2 / 6),
        ("red, red", "red red mug", 2 * 2 / 5),
        ("blue", "red mug", 0.0),
        ("", "red mug", 0.0),
    ],
)
def test_token_f1(said, true, wanted):
    assert token_f1(said, true) == pytest.approx(wanted)


@torch.no_grad()
def test_rows_with_pictures_may_end_before_those_without(encoder):
    """One row of words, two with a picture and its core region; all that show one end first, then the words go on. Each token is what its row alone would be told."""
    encoder.add_core_region(CoreRegionConfig())
    dialogue = Dialogue(encoder.composer, 8, 8)
    has = [False, True, True]
    rows = dialogue.questions(["what", "where", "what is it"], [""] * 3, has)
    squares = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 16, 3), dtype=np.uint8)
    ends, end = iter([(False, True, False), (False, True), (False,), (False,)]), dialogue.end[0]
    told = []

    def choose(logits):
        told.append(logits)
        return torch.where(torch.tensor(next(ends)), end, 5)

    inputs = encoder.composer.batch(rows, squares)
    said, has_ended = grading.continued(encoder, inputs, end, 3, choose)
    assert said == [[5, 5, 5], [], [5]] and has_ended == [False, True, True]
    alone = []

    def listen(logits):
        alone.append(logits)
        return torch.tensor([5])

    last = encoder.composer.batch(rows[2:], squares[1:])
    grading.continued(encoder, last, end, 2, listen)
    torch.testing.assert_close(told[0][2], alone[0][0])
    torch.testing.assert_close(told[1][1], alone[1][0])


def test_right_wrong_and_half_answers(graded, encoder, monkeypatch):
    def answered(change):
        monkeypatch.setattr(
            grading, "greedy_answers", lambda encoder, asked, *_: [change(one) for one in asked]
        )
        return graded.estimates(encoder)

    for name, one in answered(lambda one: one.answer.upper()).items():
        assert one.value == 1.0 and one.low < 1 and one.count > 1, name
    for one in answered(lambda one: "").values():
        assert one.value == 0.0 and one.high > 0
    two = [{"name": "colour", "value": "red"}, {"name": "size", "value": "small"}]
    items = pl.DataFrame({"item_id": [1], "title": ["mug"], "attributes": [two], "has_image": False})  # fmt: skip
    half = Grader(items, [None])
    assert ask(items)
    monkeypatch.setattr(
        grading,
        "greedy_answers",
        lambda encoder, asked, *_: ["size small, colour blue"] * len(asked),
    )
    assert half.estimates(encoder)["attribute_accuracy"].value == 0.5


def test_a_chat_template_decides_the_turn(encoder):
    tokenizer = encoder.tokenizer
    assert chat_turn(tokenizer)[1] == "<|im_end|>"
    plain = Dialogue(encoder.composer, 8, 8).rows(["What?"], ["context"], ["red mug"], [False])
    tokenizer.chat_template = TEMPLATE
    try:
        turn, end = chat_turn(tokenizer)
        assert turn.startswith(
            "<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\n{content}"
        )
        assert turn.endswith("<|im_end|>\n<|im_start|>assistant\n") and end == "<|im_end|>"
        rows, labels = Dialogue(encoder.composer, 8, 8).rows(
            ["What?"], ["context"], ["red mug"], [False]
        )
        whole = tokenizer.decode(rows[0]).lower()
        assert whole.startswith("<|im_start|>") and "be brief" in whole
        answered = [token for token in labels[0] if token != -100]
        assert answered == [token for token in plain[1][0] if token != -100]
        tokenizer.chat_template = "{{ raise_exception('no') }}"
        with pytest.raises(EncoderError, match="ends no answer: no"):
            chat_turn(tokenizer)
        tokenizer.chat_template = "nothing"
        with pytest.raises(EncoderError, match="takes no plain question, leaves it out"):
            chat_turn(tokenizer)
    finally:
        tokenizer.chat_template = None


def test_the_command_prints_grades_before_and_after(little_shop, encoder_path, tmp_path, capsys):
    words = [str(little_shop.path), "--out", str(tmp_path / "out"), "--start", str(encoder_path)]
    command.main([*words, "--set", "steps=2", "--set", "batch_size=4", "--graded", "3"])
    lines = capsys.readouterr().err.splitlines()
    named = [line for line in lines if line.startswith("title_f1 (")]
    assert len(named) == 1 and "step 0:" in named[0] and "step 2:" in named[0]


def test_a_table_of_grades():
    grades = [
        {"step": step, "title_f1": 0.25, "title_f1_low": 0.2, "title_f1_high": 0.3, "title_f1_products": 7.0}
        for step in (0, 5)
    ]  # fmt: skip
    line = "title_f1 (7 products): step 0: 0.250 [0.200, 0.300]; step 5: 0.250 [0.200, 0.300]"
    assert grades_as_lines(grades) == [line]
    assert np.isfinite(grades[0]["title_f1"])
