"""One rank of the trainings that `test_distributed.py` launches.

`torchrun ... sharded_worker.py FOLDER JOB ...`, where FOLDER holds `config.json`, `features.json`, the shop and its vectors, and a job is `table` (a large one is made
in parts), `train`, `resume` (goes on, pipelined, from `checkpoints-resume-<ranks>`) or `break` (is killed). One process does all of its jobs in turn: to begin takes
it longer than any of them.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

import ranking.training.course
from moon_rec.config import make_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.files import read_json
from moon_rec.shop import Shop
from ranking.config import RankerConfig
from ranking.features import FeatureConfig, RankingTables
from ranking.loader import Loader
from ranking.trained import content_stores
from ranking.training import train_on_rank
from ranking.training.checkpoint import Checkpoints
from ranking.training.devices import process_group
from ranking.training.distributed import ShardedTrainer
from tests.ranking.training import large_table

EVERY, KILLED_AT = 9, 30


class Killed(Exception):
    """Raised by every rank at the same step."""


class Mortal(ShardedTrainer):
    """Is killed after so many steps."""

    def steps(self, batches):
        for loss in super().steps(batches):
            self.taken = getattr(self, "taken", 0) + 1
            if self.taken == KILLED_AT:
                raise Killed
            yield loss


class Pipelined(ShardedTrainer):
    """Runs on the CPU what runs on GPUs."""

    def __init__(self, model, config, device):
        super().__init__(model, config, device, pipelined=True)


KINDS = {"train": ShardedTrainer, "resume": Pipelined, "break": Mortal}


def main(folder: Path, jobs: list[str]) -> None:
    torch.set_num_threads(1)
    if jobs[0] == "table":  # first, for it looks at the highest memory of its process
        large_table.make(folder)
        del jobs[0]
    features = make_config(FeatureConfig, read_json(folder / "features.json"))
    config = make_config(RankerConfig, read_json(folder / "config.json"))
    tables = RankingTables.build(Shop.open(folder / "shop"), features)
    vectors = EmbeddingTable.open(folder / "items"), EmbeddingTable.open(folder / "queries")
    with process_group(torch.device("cpu")):
        for job in jobs:
            run(job, folder, tables, config, vectors)


def run(job, folder, tables, config, vectors) -> None:
    name = f"{job}-{dist.get_world_size()}"
    made = []

    def make(model, config, device):
        made.append(KINDS[job](model, config, device))
        return made[0]

    ranking.training.course._trainer = make
    checkpoints = None
    if job in ("break", "resume"):
        checkpoints = Checkpoints(folder / f"checkpoints-{name}", EVERY, job == "resume")
    try:
        ranker = train_on_rank(tables, config, *vectors, checkpoints=checkpoints)
    except Killed:
        return
    ranks = {"rank": dist.get_rank(), "world_size": dist.get_world_size()}
    content = content_stores(tables, config, *vectors)
    scores = made[0].predict(Loader(tables, "test", 300, content, **ranks))
    if ranker is not None:
        ranker.save(folder / name)
        np.save(folder / f"{name}.npy", scores)
        kinds = {table.sharding_type for table in made[0].plan.plan["tables"].values()}
        (folder / f"{name}.txt").write_text(" ".join(sorted(kinds)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
