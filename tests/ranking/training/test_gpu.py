"""Training on a GPU against the CPU: TorchRec's pipeline over sharded tables, in float32 and in bfloat16."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchrec.streamable import Multistreamable, Pipelineable

from ranking.config import WAYS, RankerConfig
from ranking.features import FeatureConfig, RankingTables
from ranking.loader import Loader
from ranking.search_unit import search_options
from ranking.trained import TrainedRanker, content_stores, threads
from ranking.training import Checkpoints, prepare, train_ranker
from ranking.training.checkpoint import CONTENT_MODEL
from ranking.training.devices import process_group, training_device
from ranking.training.distributed import ShardedTrainer
from ranking.training.optimiser import DenseOptimiser
from ranking.training.trainer import LocalTrainer

CONFIG = RankerConfig(
    content="cube", batch_size=64, tower=(16,), attention_dim=8, embedding_dim=8, epochs=2
)
ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICES = ["cpu", pytest.param("cuda", marks=ON_GPU)]


@pytest.fixture(autouse=True)
def one_thread():
    with threads(1):
        yield


@pytest.fixture(scope="module")
def tables(planted):
    return RankingTables.build(planted.shop, FeatureConfig(history_length=10))


def losses(trainer, tables, content, steps: int) -> torch.Tensor:
    loader = Loader(tables, "train", CONFIG.batch_size, content, CONFIG.seed, CONFIG.unknown_rate)
    batches = itertools.islice(loader.epoch(), steps)
    return torch.stack(list(trainer.steps(batches))).cpu()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("is_half", "tolerance"), [(False, 1e-4), (True, 3e-2)])
def test_the_pipeline_trains_what_the_plain_loop_trains(
    planted, tables, device, is_half, tolerance
):
    vectors = (planted.items, planted.queries)
    content = content_stores(tables, CONFIG, *vectors)
    plain = LocalTrainer(prepare(tables, CONFIG, *vectors)[0], CONFIG)
    wanted = losses(plain, tables, content, 40)
    where = training_device(CONFIG.model_copy(update={"device": device}))
    with process_group(where):
        model = prepare(tables, CONFIG, *vectors)[0]
        dense = sum(2 * weight.numel() + 1 for weight in model.dense_parameters())
        trainer = ShardedTrainer(model, CONFIG, where, pipelined=True, is_half=is_half)
        found = losses(trainer, tables, content, 40)
        assert float((found - wanted).abs().max()) < tolerance
        assert float(wanted[-10:].mean()) < float(wanted[:10].mean())
        scores = trainer.predict(Loader(tables, "test", 300, content))
        loader = Loader(tables, "test", 300, content)
        assert abs(scores - plain.predict(loader)).max() < 3 * tolerance
        # frozen vectors have no slot: what is kept is of dense weights and of the tables' rows
        kept = sum(value.size().numel() for value in trainer.optimiser_state().values())
        assert kept == dense + sum(tables.num_embeddings.values())


def test_a_batch_is_what_the_pipeline_takes(tables):
    batch = next(Loader(tables, "train", 50).epoch())
    assert isinstance(batch, Pipelineable) and isinstance(batch, Multistreamable)


class Killed(BaseException):
    """As by the operating system: nothing catches it."""


def killed_at(step: int, of: type, method: str, patch: pytest.MonkeyPatch) -> None:
    """Raise `Killed` in place of that step, counted over calls of `method`."""
    taken, wanted = [], getattr(of, method)

    def counted(self, *given):
        taken.append(1)
        if len(taken) == step:
            raise Killed
        return wanted(self, *given)

    patch.setattr(of, method, counted)


def weights_apart(one: TrainedRanker, other: TrainedRanker) -> float:
    """The largest difference of two rankers' weights."""
    pairs = other.model.state_dict()
    return max(float((v - pairs[name]).abs().max()) for name, v in one.model.state_dict().items())


KINDS = [
    *({"content": way} for way in WAYS),
    {"content": "none"},
    {"content": "vector+scores+simtier+sata+dmf+make+cube+semantic_ids"},
    {"content": "cube", "scores": "both", "learn_temperature": False},
    {"content": "cube", "sequence": "dien"},
    {"content": "cube", "sequence": "bst"},
    {"content": "cube", "search": "content"},
    {"content": "dmf", "search": "category"},
]
SHORT = {"search_length": 4, "recent_length": 3}


