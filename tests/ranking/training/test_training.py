"""A training that is broken off and gone on with ends with the same bits; clipping, patience, refusals."""

import contextlib
import itertools
import json
import math
import shutil
from typing import ClassVar

import polars as pl
import pytest
import torch
from torch import nn

from moon_rec.errors import RankingError
from ranking.config import WAYS, RankerConfig
from ranking.content import ContentStores
from ranking.content.item_codes import fit_semantic_ids
from ranking.features import FeatureConfig, RankingTables
from ranking.loader import Loader
from ranking.metrics import auc
from ranking.train import main as train_main
from ranking.train import train_ranker
from ranking.trained import TrainedRanker, content_stores, threads
from ranking.training import resuming
from ranking.training.checkpoint import (
    CONTENT_MODEL,
    Checkpoints,
    Position,
    load_state,
    read_position,
)
from ranking.training.course import input_sizes, new_ranker, prepare
from ranking.training.make_pretraining import pretrain_content_model
from ranking.training.optimiser import DenseOptimiser, RowWiseAdagrad
from ranking.training.trainer import DivergedError, LocalTrainer, mean_loss
from tests.ranking.conftest import plant_part

CONFIG = RankerConfig(
    content="cube", epochs=3, batch_size=64, tower=(16,), attention_dim=8, embedding_dim=8
)
IDS = CONFIG.model_copy(update={"content": "none"})


class Killed(BaseException):
    """As by the operating system: nothing catches it."""


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with threads(1):
        yield


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Every second request: 29 steps an epoch."""
    return plant_part(tmp_path_factory.mktemp("planted"), pl.col("request_id") % 2 == 1)


@pytest.fixture(scope="module")
def tables(planted):
    return RankingTables.build(
        planted.shop, FeatureConfig(history_length=10, query_history_length=5)
    )


@pytest.fixture
def kill(monkeypatch):
    """Kill training within the nth step from now, its tables half updated."""

    def after(steps):
        taken = []
        update = RowWiseAdagrad.update

        def counted(self, number, rows, gradient):
            taken.extend([1] * (number == 1))
            if len(taken) == steps:
                raise Killed
            update(self, number, rows, gradient)

        monkeypatch.setattr(RowWiseAdagrad, "update", counted)
        return lambda: monkeypatch.setattr(RowWiseAdagrad, "update", update)

    return after


@pytest.fixture(scope="module")
def unbroken(planted, tables, tmp_path_factory):
    """A training that nothing broke off, and its folder of checkpoints."""
    folder = tmp_path_factory.mktemp("unbroken")
    vectors = (planted.items, planted.queries)
    return train_ranker(tables, CONFIG, *vectors, checkpoints=Checkpoints(folder, 23)), folder


@pytest.fixture(scope="module")
def plain(tables):
    """A training without vectors that wrote nothing down."""
    return train_ranker(tables, IDS)


@pytest.mark.parametrize("killed_at", [[25], [3, 65, 7]])
def test_a_resumed_training_has_the_bits_of_an_unbroken_one(
    planted, tables, unbroken, kill, tmp_path, killed_at
):
    vectors = (planted.items, planted.queries)
    for number, steps in enumerate(killed_at):
        heal = kill(steps)
        with pytest.raises(Killed):
            train_ranker(
                tables, CONFIG, *vectors, checkpoints=Checkpoints(tmp_path, 23, number > 0)
            )
        heal()
    resumed = train_ranker(tables, CONFIG, *vectors, checkpoints=Checkpoints(tmp_path, 23, True))
    trained, folder = unbroken
    assert resumed.validation_auc == trained.validation_auc
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    (wanted, position), (found, other) = (
        last_state(path, tables, trained) for path in (folder, tmp_path)
    )
    assert position == other
    assert {name.split(".")[0] for name in wanted} == {"model", "best", "optimiser"}
    assert any(name.endswith("accumulator") for name in wanted)
    for name, value in wanted.items():
        assert torch.equal(value, found[name]), name


def test_a_checkpoint_of_other_code_is_gone_on_from_and_said(
    planted, tables, unbroken, monkeypatch, tmp_path, capsys
):
    shutil.copytree(unbroken[1], tmp_path / "kept")
    monkeypatch.setattr(resuming, "made_by", lambda: {"code": "corrected"})
    kept = Checkpoints(tmp_path / "kept", 1000, True)
    train_ranker(tables, CONFIG, planted.items, planted.queries, checkpoints=kept)
    told = " ".join(capsys.readouterr().err.split())
    assert "trained on with another code; the bits may differ" in told


def last_state(folder, tables, trained):
    path = Checkpoints(folder).latest()
    assert path is not None
    trainer = LocalTrainer(new_ranker(tables, trained.sizes, CONFIG), CONFIG)
    trainer.keep()
    load_state(path, trainer.state())
    return trainer.state(), read_position(path)


def test_a_pretrained_content_model_is_not_pretrained_again(planted, tables, kill, tmp_path):
    config = CONFIG.model_copy(update={"content": "make", "epochs": 1, "make_epochs": 1})
    vectors = (planted.items, planted.queries)
    heal = kill(25)
    with pytest.raises(Killed):
        train_ranker(tables, config, *vectors, checkpoints=Checkpoints(tmp_path, 10))
    heal()
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr("ranking.training.course.pretrain_content_model")
        resumed = train_ranker(
            tables, config, *vectors, checkpoints=Checkpoints(tmp_path, 10, True)
        )
    whole = train_ranker(tables, config, *vectors)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize(("every", "killed_at"), [(10, [19, 49]), (1000, [80])])
def test_a_content_model_killed_on_its_way_has_the_bits_of_an_unbroken_one(
    planted, tables, tmp_path, every, killed_at
):
    """Within its first epoch, then in its second; then after its end, before the ranker's first checkpoint."""
    config = CONFIG.model_copy(update={"content": "make", "epochs": 1, "make_epochs": 2})
    vectors, taken = (planted.items, planted.queries), []
    step = DenseOptimiser.step

    def mortal(self):
        taken.append(1)
        if len(taken) in killed_at:
            raise Killed
        step(self)

    whole = train_ranker(tables, config, *vectors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DenseOptimiser, "step", mortal)
        for number in range(len(killed_at)):
            with pytest.raises(Killed):
                kept = Checkpoints(tmp_path, every, number > 0)
                train_ranker(tables, config, *vectors, checkpoints=kept)
            assert [path.name for path in tmp_path.iterdir()] == [CONTENT_MODEL]
        before = len(taken)
        found = train_ranker(
            tables, config, *vectors, checkpoints=Checkpoints(tmp_path, every, True)
        )
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, found.model.state_dict()[name]), name
    steps = len(Loader(tables, "train", config.batch_size))
    assert before > 0 and len(taken) - before < 3 * steps  # not all of it again


