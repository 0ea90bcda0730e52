"""One of two processes that shard a large table: what memory it took, and whether its rows are those of the whole."""

import json
import resource
from pathlib import Path

import torch
import torch.distributed as dist

from ranking.config import RankerConfig
from ranking.model import InputSizes, Ranker
from ranking.training.devices import process_group
from ranking.training.distributed import ShardedTrainer

ROWS = 3_000_000
CONFIG = RankerConfig(tower=(8,), attention_dim=8)


def ranker(num_items: int, is_to_be_sharded: bool) -> Ranker:
    known = dict.fromkeys(("user", "category", "brand", "price", "query"), 20)
    sizes = InputSizes(known | {"item": num_items}, 1, 5, 5, True, 0, False)
    torch.manual_seed(3)
    return Ranker(sizes, CONFIG, is_to_be_sharded=is_to_be_sharded)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make(folder: Path) -> None:
    """Leave what was found in `FOLDER/table-RANK.json`."""
    with process_group(torch.device("cpu")):
        ShardedTrainer(ranker(1000, True), CONFIG, torch.device("cpu"))  # loads what it loads
        before = peak()
        trainer = ShardedTrainer(ranker(ROWS, True), CONFIG, torch.device("cpu"))
        grown = peak() - before
        wanted = ranker(ROWS, False).state_dict()
        is_equal, rows = True, 0
        for name, value in trainer.weights().items():
            shards = getattr(value, "local_shards", None)
            if shards is None:
                is_equal &= torch.equal(value, wanted[name])
                continue
            for shard in shards():
                first = shard.metadata.shard_offsets[0]
                own = wanted[name][first : first + len(shard.tensor)]
                is_equal &= torch.equal(shard.tensor, own)
                rows += len(shard.tensor) * (".item." in name)
        found = {
            "is_equal": is_equal,
            "rows": rows,
            "all_rows": ROWS,
            "grown_mib": grown,
            "table_mib": ROWS * CONFIG.embedding_dim * 4 / 2**20,
        }
        (folder / f"table-{dist.get_rank()}.json").write_text(json.dumps(found))
