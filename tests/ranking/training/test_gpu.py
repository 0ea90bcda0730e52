"""Training on a GPU against the CPU: TorchRec's pipeline over sharded tables, in float32 and in bfloat16."""

import itertools

import pytest
import torch
from torchrec.streamable import Multistreamable, Pipelineable

from ranking.config import RankerConfig
from ranking.features import FeatureConfig, RankingTables
from ranking.loader import Loader
from ranking.trained import content_stores, threads
from ranking.training import prepare, train_ranker
from ranking.training.devices import process_group, training_device
from ranking.training.distributed import ShardedTrainer
from ranking.training.trainer import LocalTrainer

CONFIG = RankerConfig(
    content="cube", batch_size=64, tower=(16,), attention_dim=8, embedding_dim=8, epochs=2
)
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]


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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_a_ranker_for_the_cpu(planted, tables):
    on_gpu = train_ranker(
        tables, CONFIG.model_copy(update={"device": "cuda"}), planted.items, planted.queries
    )
    on_cpu = train_ranker(tables, CONFIG, planted.items, planted.queries)
    assert {weight.device.type for weight in on_gpu.model.parameters()} == {"cpu"}
    assert on_gpu.validation_auc == pytest.approx(on_cpu.validation_auc, abs=0.02)
