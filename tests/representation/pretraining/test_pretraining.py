"""Pretraining: questions hide their answers, only answers are learnt, nothing after the cut is seen, and the loss falls."""

import json

import pytest
import torch

from moon_rec.config import make_config
from moon_rec.errors import ConfigError, EncoderError, MoonRecError
from representation.encoder import ProductEncoder
from representation.pretraining import PretrainConfig, pretrain
from representation.pretraining.objective import IGNORED, Dialogue, answer_loss, pad_labels
from representation.pretraining.questions import NAMES, ask
from representation.pretraining.train import LOG_FILE, _train_items


@pytest.fixture
def settings(tiny_config) -> PretrainConfig:
    return PretrainConfig(
        backbone=tiny_config,
        steps=30,
        batch_size=16,
        learning_rate=5e-3,
        answer_tokens=12,
        log_every=1,
    )


def test_questions_and_their_answers(little_shop):
    items = _train_items(little_shop).head(8)
    asked = ask(items)
    first = {one.question: one for one in asked if one.row == 0}
    assert set(first) == set(NAMES)
    assert first["subject"].answer == "Mug" and first["subject"].context == ""
    assert first["title"].answer == "red mug pale" and "red mug pale" not in first["title"].context
    assert first["attributes"].answer == "colour red"
    assert first["describe"].answer == "red mug pale | colour red"  # it has no description
    pictureless = {one.question for one in asked if one.row == 7}
    assert pictureless == {"attributes", "title"}


def test_nothing_after_the_cut_is_asked(little_shop):
    items = _train_items(little_shop)
    assert items.height == 44
    said = [text for one in ask(items) for text in (one.context, one.answer)]
    assert not [text for text in said if "zzlate" in text]


def test_labels_are_the_answer_and_its_end_only(encoder):
    dialogue = Dialogue(encoder.composer, context_tokens=8, answer_tokens=8)
    rows, labels = dialogue.rows(
        ["What?", "Who?"], ["in context", ""], ["red mug", "lamp"], [True, False]
    )
    for row, label, answer in zip(rows, labels, ["red mug", "lamp"], strict=True):
        known = [token for token in label if token != IGNORED]
        assert len(row) == len(label) and row[-len(known) :] == known
        assert encoder.tokenizer.decode(known) == f" {answer}<|im_end|>"
    assert encoder.layout.num_tokens == rows[0].count(encoder.backbone.config.image_token_id)


def make_batch(encoder, words):
    dialogue = Dialogue(encoder.composer, 8, 8)
    rows, labels = dialogue.rows(words, ["", ""], ["red mug", "blue lamp"], [False, False])
    inputs = encoder.composer.batch(rows, None)
    return inputs, pad_labels(labels, inputs.token_ids.shape[1])


def test_loss_equals_transformers(encoder):
    """transformers shifts labels and leaves out -100 too, over logits of every place."""
    inputs, labels = make_batch(encoder, ["What?", "Whatever it is?"])
    ours = answer_loss(encoder.backbone, inputs, labels, encoder.layout)
    theirs = encoder.backbone(
        input_ids=inputs.token_ids, attention_mask=inputs.mask.long(), labels=labels
    ).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_only_answers_are_predicted(encoder):
    """No gradient reaches the logits of a token that only questions hold, and other labels there could not change the loss."""
    inputs, labels = make_batch(encoder, ["What?", "What?"])
    question = inputs.token_ids[:, 3:5]
    assert (labels[:, 3:5] == IGNORED).all()
    before = answer_loss(encoder.backbone, inputs, labels, encoder.layout)
    asked = labels.clone()
    asked[:, 3:5] = question
    answered = answer_loss(encoder.backbone, inputs, asked, encoder.layout)
    assert before.item() != answered.item()  # were questions labelled, the loss would differ
    states = []
    encoder.backbone.lm_head.register_forward_hook(lambda _, given, __: states.append(given[0]))
    answer_loss(encoder.backbone, inputs, labels, encoder.layout)
    assert len(states[0]) == int((labels != IGNORED).sum())


def test_loss_falls_and_the_log_says_so(little_shop, settings, tmp_path):
    told = []
    (made,) = pretrain(
        little_shop,
        tmp_path / "out",
        settings,
        on_log=lambda step, numbers: told.append((step, numbers)),
    )
    out = made.path
    losses = [numbers["loss"] for _, numbers in told]
    assert [step for step, _ in told] == list(range(1, 31))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    written = json.loads((out / LOG_FILE).read_text())
    assert [one["loss"] for one in written["log"]] == losses
    assert ProductEncoder.from_pretrained(out).dim == 32


def test_same_seed_same_bits(little_shop, settings, tmp_path):
    short = settings.model_copy(update={"steps": 3})
    seeds = {"a": 0, "b": 0, "c": 1}
    paths = {
        name: pretrain(little_shop, tmp_path / name, short.model_copy(update={"seed": seed}))[
            0
        ].path
        for name, seed in seeds.items()
    }
    digests = {name: ProductEncoder.from_pretrained(path).digest for name, path in paths.items()}
    assert digests["a"] == digests["b"] != digests["c"]


def test_refusals(little_shop, settings, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(MoonRecError, match="exists already"):
        pretrain(little_shop, tmp_path / "taken", settings)
    with pytest.raises(ConfigError, match=r"no question 'titles'.* did you mean 'title'"):
        make_config(PretrainConfig, {"questions": ["titles"]})
    with pytest.raises(EncoderError, match="no encoder at"):
        pretrain(little_shop, tmp_path / "x", PretrainConfig(), start=tmp_path / "nowhere")
    assert not (tmp_path / "x").exists()
