"""The policy stage in the loop, and the encoder that it leaves."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import ConfigError, EncoderError
from moon_rec.shop import Shop, ShopWriter
from representation import embed, write
from representation import posttrain as posttrain_command
from representation import reason as command
from representation.encoder import ProductEncoder, open_encoder
from representation.model.qwen import QwenBackbone
from representation.pretraining.objective import Dialogue
from representation.reasoning import ReasonConfig, reason
from representation.reasoning.encoder import ReasoningEncoder, dialogue_of, questions_of
from representation.reasoning.train import LOG_FILE, Reasoning
from representation.reasoning.written import WrittenAttributes, write_answers
from representation.training.loop import ready_to_train
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


def test_what_was_reasoned_is_replaced_where_that_is_asked_for(little_shop, encoder_path, reasoned, tmp_path):  # fmt: skip
    """Its log is a file of an encoder, as other stages' logs are."""
    shutil.copytree(reasoned, tmp_path / "out")
    config = ReasonConfig(**{**SETTINGS, "steps": 1})
    reason(little_shop, tmp_path / "out", config, encoder_path, overwrite=True)
    assert len(json.loads((tmp_path / "out" / LOG_FILE).read_text())["log"]) == 1


def test_batches_tell_negatives_and_other_queries_of_a_product(little_shop, encoder_path):
    config = ReasonConfig(**{**SETTINGS, "batch_size": 40})
    stage = Reasoning(little_shop, config)
    encoder = stage.open(encoder_path)
    batches = stage.prepare(encoder)
    batch = batches.make(1)
    assert batch.passed.shape == (40, 40) and torch.equal(batch.passed, batch.blocked.T)
    assert not batch.blocked.diagonal().any() and batch.blocked.any()
    assert torch.equal(batch.queries.token_ids, batches.make(1).queries.token_ids)
    assert len(batch.asked) == len(batch.questions) == 40
    assert all(next(iter(pairs))[0] == "colour" for pairs in batch.true)


@pytest.mark.parametrize(("parts", "passes"), [(None, 3), (["language"], 1)])
def test_the_tower_sees_a_product_once_a_pass(little_shop, encoder_path, tmp_path, monkeypatch, parts, passes):  # fmt: skip
    """Drawing, reading and the reference's reading are passes of their own where the tower is trained."""
    seen, plain = [], QwenBackbone.tower_states

    def counted(self, pixels):
        seen.append(len(pixels))
        return plain(self, pixels)

    monkeypatch.setattr(QwenBackbone, "tower_states", counted)
    config = ReasonConfig(**{**SETTINGS, "steps": 1, "trained_parts": parts})
    reason(little_shop, tmp_path / "out", config, encoder_path)
    assert len(seen) == passes and max(seen) <= SETTINGS["batch_size"]


def test_an_encoder_that_reasons_is_opened_as_one(little_shop, reasoned):
    encoder = open_encoder(reasoned, "cpu")
    assert isinstance(encoder, ReasoningEncoder) and encoder.config.reasoning_tokens == 4
    items = little_shop.items.head(9).collect()
    vectors, answers = encoder.written(items, progress=False)
    assert len({one.text for one in answers}) > 1
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


def test_what_was_written_beforehand_gives_the_same_vectors(little_shop, reasoned, tmp_path):
    """By two commands; the second run of the first takes up its parts. Texts alone do as well where the tokenizer cuts them as they were written."""
    file, out = tmp_path / "written.parquet", tmp_path / "tables"
    words = [str(little_shop.path), "--encoder", str(reasoned)]
    write.main([*words, "--out", str(file), "--batch-size", "7"])
    embed.main([*words, "--out", str(out), "--written", str(file)])
    items = little_shop.items.sort("item_id").collect()
    encoder = open_encoder(reasoned, "cpu")
    vectors, answers = encoder.written(items, progress=False)
    table = EmbeddingTable.open(out / "items")
    np.testing.assert_allclose(table.vectors, vectors, rtol=0, atol=1e-6)
    written = pl.read_parquet(file)
    assert written["written"].to_list() == [one.text for one in answers]
    assert table.encoder not in (encoder.digest, "")
    written.select("item_id", "written").write_parquet(tmp_path / "texts.parquet")
    by_text = encoder.with_written(WrittenAttributes.open(tmp_path / "texts.parquet", "any"))
    tokens = encoder.composer.texts(written["written"].to_list(), 99)
    same = np.array([a == b for a, b in zip(tokens, written["tokens"].to_list(), strict=True)])
    assert by_text.digest != table.encoder
    found = by_text.encode_items(items, progress=False)
    np.testing.assert_allclose(found[same], vectors[same], rtol=0, atol=1e-6)
    edited = written.with_columns(written=pl.lit("colour red")).select("item_id", "written")
    edited.write_parquet(tmp_path / "edited.parquet")
    by_hand = encoder.with_written(WrittenAttributes.open(tmp_path / "edited.parquet", "any"))
    assert np.abs(by_hand.encode_items(items, progress=False) - vectors).max() > 1e-3


