"""Where a training runs, and that all of it runs there: on a device that refuses to meet the CPU's tensors."""

import itertools

import pytest
import torch
import torch.distributed as dist
from torch import nn

from moon_rec.errors import RankingError
from ranking.config import WAYS, RankerConfig
from ranking.features import FeatureConfig, RankingTables
from ranking.loader import Loader
from ranking.search_unit import search_options
from ranking.trained import predict, threads
from ranking.training import prepare
from ranking.training.devices import is_launched, process_group, rank, training_device, world_size
from ranking.training.make_pretraining import pretrain_content_model
from ranking.training.optimiser import DenseOptimiser
from ranking.training.trainer import LocalTrainer
from tests.ranking.training.far_device import FAR, Far, far_device

CONFIG = RankerConfig(batch_size=64, tower=(16,), attention_dim=8, embedding_dim=8)
KINDS = [
    *({"content": way} for way in WAYS),
    {"content": "none"},
    {"content": "cube", "scores": "both"},
    {"content": "cube", "sequence": "dien"},
    {"content": "cube", "sequence": "bst"},
    {"content": "cube", "search": "content", "search_length": 4, "recent_length": 3},
    {"content": "dmf", "search": "category", "search_length": 4, "recent_length": 3},
]


@pytest.fixture(scope="module")
def tables(planted):
    return RankingTables.build(planted.shop, FeatureConfig(history_length=10, counters="none"))


def test_a_far_device_refuses_the_cpus_tensors():
    with far_device():
        far = torch.ones(3).to(FAR)
        assert (far.device, type(far * 2), far.cpu().tolist()) == (FAR, Far, [1, 1, 1])
        with pytest.raises(RuntimeError, match="tensors on two devices"):
            far + torch.ones(3)


def test_the_dense_optimisers_state_is_beside_its_weights():
    weights = {"w": nn.Parameter(torch.zeros(2, device="meta"))}
    state = DenseOptimiser(weights, CONFIG).state()
    assert {value.device.type for value in state.values()} == {"meta"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_every_way_trains_and_scores_on_one_device(planted, tables, kind):
    """Forward, backward, both optimisers and scores: nothing is made on the CPU on the way, and the numbers are the CPU's."""
    config = CONFIG.model_copy(update={"num_codes": 8, **kind})
    vectors = (planted.items, planted.queries) if config.reads_vectors else (None, None)
    model, content, _ = prepare(tables, config, *vectors)
    options = search_options(tables, config, content)

    def batches():
        loader = Loader(tables, "train", 64, content, config.seed, 0.1, **options)
        return itertools.islice(loader.epoch(), 2)

    with threads(1):
        wanted = torch.stack(list(LocalTrainer(model, config).steps(batches())))
        model = prepare(tables, config, *vectors)[0]
        with far_device() as device:
            trainer = LocalTrainer(model.to(device), config)
            moved = (batch.to(device) for batch in batches())
            losses = torch.stack([loss.cpu() for loss in trainer.steps(moved)])
            assert {value.device for value in trainer.state().values()} == {device}
            scores = predict(model, Loader(tables, "test", 300, content, **options))
    assert torch.equal(losses, wanted)
    assert ((scores > 0) & (scores < 1)).all()


def test_makes_content_model_is_pretrained_on_the_device(planted, tables):
    config = CONFIG.model_copy(update={"content": "make", "make_epochs": 1, "batch_size": 512})
    vectors = planted.items, planted.queries
    with threads(1):
        near, content, _ = prepare(tables, config, *vectors)
        wanted = pretrain_content_model(near, tables, config, content)
        model = prepare(tables, config, *vectors)[0]
        with far_device() as device:
            found = pretrain_content_model(model, tables, config, content, device)
    assert found == pytest.approx(wanted, abs=1e-6)
    assert {type(weight.data) for weight in model.parameters()} == {torch.Tensor}


def test_a_missing_gpu_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training_device(RankerConfig()).type == "cpu"
    assert training_device(RankerConfig(device="auto")).type == "cpu"
    with pytest.raises(RankingError, match="torch finds no GPU; set device=cpu"):
        training_device(RankerConfig(device="cuda"))


def test_each_local_rank_has_its_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert training_device(RankerConfig(device="auto")) == torch.device("cuda", 3)
    assert training_device(RankerConfig(device="cpu")) == torch.device("cpu")


def test_a_group_of_one_needs_no_launcher(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not is_launched() and (rank(), world_size()) == (0, 1)
    with process_group(torch.device("cpu")):
        assert dist.is_initialized() and (rank(), world_size()) == (0, 1)
        with process_group(torch.device("cpu")):
            pass
        assert dist.is_initialized()  # the inner block used the outer's and left it
    assert not dist.is_initialized()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert is_launched()
