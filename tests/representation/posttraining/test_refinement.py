"""The report's second part as a whole: it trains on a little shop, is told of step by step, and goes on where it was stopped to the same bits."""

import json

import polars as pl
import pytest

import representation.posttraining.train as training
from moon_rec.command import run
from moon_rec.errors import EncoderError
from representation import posttrain as command
from representation.embed import embed_shop
from representation.encoder import ProductEncoder
from representation.posttraining import PosttrainConfig, posttrain
from tests.representation.keeping_store import KeepingStore
from tests.representation.posttraining.test_posttrain import recall_at_3

SETTINGS = {
    "steps": 8,
    "batch_size": 12,
    "learning_rate": 2e-3,
    "log_every": 1,
    "precision": "float32",
    "num_threads": 1,
    "num_negatives": 80,
    "mixture": {"image->richer-text+image": 1.0, "text->title+image": 1.0},
    "curation": {"rebalance_keep": 0.9},
    "alter_photos": False,
    "own_picture_share": 0.0,
    "own_words_share": 0.0,
}


def refinement(**values) -> PosttrainConfig:
    return PosttrainConfig.preset("refinement", **{**SETTINGS, **values})


def told(folder) -> dict:
    return json.loads((folder / training.LOG_FILE).read_text())


class _Stopped(Exception):
    pass


def stop_after(step):
    """An `on_log` that breaks a training off, as a kill would, once a step is done."""

    def on_log(number, numbers):
        if number == step:
            raise _Stopped

    return on_log


@pytest.mark.slow
def test_refinement_learns(little_shop, encoder_path, tmp_path):
    """From an encoder of the first part, on curated purchases alone: it finds no less than before, and far more than chance, 3 in 47."""
    broad = PosttrainConfig.preset(
        "broad",
        **{
            name: value
            for name, value in SETTINGS.items()
            if name not in ("curation", "num_negatives")
        },
    ).model_copy(update={"steps": 40, "learning_rate": 4e-3})
    posttrain(little_shop, tmp_path / "first", broad, start=encoder_path)
    longer = refinement(steps=180, batch_size=16)
    posttrain(little_shop, tmp_path / "second", longer, start=tmp_path / "first")
    before, after = (
        recall_at_3(ProductEncoder.from_pretrained(tmp_path / name, device="cpu"), little_shop)
        for name in ("first", "second")
    )
    losses = [entry["loss"] for entry in told(tmp_path / "second")["log"]]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert after > 0.4 > 0.3 > before


def test_what_is_told(little_shop, encoder_path, tmp_path):
    entries = {}
    found = refinement(triplet_weight=0.5, max_age=4)
    posttrain(little_shop, tmp_path / "out", found, encoder_path, on_log=entries.__setitem__)
    assert entries[0]["curation/hardest_query/rows_in"] > entries[0]["curation/entities/rows_out"]
    about = told(tmp_path / "out")
    assert [step["name"] for step in about["curation"]["steps"]][:2] == [
        "hardest_query",
        "merge_spu",
    ]
    assert len(about["log"]) == 8 and about["log"][0]["temperature"] > 0
    last = about["log"][-1]
    assert 23 < last["negatives"] <= 80 and 0 < last["share_masked"] < 0.6
    assert 0 < last["queue_mean_age"] <= last["queue_max_age"] <= 4


def test_vectors_of_an_earlier_embedding_serve(
    little_shop, encoder_path, encoder, tmp_path, capsys
):
    """The same encoder's tables give the same training; another's are spoken of; none are refused."""
    embed_shop(encoder, little_shop, tmp_path / "vectors")
    digests = []
    for name, vectors in (("a", None), ("b", tmp_path / "vectors")):
        posttrain(little_shop, tmp_path / name, refinement(steps=2), encoder_path, vectors=vectors)
        digests.append(ProductEncoder.from_pretrained(tmp_path / name).digest)
    assert digests[0] == digests[1] and "is of encoder" not in capsys.readouterr().err
    posttrain(
        little_shop,
        tmp_path / "c",
        refinement(steps=1),
        tmp_path / "a",
        vectors=tmp_path / "vectors",
    )
    assert f"training starts from {digests[0]}" in capsys.readouterr().err
    with pytest.raises(EncoderError, match=r"no vectors at .*make them with"):
        posttrain(little_shop, tmp_path / "d", refinement(), encoder_path, vectors=tmp_path / "no")
    assert not (tmp_path / "d").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        {},
        {
            "loss": "infonce",
            "chunk_size": 5,
            "momentum": 0.9,
            "lora": {"rank": 2, "dropout": 0.1},
        },
    ],
)
def test_resumes_twice_to_the_same_bits(values, little_shop, encoder_path, tmp_path):
    """With a triplet term, chunks and adapters; the recipe itself is stopped once in tests/representation/recipes/test_goes_on.py."""
    settings = refinement(resume_every=3, checkpoint_steps=(2, 7), triplet_weight=0.1, **values)
    whole = posttrain(little_shop, tmp_path / "whole", settings, encoder_path)
    for step in (5, 7):
        with pytest.raises(_Stopped):
            posttrain(little_shop, tmp_path / "out", settings, encoder_path, stop_after(step))
        assert not (tmp_path / "out").exists() and (tmp_path / "out.resume").is_dir()
    steps = []
    found = posttrain(
        little_shop, tmp_path / "out", settings, encoder_path, lambda step, _: steps.append(step)
    )
    assert steps == [0, 7, 8] and not (tmp_path / "out.resume").exists()
    assert [one[1:] for one in found] == [one[1:] for one in whole]
    assert [one.step for one in found] == [2, 7, 8]
    for one, other in zip(found, whole, strict=True):
        digests = {ProductEncoder.from_pretrained(each.path).digest for each in (one, other)}
        assert len(digests) == 1
    assert told(tmp_path / "out")["log"] == told(tmp_path / "whole")["log"]