def test_writing_goes_on_where_it_was_stopped(little_shop, reasoned, tmp_path, monkeypatch):
    encoder, calls = open_encoder(reasoned, "cpu"), []
    plain = ReasoningEncoder.answers

    def counted(self, frame, *given, **named):
        if len(calls) == 2 and stops:
            raise _Stopped
        calls.append(frame.height)
        return plain(self, frame, *given, **named)

    monkeypatch.setattr(ReasoningEncoder, "answers", counted)
    monkeypatch.setattr(write, "PART", 20)
    stops = True
    with pytest.raises(_Stopped):
        write.write_shop(encoder, little_shop, tmp_path / "written.parquet")
    stops = False
    found = write.write_shop(encoder, little_shop, tmp_path / "written.parquet")
    assert calls == [20, 20, 8] and len(found) == 48
    assert [path.name for path in tmp_path.iterdir()] == ["written.parquet"]


def test_what_was_written_of_whole_products_stands_behind_no_picture_alone(little_shop, reasoned, tmp_path):  # fmt: skip
    """Else a vector of pictures would be one of titles, too."""
    encoder, items = open_encoder(reasoned, "cpu"), little_shop.items.head(2).collect()
    write_answers(tmp_path / "w.parquet", items["item_id"].to_list(), encoder.answers(items, progress=False), encoder.digest)  # fmt: skip
    behind = encoder.with_written(WrittenAttributes.open(tmp_path / "w.parquet", encoder.digest))
    with pytest.raises(EncoderError, match="write again with --modality image"):
        behind.encode_items(items, "image", progress=False)


@pytest.mark.parametrize("settings", [{"trained_parts": ["language"]}, {"lora": {"rank": 2}}])
def test_the_start_shares_what_is_not_trained(little_shop, encoder_path, settings):
    """A policy of adapters would hold a large model twice."""
    stage = Reasoning(little_shop, config := ReasonConfig(**SETTINGS, **settings))
    encoder = stage.open(encoder_path)
    ready_to_train(encoder, config)
    stage.begin(encoder)
    theirs = dict(stage._reference.module.named_parameters())
    shared = {name for name, own in encoder.module.named_parameters() if theirs[name] is own}
    assert shared == {name for name, own in encoder.module.named_parameters() if not own.requires_grad}  # fmt: skip
    assert shared and len(shared) < len(theirs)
    assert not any(value.requires_grad for value in theirs.values())


def test_post_training_refuses_it(little_shop, reasoned, tmp_path):
    words = [str(little_shop.path), "--start", str(reasoned), "--out", str(tmp_path / "out")]
    with pytest.raises(EncoderError, match="writes attributes before it embeds"):
        posttrain_command.main(words)


def test_the_command_grades_what_is_written(little_shop, encoder_path, tmp_path, capsys):
    words = [str(little_shop.path), "--start", str(encoder_path), "--out", str(tmp_path / "out")]
    settings = [f"--set={name}={SETTINGS[name]}" for name in SETTINGS if name not in ("steps", "batch_size")]  # fmt: skip
    command.main([*words, *settings, "--set=steps=1", "--set=batch_size=2", "--graded", "3"])
    err = capsys.readouterr().err
    assert "attribute_validity (" in err and "attribute_f1 (" in err and "held_out_reward (" in err
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
