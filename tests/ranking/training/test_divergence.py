"""A ranker that diverges ends, its newest checkpoint is of before, and lower rates go on from it."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from moon_rec.errors import RankingError
from ranking.config import RankerConfig
from ranking.features import FeatureConfig, RankingTables
from ranking.train import TrainedRanker, train_ranker
from ranking.training import trainer
from ranking.training.checkpoint import Checkpoints
from ranking.training.trainer import DivergedError, LocalTrainer, mean_loss

CONFIG = RankerConfig(
    content="none", epochs=1, batch_size=64, tower=(8,), attention_dim=4, embedding_dim=4,
    num_threads=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def tables(planted):
    return RankingTables.build(planted.shop, FeatureConfig(history_length=5))


@pytest.fixture
def spoil(monkeypatch):
    """From the given step on, counted from 1, losses are no numbers."""

    def spoiled(at, value=math.nan):
        taken = []

        def loss(logits, batch):
            taken.append(1)
            found = mean_loss(logits, batch)
            return found * value if len(taken) >= at else found

        monkeypatch.setattr(trainer, "mean_loss", loss)

    return spoiled


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_lower_rates_go_on_from_the_last_good_step(
    tables, spoil, tmp_path, monkeypatch, capsys, value
):
    folder = tmp_path / "checkpoints"
    spoil(26, value)
    with pytest.raises(DivergedError, match=r"diverged at step 26: the loss is (nan|inf)") as error:
        train_ranker(tables, CONFIG, checkpoints=Checkpoints(folder, 10))
    assert "step-000000020 is of before: go on from it with --resume and lower rates" in str(
        error.value
    )
    monkeypatch.undo()
    for file in (folder / "step-000000020").glob("*.safetensors"):
        assert all(bool(torch.isfinite(one).all()) for one in load_file(file).values())
    with pytest.raises(RankingError, match=r"diverged with learning_rate = 0\.003, .* lower ones"):
        train_ranker(tables, CONFIG, checkpoints=Checkpoints(folder, 10, True))
    lower = CONFIG.model_copy(update={"learning_rate": 1e-3})
    ranker = train_ranker(tables, lower, checkpoints=Checkpoints(folder, 10, True))
    ranker.save(tmp_path / "ranker")
    about = json.loads((tmp_path / "ranker" / "ranker.json").read_text())
    (lowered,) = about["rates_lowered"]
    assert lowered == {"step": 20, "before": {"learning_rate": 3e-3, "embedding_learning_rate": CONFIG.embedding_learning_rate}}  # fmt: skip
    assert TrainedRanker.load(tmp_path / "ranker").rates_lowered == (lowered,)


def test_lower_rates_alone_are_other_settings(tables, tmp_path, monkeypatch):
    def stop(self, batch):
        raise KeyboardInterrupt

    Checkpoints(tmp_path / "kept", 5)
    kept = Checkpoints(tmp_path / "kept", 5)
    save = Checkpoints.save

    def save_and_stop(self, state, position):
        save(self, state, position)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train_ranker(tables, CONFIG, checkpoints=kept)
    monkeypatch.undo()
    for rates in ({"learning_rate": 1e-3}, {"embedding_learning_rate": 1.0}):
        other = CONFIG.model_copy(update=rates)
        with pytest.raises(RankingError, match="of a training with other settings"):
            train_ranker(tables, other, checkpoints=Checkpoints(kept.folder, 5, True))


def test_bad_weights_never_replace_good_ones(tables, tmp_path, monkeypatch):
    """A weight that is no number while losses still are: found before the checkpoint, not after."""
    steps = LocalTrainer.steps

    def spoiled(self, batches):
        for number, loss in enumerate(steps(self, batches), 1):
            if number == 20:
                next(iter(self.model.tables.parameters())).data[-1, 0] = math.inf
            yield loss

    monkeypatch.setattr(LocalTrainer, "steps", spoiled)
    with pytest.raises(
        DivergedError, match=r"weights are not finite; .*step-000000010 is of before"
    ):
        train_ranker(tables, CONFIG, checkpoints=Checkpoints(tmp_path, 10))
    assert [each.name for each in tmp_path.glob("step-*")] == ["step-000000010"]


def test_absurd_but_finite_is_told(tables, capsys):
    far = CONFIG.model_copy(update={"learning_rate": 10.0, "embedding_learning_rate": 10.0})
    train_ranker(tables, far)
    assert "warning: the loss ends at" in " ".join(capsys.readouterr().err.split())
    train_ranker(tables, far.model_copy(update={"epochs": 2}))
    assert "the ranker has collapsed: all scores are" in " ".join(capsys.readouterr().err.split())
    train_ranker(tables, CONFIG)
    assert "warning" not in capsys.readouterr().err
