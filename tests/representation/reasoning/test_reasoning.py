"""The policy stage in the loop, and the encoder that it leaves."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from moon_rec.errors import ConfigError, EncoderError
from moon_rec.shop import Shop, ShopWriter
from representation import posttrain as posttrain_command
from representation import reason as command
from representation.encoder import ProductEncoder, open_encoder
from representation.pretraining.objective import Dialogue
from representation.reasoning import ReasonConfig, reason
from representation.reasoning.encoder import ReasoningEncoder, dialogue_of, questions_of
from representation.reasoning.train import LOG_FILE, Reasoning
from tests.representation.conftest import CUT, TEST, items_frame, log_frames

SETTINGS = {
    "steps": 5, "batch_size": 4, "group_size": 2, "answer_tokens": 4, "precision": "float32", "num_threads": 1, "log_every": 1, "learning_rate": 3e-3
}  # fmt: skip


class _Stopped(Exception):
    pass


def _stop_after(step):
    def told(at, _):
        if at == step:
            raise _Stopped

    return told


@pytest.fixture(scope="module")
def reasoned(little_shop, encoder_path, tmp_path_factory):
    """A short training, with a save on its way."""
    out = tmp_path_factory.mktemp("reasoned") / "out"
    reason(little_shop, out, ReasonConfig(**SETTINGS, resume_every=2), encoder_path)
    return out


def test_it_goes_on_to_the_same_bits(little_shop, encoder_path, reasoned, tmp_path):
    """The policy's start is the reference after an interruption, too."""
    config = ReasonConfig(**SETTINGS, resume_every=2)
    out = tmp_path / "out"
    with pytest.raises(_Stopped):
        reason(little_shop, out, config, encoder_path, _stop_after(3))
    reason(little_shop, out, config, encoder_path)
    ours, wanted = (load_file(one / "model.safetensors") for one in (out, reasoned))
    assert ours.keys() == wanted.keys()
    assert all(torch.equal(ours[name], wanted[name]) for name in wanted)
    log = json.loads((reasoned / LOG_FILE).read_text())["log"]
    assert json.loads((out / LOG_FILE).read_text())["log"] == log
    assert log[0]["kl"] == pytest.approx(0, abs=1e-6) and log[-1]["kl"] > 1e-6


def test_batches_tell_negatives_and_other_queries_of_a_product(little_shop, encoder_path):
    config = ReasonConfig(**{**SETTINGS, "batch_size": 40})
    stage = Reasoning(little_shop, config)
    encoder = stage.open(encoder_path)
    batches = stage.prepare(encoder)
    batch = batches.make(1)
    assert batch.passed.shape == (40, 40) and torch.equal(batch.passed, batch.blocked.T)
    assert not batch.blocked.diagonal().any() and batch.blocked.any()
    assert torch.equal(batch.queries.token_ids, batches.make(1).queries.token_ids)
    assert len(batch.asked) == 80 and len(batch.asked.pixels) % 2 == 0
    assert all(next(iter(pairs))[0] == "colour" for pairs in batch.true)


def test_an_encoder_that_reasons_is_opened_as_one(little_shop, reasoned):
    encoder = open_encoder(reasoned, "cpu")
    assert isinstance(encoder, ReasoningEncoder) and encoder.config.reasoning_tokens == 4
    items = little_shop.items.head(9).collect()
    vectors, answers, _ = encoder.written(items, progress=False)
    assert len(set(answers)) > 1
    alone = np.concatenate([encoder.encode_items(items[row], progress=False) for row in range(9)])
    np.testing.assert_allclose(vectors, alone, atol=1e-6)
    order = np.random.default_rng(0).permutation(9)
    shuffled = encoder.encode_items(items[order.tolist()], batch_size=4, progress=False)
    np.testing.assert_allclose(shuffled, vectors[order], atol=1e-6)
    plain = ProductEncoder.from_pretrained(reasoned, "cpu").encode_items(items, progress=False)
    assert np.abs(plain - vectors).max() > 1e-3


def test_the_modality_is_what_the_answer_sees(little_shop, reasoned):
    encoder = open_encoder(reasoned, "cpu")
    items = little_shop.items.filter(True).head(3).collect()
    dialogue = dialogue_of(encoder)
    assert isinstance(dialogue, Dialogue)
    texts = encoder.written(items, "text", progress=False)[0]
    without = encoder.written(items.drop("image"), progress=False)[0]
    np.testing.assert_allclose(texts, without, atol=1e-6)
    blank = items.drop("title").with_columns(title=None)
    shown = encoder.written(items, "image", progress=False)[0]
    np.testing.assert_allclose(shown, encoder.written(blank, progress=False)[0], atol=1e-6)
    pads = [len(row) for row in questions_of(dialogue, items, [True, False, True])]
    assert pads[0] > pads[1]


def test_post_training_refuses_it(little_shop, reasoned, tmp_path):
    words = [str(little_shop.path), "--start", str(reasoned), "--out", str(tmp_path / "out")]
    with pytest.raises(EncoderError, match="writes attributes before it embeds"):
        posttrain_command.main(words)


def test_the_command_grades_what_is_written(little_shop, encoder_path, tmp_path, capsys):
    words = [str(little_shop.path), "--start", str(encoder_path), "--out", str(tmp_path / "out")]
    settings = [f"--set={name}={SETTINGS[name]}" for name in SETTINGS if name != "steps"]
    command.main([*words, *settings, "--set=steps=1", "--graded", "3"])
    err = capsys.readouterr().err
    assert "attribute_validity (" in err and "attribute_f1 (" in err
    assert "all roll-outs of a product earned alike" in err


@pytest.mark.parametrize(
    ("lacks", "says"),
    [("query_text", "no search by words before"), ("attributes", "has an attribute")],
)
def test_a_shop_without_words_or_attributes_is_refused(encoder_path, tmp_path, lacks, says):
    items = items_frame()
    searches, impressions = log_frames(items)
    frames = {"items": items, "searches": searches, "impressions": impressions}
    about = {"name": "poor", "source": "made by a test", "is_simulated": True}
    with ShopWriter(tmp_path / "shop", **about, cut_time=CUT, test_time=TEST) as writer:
        for name, frame in frames.items():
            none = (
                [pl.lit(None, frame.schema[lacks]).alias(lacks)] if lacks in frame.columns else []
            )
            is_search = pl.col("query_image").is_not_null() if name == "searches" else pl.lit(True)
            writer.write(name, frame.with_columns(none).filter(is_search))
    with pytest.raises(EncoderError, match=says):
        reason(Shop.open(tmp_path / "shop"), tmp_path / "out", ReasonConfig(**SETTINGS), encoder_path)  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_a_training_without_a_loss_is_refused(little_shop, encoder_path, tmp_path):
    config = ReasonConfig(**SETTINGS, policy_weight=0, contrastive_weight=0)
    with pytest.raises(ConfigError, match="nothing is learnt"):
        reason(little_shop, tmp_path / "out", config, encoder_path)
