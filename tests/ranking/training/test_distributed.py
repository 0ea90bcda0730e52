"""Several processes against one: weights, scores, checkpoints that change hands."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.files import write_json
from ranking.config import RankerConfig
from ranking.features import FeatureConfig, RankingTables
from ranking.loader import Loader
from ranking.metrics import gauc
from ranking.trained import TrainedRanker
from ranking.training import train_ranker
from ranking.training.checkpoint import Checkpoints, read_position
from ranking.training.trainer import LocalTrainer
from tests.ranking.conftest import plant_part

WORKER = Path(__file__).with_name("sharded_worker.py")
TOLERANCE = 1e-4
EVERY, KILLED_AT = 9, 30  # as in the worker; in the second epoch
FEATURES = FeatureConfig(history_length=10, query_history_length=5, counters="none")
CONFIG = RankerConfig(
    content="make+cube",  # MAKE's content model is pretrained by all ranks together
    make_epochs=1,
    epochs=2,
    batch_size=36,  # six requests; the last batch has but one, less than there are ranks
    tower=(16,),
    attention_dim=8,
    embedding_dim=8,
    clip_norm=0.5,
)


class Killed(Exception):
    """Ends a training."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """One request in five, less those that would fill the last batch: six trainings are made of them."""
    few = (pl.col("request_id") % 5 == 1) & (pl.col("request_id") > 11)
    return plant_part(tmp_path_factory.mktemp("planted"), few)


def launch(ranks: int, folder: Path, *jobs: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(ranks), str(WORKER), str(folder), *jobs]
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    found = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert found.returncode == 0, found.stderr[-3000:]


@pytest.fixture(scope="module")
def tables(planted):
    return RankingTables.build(planted.shop, FEATURES)


@pytest.fixture(scope="module")
def alone(planted, tables):
    """One process."""
    return train_ranker(tables, CONFIG, planted.items, planted.queries)


@pytest.fixture(scope="module")
def folder(planted, tables, tmp_path_factory):
    """What two ranks trained, and what they made of one process's checkpoint, with the pipeline that runs on GPUs."""
    folder = tmp_path_factory.mktemp("sharded")
    shutil.copytree(planted.shop.path, folder / "shop")
    planted.items.save(folder / "items")
    planted.queries.save(folder / "queries")
    write_json(folder / "config.json", CONFIG.model_dump(mode="json"))
    write_json(folder / "features.json", FEATURES.model_dump(mode="json"))
    with pytest.MonkeyPatch.context() as patch:
        steps = LocalTrainer.steps

        def mortal(self, batches):
            for loss in steps(self, batches):
                self.taken = getattr(self, "taken", 0) + 1
                if self.taken == KILLED_AT:
                    raise Killed
                yield loss

        patch.setattr(LocalTrainer, "steps", mortal)
        with pytest.raises(Killed):
            train(planted, tables, folder / "checkpoints-resume-2", resume=False)
    launch(2, folder, "table", "train", "resume", "break")
    return folder


@pytest.fixture(scope="module")
def of_three(folder):
    """What three ranks made of two ranks' checkpoint."""
    shutil.copytree(folder / "checkpoints-break-2", folder / "checkpoints-resume-3")
    launch(3, folder, "resume")
    return folder


def train(planted, tables, checkpoints: Path, resume: bool) -> TrainedRanker:
    vectors = planted.items, planted.queries
    return train_ranker(
        tables, CONFIG, *vectors, checkpoints=Checkpoints(checkpoints, EVERY, resume)
    )


def load(folder: Path, name: str) -> TrainedRanker:
    tables = EmbeddingTable.open(folder / "items"), EmbeddingTable.open(folder / "queries")
    return TrainedRanker.load(folder / name, *tables)


def assert_equal(one: TrainedRanker, other: TrainedRanker) -> None:
    for name, value in one.model.state_dict().items():
        assert float((value - other.model.state_dict()[name]).abs().max()) < TOLERANCE, name
    assert one.validation_auc == pytest.approx(other.validation_auc, abs=TOLERANCE)


def test_the_last_batch_has_fewer_requests_than_there_are_ranks(tables):
    rows = Loader(tables, "train", CONFIG.batch_size, shuffle_seed=CONFIG.seed).batch_rows()
    sizes = np.diff(tables.periods["train"].offsets)
    assert set(sizes) == {6} and rows[-1] == 6


def test_two_processes_make_the_halves_of_a_table_and_none_makes_it_whole(folder):
    """Three million rows of 16 numbers are 183 MiB: each process grew by 105 and 136, and by 372 when each made the table whole."""
    ranks = [json.loads((folder / f"table-{rank}.json").read_text()) for rank in range(2)]
    assert [rank["is_equal"] for rank in ranks] == [True, True]
    assert sum(rank["rows"] for rank in ranks) == ranks[0]["all_rows"]
    for rank in ranks:
        assert 0 < rank["rows"] < rank["all_rows"]
        assert rank["grown_mib"] < rank["table_mib"]


def test_two_processes_train_what_one_trains(folder, alone):
    found = load(folder, "train-2")
    assert_equal(found, alone)
    learnt = found.model.tables.embeddings["item"].weight.detach()
    assert float(learnt.std()) > 0.03  # they did learn: the start's spread is 0.02
    kinds = (folder / "train-2.txt").read_text().split()
    assert kinds and set(kinds) <= {"row_wise", "table_wise"}


def test_a_checkpoint_of_two_ranks_goes_on_with_one(planted, tables, folder, alone):
    shutil.copytree(folder / "checkpoints-break-2", folder / "checkpoints-alone")
    found = Checkpoints(folder / "checkpoints-alone").latest()
    assert found is not None
    assert read_position(found).step == KILLED_AT // EVERY * EVERY
    assert len(list(found.glob("shard-*.safetensors"))) == 2
    assert {path.suffix for path in found.iterdir()} == {".safetensors", ".json"}
    assert_equal(train(planted, tables, folder / "checkpoints-alone", resume=True), alone)


def test_a_checkpoint_of_one_process_goes_on_with_two_ranks(folder, alone):
    assert_equal(load(folder, "resume-2"), alone)


@pytest.mark.slow
def test_a_checkpoint_of_two_ranks_goes_on_with_three(of_three, tables, alone):
    assert_equal(load(of_three, "resume-3"), alone)
    assert_scores_fit(of_three, "resume-3", tables, alone)


@pytest.mark.parametrize("name", ["train-2", "resume-2"])
def test_scores_and_gauc_are_the_same_for_any_number_of_ranks(tables, folder, alone, name):
    assert_scores_fit(folder, name, tables, alone)


def assert_scores_fit(folder: Path, name: str, tables, alone: TrainedRanker) -> None:
    """The scores gathered from the ranks are those of the saved ranker in one process, and of one trained so."""
    test = tables.periods["test"]
    users = test.users[test.row_requests()]
    gathered = np.load(folder / f"{name}.npy", allow_pickle=False)
    whole = load(folder, name).predict(tables, "test")
    assert np.abs(gathered - whole).max() < 1e-6
    assert np.abs(gathered - alone.predict(tables, "test")).max() < TOLERANCE
    found, wanted = (gauc(test.labels, scores, users).value for scores in (gathered, whole))
    assert found == pytest.approx(wanted, abs=1e-9)
