"""Pairs that `representation.curate` wrote are trained on: the very training that curates them itself, and no other log's, shop's or settings' pairs."""

import polars as pl
import pytest

from moon_rec.command import run
from moon_rec.errors import EncoderError
from moon_rec.files import read_json
from representation.curate import main as curate
from representation.encoder import ProductEncoder
from representation.posttrain import main as posttrain
from representation.posttraining.train import PostTraining

STEPS = {"hardest_query": "false", "rebalance_keep": "0.6", "fewest_entities": "1"}


@pytest.fixture(scope="module")
def curated(little_shop, tmp_path_factory):
    folder = tmp_path_factory.mktemp("curated") / "pairs"
    words = [f"--set={name}={value}" for name, value in STEPS.items()]
    assert run(curate, [str(little_shop.path), "--out", str(folder), *words]) == 0
    return folder


def trained(little_shop, encoder_path, out, *more):
    words = ["--start", encoder_path, "--out", out, "--set", "steps=3", "--set", "batch_size=8"]
    words += ["--set", "own_words_share=0", "--set", "own_picture_share=0"]
    return run(posttrain, [str(word) for word in (little_shop.path, *words, *more)])


def test_training_on_curated_pairs_is_the_training_that_curates(
    little_shop, encoder_path, curated, tmp_path
):
    own = [f"--set=curation.{name}={value}" for name, value in STEPS.items()]
    assert trained(little_shop, encoder_path, tmp_path / "given", "--pairs", curated) == 0
    assert trained(little_shop, encoder_path, tmp_path / "own", *own) == 0
    assert trained(little_shop, encoder_path, tmp_path / "all") == 0
    digests = {
        name: ProductEncoder.from_pretrained(tmp_path / name).digest
        for name in ("given", "own", "all")
    }
    assert digests["given"] == digests["own"] != digests["all"]
    logs = [read_json(tmp_path / name / "posttraining_log.json") for name in ("given", "all")]
    assert logs[0]["pairs"] and "pairs" not in logs[1]


def test_pairs_that_do_not_fit_are_refused_in_one_line(
    little_shop, encoder_path, curated, tmp_path, capsys
):
    cases = (
        (["--pairs", curated, "--set", "engagement=clicked"], "was curated with engagement = 'purchased'"),
        (["--pairs", curated, "--set", "curation.fewest_entities=1"], "beside curation: its pairs are curated"),
        (["--pairs", tmp_path], "holds no curation.json"),
    )  # fmt: skip
    for words, complaint in cases:
        assert trained(little_shop, encoder_path, tmp_path / "out", *words) == 2
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert told.startswith("error: ") and complaint in told, told
        assert not (tmp_path / "out").exists()
    kept = (curated / "text.parquet").read_bytes()
    pl.read_parquet(curated / "text.parquet").head(3).write_parquet(curated / "text.parquet")
    try:
        assert trained(little_shop, encoder_path, tmp_path / "out", "--pairs", curated) == 2
        assert "text.parquet" in capsys.readouterr().err
    finally:
        (curated / "text.parquet").write_bytes(kept)


def test_going_on_after_the_pairs_changed_is_refused_in_one_line(
    little_shop, encoder_path, tmp_path, capsys, monkeypatch
):
    """The save stays: with the former pairs it is gone on from."""
    pairs, again = tmp_path / "pairs", tmp_path / "again"
    for folder, fewest in ((pairs, "1"), (again, "3")):
        steps = STEPS | {"fewest_entities": fewest}
        words = [f"--set={name}={value}" for name, value in steps.items()]
        assert run(curate, [str(little_shop.path), "--out", str(folder), *words]) == 0
    out = tmp_path / "out"
    given = ("--set", "resume_every=1", "--set", "precision=float32")
    ended = iter([False, True])

    def after_update(stage):
        if next(ended):
            raise EncoderError("ended here")

    with monkeypatch.context() as patch:
        patch.setattr(PostTraining, "after_update", after_update)
        assert trained(little_shop, encoder_path, out, "--pairs", pairs, *given) == 2
    (save,) = (tmp_path / "out.resume").glob("step-*")
    before = {path.name: path.read_bytes() for path in save.iterdir()}
    capsys.readouterr()
    assert trained(little_shop, encoder_path, out, "--pairs", again, *given) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "was saved with pairs = " in told and "remove" in told, told
    assert told.startswith("error: ") and not out.exists()
    assert before == {path.name: path.read_bytes() for path in save.iterdir()}
    assert trained(little_shop, encoder_path, out, "--pairs", pairs, *given) == 0