@pytest.mark.parametrize("every", [None, 10])
def test_a_content_model_that_diverges_ends_the_training(planted, tables, tmp_path, every):
    config = CONFIG.model_copy(update={"content": "make", "epochs": 1, "learning_rate": 1e20})
    kept = None if every is None else Checkpoints(tmp_path, every)
    with pytest.raises(DivergedError, match=r"content model diverged at step \d+, .* now 1e\+20"):
        train_ranker(tables, config, planted.items, planted.queries, checkpoints=kept)
    assert not list(tmp_path.iterdir())  # nothing that is no number is written down


def test_a_command_that_is_done_leaves_no_content_model(planted, tmp_path):
    planted.items.save(tmp_path / "items")
    words = [str(planted.shop.path), "--out", str(tmp_path / "ranker"), "--content", "make"]
    words += ["--items", str(tmp_path / "items"), "--set", "make_epochs=1"]
    train_main([*words, "--checkpoint-every", "5"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items", "ranker"]


def test_the_content_model_of_another_training_is_refused(planted, tables, tmp_path):
    config = CONFIG.model_copy(update={"content": "make", "epochs": 1, "make_epochs": 1})
    vectors = planted.items, planted.queries
    kept = Checkpoints(tmp_path, 10)
    model, content, _ = prepare(tables, config, *vectors)
    pretrain_content_model(model, tables, config, content, "cpu", kept, Position("of another"))
    with pytest.raises(RankingError, match="go on from it with --resume, or remove the folder"):
        train_ranker(tables, config, *vectors, checkpoints=kept)
    resumed = Checkpoints(tmp_path, 10, True)
    with pytest.raises(RankingError, match="of a training with other settings, tables or vectors"):
        train_ranker(tables, config, *vectors, checkpoints=resumed)
    (tmp_path / CONTENT_MODEL).write_bytes(b"cut short")
    with pytest.raises(RankingError, match=r"is no content model of a training: .*; remove it"):
        train_ranker(tables, config, *vectors, checkpoints=resumed)


def test_writing_checkpoints_changes_no_bit(tables, plain, tmp_path):
    written = train_ranker(tables, IDS, checkpoints=Checkpoints(tmp_path / "here", every=5))
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, written.model.state_dict()[name]), name


def test_a_checkpoint_half_written_is_not_taken(tables, plain, tmp_path, kill):
    folder = tmp_path / "here"
    heal = kill(12)
    with pytest.raises(Killed):
        train_ranker(tables, IDS, checkpoints=Checkpoints(folder, every=5))
    heal()
    found = Checkpoints(folder).latest()
    assert found is not None and found.name == "step-000000010"
    (folder / ".step-000000015.partial").mkdir()
    (folder / ".step-000000015.partial" / "shard-00001-model-00001-of-00001.safetensors").touch()
    assert Checkpoints(folder).latest() == found
    resumed = train_ranker(tables, IDS, checkpoints=Checkpoints(folder, 5, resume=True))
    assert all(
        torch.equal(value, resumed.model.state_dict()[name])
        for name, value in plain.model.state_dict().items()
    )
    assert not list(folder.glob("*/*.pt")) and not list(folder.glob("**/.metadata"))


def test_checkpoints_of_another_training_are_refused(tables, tmp_path, kill):
    folder = tmp_path / "here"
    heal = kill(8)
    with pytest.raises(Killed):
        train_ranker(tables, IDS, checkpoints=Checkpoints(folder, every=5))
    heal()
    other = IDS.model_copy(update={"seed": 1})
    with pytest.raises(RankingError, match="other settings, tables or vectors"):
        train_ranker(tables, other, checkpoints=Checkpoints(folder, 5, resume=True))
    with pytest.raises(RankingError, match="unfinished training; go on from it with --resume"):
        train_ranker(tables, IDS, checkpoints=Checkpoints(folder, 5))
    path = Checkpoints(folder).latest()
    about = json.loads((path / "position.json").read_text())
    (path / "position.json").write_text(json.dumps(about | {"format_version": 9}))
    with pytest.raises(RankingError, match="format_version 9, wanted 1"):
        train_ranker(tables, IDS, checkpoints=Checkpoints(folder, 5, resume=True))


def test_patience_stops_after_epochs_that_gain_nothing(tables):
    long = IDS.model_copy(update={"epochs": 6, "learning_rate": 3e-2, "patience": None})
    stopped = train_ranker(tables, long.model_copy(update={"patience": 1})).validation_auc
    whole = train_ranker(tables, long).validation_auc
    assert len(whole) == 6
    falls = [later <= max(whole[: at + 1]) for at, later in enumerate(whole[1:])]
    assert falls.index(True) + 2 == len(stopped) < 6
    assert stopped == whole[: len(stopped)]


def test_an_epoch_of_several_is_a_training_that_has_ended(tables):
    """The first is that of `epochs=1` to the bit, and the weights kept are those of the highest validation AUC."""
    several = train_ranker(tables, IDS.model_copy(update={"patience": None}))
    labels = tables.periods["validation"].labels
    one = train_ranker(tables, IDS.model_copy(update={"epochs": 1}))
    assert auc(labels, one.predict(tables, "validation")) == several.validation_auc[0]
    assert auc(labels, several.predict(tables, "validation")) == max(several.validation_auc)
    kept = several.validation_auc.index(max(several.validation_auc)) + 1
    assert f"epoch {kept} of 3 trained (at most 3) is kept" in several.epochs_said
    assert one.validation_auc == () and one.epochs_said == "1 epoch, as set"


def test_frozen_vectors_have_no_gradient_and_no_optimiser_slot(planted, tables):
    content = ContentStores.of(tables, planted.items, planted.queries)
    model = new_ranker(tables, input_sizes(tables, content), CONFIG)
    trainer = LocalTrainer(model, CONFIG)
    batches = list(itertools.islice(Loader(tables, "train", 64, content).epoch(), 3))
    for _ in trainer.steps(batches):
        pass
    dense = sum(2 * weight.numel() + 1 for weight in model.dense_parameters())
    rows = sum(tables.num_embeddings.values())
    assert sum(value.numel() for value in trainer.optimiser_state().values()) == dense + rows
    for batch in batches:
        assert batch.content is not None
        assert batch.content.targets.grad is None and not batch.content.targets.requires_grad
        assert batch.content.history.grad is None and not batch.content.history.requires_grad


@pytest.mark.parametrize(
    ("content", "sequence"),
    [*((content, "din") for content in ("none", *WAYS)), ("cube", "dien"), ("none", "bst")],
)
def test_every_weight_learns_and_does_so_in_bfloat16(planted, tables, content, sequence):
    """DDP waits for the gradient of every weight; on a GPU the forward runs under autocast."""
    vectors = (None, None) if content == "none" else (planted.items, planted.queries)
    update = {"content": content, "sequence": sequence, "num_codes": 8}
    config = CONFIG.model_copy(update=update)
    semantic_ids = None
    if content == "semantic_ids":
        semantic_ids = fit_semantic_ids(tables, planted.items, config)
    stores = content_stores(tables, config, *vectors, semantic_ids)
    model = new_ranker(tables, input_sizes(tables, stores), config)
    batch = next(Loader(tables, "train", 200, stores).epoch())
    with torch.no_grad():
        whole = model(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(batch)
    assert float((half.detach().float() - whole).abs().max()) < 0.1
    mean_loss(half, batch).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


def test_dense_gradients_are_clipped_together(tables):
    weights = {"a": nn.Parameter(torch.zeros(3)), "b": nn.Parameter(torch.zeros(2, 2))}
    optimiser = DenseOptimiser(weights, IDS.model_copy(update={"clip_norm": 0.5}))
    for weight in weights.values():
        weight.grad = torch.full_like(weight, 2.0)
    optimiser.step()
    taken = torch.cat([weight.grad.flatten() for weight in weights.values()])
    assert float(taken.norm()) == pytest.approx(0.5, abs=1e-5)
    first = optimiser.state()["a.exp_avg"]
    assert torch.allclose(first, 0.1 * taken[:3])
    plain, clipped = (
        train_ranker(tables, IDS.model_copy(update={"epochs": 1, "clip_norm": norm}))
        for norm in (None, 1e-3)
    )
    assert not torch.equal(plain.model.row_layer.weight, clipped.model.row_layer.weight)


class Followed:
    """Stands for the tracking store, whose own tests are in tests/moon_rec."""

    made: ClassVar[list["Followed"]] = []

    def __init__(self, uri):
        self.uri, self.logged = uri, []
        self.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @contextlib.contextmanager
    def run(self, name, kind, params, reads, tags=None):
        self.about = (name, kind, params, reads)
        yield self

    def log(self, metrics, step=None):
        self.logged.append((step, metrics))


def test_the_command_resumes_and_follows_the_training(planted, tmp_path, kill, monkeypatch):
    monkeypatch.setattr("ranking.train.Tracker", Followed)
    monkeypatch.setattr("ranking.training.following.SECONDS_BETWEEN_LINES", math.inf)
    out = tmp_path / "ranker"
    words = [str(planted.shop.path), "--out", str(out), "--set", "batch_size=32"]
    words += ["--set", "epochs=2", "--set", "tower=[16]", "--set", "embedding_dim=8"]
    words += ["--feature", "history_length=10", "--checkpoint-every", "9"]
    heal = kill(50)
    with pytest.raises(Killed):
        train_main(words)
    heal()
    assert (tmp_path / "ranker.checkpoints").exists() and not out.exists()
    train_main([*words, "--resume", "--track", "sqlite:///store.db"])
    assert not (tmp_path / "ranker.checkpoints").exists()
    train_main([*words[:2], str(tmp_path / "unbroken"), *words[3:]])
    one, other = TrainedRanker.load(out), TrainedRanker.load(tmp_path / "unbroken")
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name
    (store,) = Followed.made
    name, kind, params, reads = store.about
    assert (store.uri, name, kind) == ("sqlite:///store.db", "ranker", "training")
    assert params["batch_size"] == 32 and reads == {"tables": one.tables_digest}
    judged = [
        metrics["validation_auc"] for _, metrics in store.logged if "validation_auc" in metrics
    ]
    assert judged == list(one.validation_auc)
    losses = [(step, metrics["loss"]) for step, metrics in store.logged if "loss" in metrics]
    last = max(step for step, _ in losses)
    assert losses and all(
        (step % 100 == 0 or step == last) and 0.2 < loss < 1 for step, loss in losses
    )
    with pytest.raises(RankingError, match="--resume needs --checkpoint-every"):
        train_main([*words[:2], str(tmp_path / "third"), "--resume"])
    with pytest.raises(SystemExit):
        train_main([*words[:2], str(tmp_path / "third"), "--checkpoint-every", "0"])