@pytest.mark.parametrize("device", DEVICES[1:])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_every_way_has_the_cpus_losses(planted, tables, device, kind):
    config = CONFIG.model_copy(
        update={"num_codes": 8, **(SHORT if "search" in kind else {}), **kind}
    )
    vectors = (planted.items, planted.queries) if config.reads_vectors else (None, None)
    model, content, _ = prepare(tables, config, *vectors)
    options = search_options(tables, config, content)
    seeds = (config.seed, config.unknown_rate)

    def batches():
        return itertools.islice(Loader(tables, "train", 64, content, *seeds, **options).epoch(), 12)

    plain = LocalTrainer(model, config)
    wanted = torch.stack(list(plain.steps(batches())))
    scores = plain.predict(Loader(tables, "test", 300, content, **options))
    where = training_device(config.model_copy(update={"device": device}))
    with process_group(where):
        again = prepare(tables, config, *vectors, is_to_be_sharded=True)[0]
        trainer = ShardedTrainer(again, config, where, is_half=False)
        losses = torch.stack(list(trainer.steps(batches()))).cpu()
        assert float((losses - wanted).abs().max()) < 1e-3
        loader = Loader(tables, "test", 300, content, **options)
        assert np.abs(trainer.predict(loader) - scores).max() < 3e-3
        trainer = ShardedTrainer(
            prepare(tables, config, *vectors, is_to_be_sharded=True)[0], config, where, is_half=True
        )
        losses = torch.stack(list(trainer.steps(batches()))).cpu()
        assert float((losses - wanted).abs().max()) < 5e-2


@pytest.mark.parametrize("device", DEVICES[1:])
@pytest.mark.parametrize("content", ["cube", "make"])
def test_a_gpu_trains_a_ranker_for_the_cpu(planted, tables, device, content):
    vectors = planted.items, planted.queries
    config = CONFIG.model_copy(update={"content": content, "make_epochs": 2})
    found = train_ranker(tables, config.model_copy(update={"device": device}), *vectors)
    wanted = train_ranker(tables, config, *vectors)
    assert {weight.device.type for weight in found.model.parameters()} == {"cpu"}
    assert found.validation_auc == pytest.approx(wanted.validation_auc, abs=0.02)


@pytest.mark.parametrize("device", DEVICES[1:])
def test_a_training_on_a_gpu_goes_on_there_and_on_a_cpu(planted, tables, device, tmp_path):
    vectors = planted.items, planted.queries
    config = CONFIG.model_copy(update={"content": "make", "make_epochs": 1, "device": device})
    with pytest.MonkeyPatch.context() as patch:
        killed_at(20, DenseOptimiser, "step", patch)  # in the content model's pretraining
        with pytest.raises(Killed):
            train_ranker(tables, config, *vectors, checkpoints=Checkpoints(tmp_path / "a", 8))
    assert [path.name for path in (tmp_path / "a").iterdir()] == [CONTENT_MODEL]
    with pytest.MonkeyPatch.context() as patch:
        for trainer in (LocalTrainer, ShardedTrainer):  # in the ranker's training
            killed_at(60, trainer, "set_rate", patch)
        with pytest.raises(Killed):
            train_ranker(tables, config, *vectors, checkpoints=Checkpoints(tmp_path / "a", 8, True))
    kept = Checkpoints(tmp_path / "a").latest()
    assert kept is not None and kept.name == "step-000000056"
    resumed = train_ranker(
        tables, config, *vectors, checkpoints=Checkpoints(tmp_path / "a", 8, True)
    )
    whole = train_ranker(tables, config, *vectors)
    # sums on a GPU have no fixed order, and the forward is bfloat16
    assert weights_apart(resumed, whole) < 0.1
    assert resumed.validation_auc == pytest.approx(whole.validation_auc, abs=0.02)


@pytest.mark.parametrize("device", DEVICES[1:])
@pytest.mark.parametrize("launcher", [[], ["torch.distributed.run", "--standalone"]])
def test_the_command_trains_on_a_gpu_and_saves(planted, tmp_path, device, launcher):
    planted.items.save(tmp_path / "items")
    planted.queries.save(tmp_path / "queries")
    words = [sys.executable, *(word for name in launcher[:1] for word in ("-m", name))]
    words += [*launcher[1:], "-m", "ranking.train", str(planted.shop.path)]
    words += ["--out", str(tmp_path / "ranker"), "--items", str(tmp_path / "items")]
    words += ["--queries", str(tmp_path / "queries"), "--set", f"device={device}"]
    words += ["--checkpoint-every", "30", "--set", "batch_size=64"]
    root = str(Path(__file__).parents[3])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    found = subprocess.run(
        words, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[-3000:]
    ranker = TrainedRanker.load(tmp_path / "ranker", planted.items, planted.queries)
    tables = RankingTables.build(planted.shop, preparation=ranker.preparation)
    on_cpu = ranker.predict(tables, "test")
    ranker.model.to(device)
    assert np.abs(ranker.predict(tables, "test") - on_cpu).max() < 1e-4