def test_a_save_of_other_code_is_gone_on_from_and_said(
    little_shop, encoder_path, tmp_path, capsys, monkeypatch
):
    settings = refinement(resume_every=2, steps=4)
    with pytest.raises(_Stopped):
        posttrain(little_shop, tmp_path / "out", settings, encoder_path, stop_after(3))
    capsys.readouterr()
    monkeypatch.setattr("representation.training.state.made_by", lambda: {"code": "corrected"})
    posttrain(little_shop, tmp_path / "out", settings, encoder_path)
    assert "was saved with another code; the bits may differ" in capsys.readouterr().err


def test_a_save_of_other_settings_is_refused(little_shop, encoder_path, tmp_path):
    settings = refinement(resume_every=2)
    with pytest.raises(_Stopped):
        posttrain(little_shop, tmp_path / "out", settings, encoder_path, stop_after(3))
    for other, complaint in (
        ({"learning_rate": 1e-3}, "learning_rate = 0.002, now it is 0.001"),
        ({"curation": None}, "curation"),
    ):
        with pytest.raises(EncoderError, match=complaint) as caught:
            posttrain(
                little_shop, tmp_path / "out", refinement(resume_every=2, **other), encoder_path
            )
        assert "\n" not in str(caught.value)
    with pytest.raises(EncoderError, match="start = "):
        posttrain(little_shop, tmp_path / "out", settings)


def test_one_category_and_one_pair(little_shop, encoder_path, tmp_path, monkeypatch):
    """All pairs of one category: its other items are the hard negatives, and training goes on. A single pair is no batch, and is named."""
    import representation.posttraining.preparation as preparation

    given = preparation.logged_pairs

    def of_one_category(shop, *words):
        mugs = shop.items.filter(pl.col("category") == "Things/Mug").select("item_id").collect()
        return {
            kind: frame.filter(pl.col("item_id").is_in(mugs["item_id"].implode()))
            for kind, frame in given(shop, *words).items()
        }

    monkeypatch.setattr(preparation, "logged_pairs", of_one_category)
    posttrain(little_shop, tmp_path / "out", refinement(curation=None, steps=4), encoder_path)
    assert all(entry["negatives"] > 0 for entry in told(tmp_path / "out")["log"])
    monkeypatch.setattr(
        preparation,
        "logged_pairs",
        lambda *words: {kind: frame.head(1) for kind, frame in given(*words).items()},
    )
    with pytest.raises(EncoderError, match="no pair of any kind"):
        posttrain(little_shop, tmp_path / "none", refinement(curation=None), encoder_path)


def test_the_command_refines_and_tracks(little_shop, encoder_path, tmp_path, capsys, monkeypatch):
    store = KeepingStore()
    monkeypatch.setattr("moon_rec.tracking.Tracker", store)
    words = [str(little_shop.path), "--start", str(encoder_path), "--out", str(tmp_path / "out")]
    words += ["--preset", "refinement", "--track", "sqlite:///x.db", "--set", "batch_size=8"]
    words += ["--set", "steps=2", "--set", "log_every=1", "--set", "num_negatives=40"]
    assert run(command.main, words) == 0
    printed = capsys.readouterr()
    assert "curation of pairs" in printed.err and "step 2, 16 pairs" in printed.out
    assert (store.uri, store.name, store.kind) == ("sqlite:///x.db", "out", "posttraining")
    assert store.params["loss"] == "circle" and store.artifacts == [training.LOG_FILE]
    assert store.metrics["curation/merge_spu/rows_out"] > 0
    assert store.metrics["loss"] == told(tmp_path / "out")["log"][-1]["loss"]
    digest = ProductEncoder.from_pretrained(encoder_path).digest
    assert store.reads == {"shop": little_shop.digest, "start": digest}
    assert run(command.main, words) == 2
    assert capsys.readouterr().err.count("\n") == 1
