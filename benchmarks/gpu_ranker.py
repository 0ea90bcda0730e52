"""Training a ranker on GPUs: the losses of the CPU's plain loop, rows a second, memory, no slot for frozen vectors.

`python -m benchmarks.gpu_ranker` on one GPU, `torchrun --nproc-per-node N -m benchmarks.gpu_ranker` on several;
`--device cpu` runs the same over gloo, to try the script where there is no GPU. CUBE over random vectors of
random products: what is measured is the machinery, not quality. A check that fails ends it with code 2.

Notable choices
- Losses of float32 steps must be the CPU's within 1e-3, those of bfloat16 within 5e-2 (a step's loss is
  about 0.6); all ranks' losses are averaged, which is the loss of the global batch.
- Rows a second are of steps after the first ten: with the loader's thread beside them, as in a training, and on
  batches made beforehand, which is what the device alone does. `base` is the pipeline without overlap, so its
  share of `sparse` is what the overlap gains.
- Half of the processors' threads go to torch, the rest to the loader.
"""

import itertools
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from benchmarks.synthetic_tables import ALL_FEATURES, random_vectors, synthetic_tables
from moon_rec.command import Parser, run
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError
from moon_rec.files import write_json
from moon_rec.progress import say
from ranking.batch import Batch
from ranking.config import RankerConfig
from ranking.features import RankingTables
from ranking.loader import Loader
from ranking.prefetch import prefetched
from ranking.trained import threads
from ranking.training import prepare
from ranking.training.devices import process_group, rank, training_device, world_size
from ranking.training.distributed import ShardedTrainer
from ranking.training.trainer import LocalTrainer, Trainer

NUM_CHECKED = 30
NUM_WARM = 10
NUM_READY = 16
"""Batches made beforehand."""
TOLERANCES = {"float32": 1e-3, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Setting:
    """What is trained."""

    tables: RankingTables
    items: EmbeddingTable
    config: RankerConfig
    num_steps: int

    def batches(self, num_ranks: int, number: int) -> Iterator[Batch]:
        """The first steps' batches, of this rank's slices."""
        config, content = self.config, prepare(self.tables, self.config, self.items)[1]
        loader = Loader(
            self.tables,
            "train",
            config.batch_size,
            content,
            config.seed,
            config.unknown_rate,
            rank=rank() if num_ranks > 1 else 0,
            world_size=num_ranks,
        )
        return itertools.islice(loader.epoch(), number)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = parsed(_parser(), argv)
    config = RankerConfig(content="cube", batch_size=given.batch_size, device=given.device)
    device = training_device(config)
    num_requests = (NUM_CHECKED + NUM_WARM + given.steps) * given.batch_size // given.candidates
    tables = synthetic_tables(
        num_requests, given.candidates, (given.history // 2, given.history), ALL_FEATURES
    )
    items = random_vectors(tables.items.ids.size, given.dim)
    setting = Setting(tables, items, config, given.steps)
    with threads(max(1, (os.cpu_count() or 1) // 2)), process_group(device):
        wanted = _losses(LocalTrainer(prepare(tables, config, items)[0], config), setting, 1)
        found = {
            f"{kind}, {precision}": _measure(setting, device, kind == "sparse", precision, wanted)
            for precision in TOLERANCES
            for kind in ("sparse", "base")
        }
        if rank() == 0:
            _tell(found)
            if given.out:
                about = vars(given) | {"out": str(given.out), "ranks": world_size()}
                write_json(
                    given.out, {"machine": describe_machine(), "setting": about, "found": found}
                )


def _measure(
    setting: Setting, device: torch.device, is_sparse: bool, precision: str, wanted: Tensor
) -> dict[str, float]:
    """Losses against the CPU's, slots, rows a second and peak memory of one way to train.

    Raises:
        RankingError: a check that fails.
    """
    model = prepare(setting.tables, setting.config, setting.items, is_to_be_sharded=True)[0]
    slots = sum(2 * weight.numel() + 1 for weight in model.dense_parameters())
    slots += sum(setting.tables.num_embeddings.values())
    is_half = precision == "bfloat16"
    trainer = ShardedTrainer(model, setting.config, device, pipelined=is_sparse, is_half=is_half)
    found = _losses(trainer, setting, world_size())
    dist.all_reduce(found)
    gap = float((found / world_size() - wanted).abs().max())
    if not gap < TOLERANCES[precision]:
        raise RankingError(
            f"{precision} losses on {device} are {gap:.2g} from the CPU's, wanted below "
            f"{TOLERANCES[precision]:g}"
        )
    kept = sum(value.size().numel() for value in trainer.optimiser_state().values())
    if kept != slots:
        raise RankingError(
            f"the optimisers keep {kept} numbers, wanted {slots}: of tables and tower"
        )
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    speed = rows_per_second(trainer, setting, device, is_ready=False)
    alone = rows_per_second(trainer, setting, device, is_ready=True)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return {
        "largest_loss_gap": gap,
        "rows_per_second": speed,
        "rows_per_second_of_ready_batches": alone,
        "peak_gpu_bytes": peak,
    }


def _losses(trainer: Trainer, setting: Setting, num_ranks: int) -> Tensor:
    steps = trainer.steps(setting.batches(num_ranks, NUM_CHECKED))
    return torch.stack(list(steps)).cpu()


def rows_per_second(
    trainer: Trainer, setting: Setting, device: torch.device, is_ready: bool
) -> float:
    """Of the steps after the first ten; `is_ready`: on batches made beforehand."""
    total = NUM_WARM + setting.num_steps
    batches = prefetched(setting.batches(world_size(), total))
    if is_ready:
        ready = list(setting.batches(world_size(), NUM_READY))
        batches = itertools.islice(itertools.cycle(ready), total)
    steps = trainer.steps(batches)
    for _ in itertools.islice(steps, NUM_WARM):
        pass
    _wait(device)
    started = time.perf_counter()
    for _ in steps:
        pass
    _wait(device)
    return setting.num_steps * setting.config.batch_size / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _tell(found: dict[str, dict[str, float]]) -> None:
    for name, figures in found.items():
        memory = figures["peak_gpu_bytes"] / 2**20
        say(
            f"{name}: {figures['rows_per_second']:,.0f} rows/s ({figures['rows_per_second_of_ready_batches']:,.0f} of "
            f"batches made beforehand), peak {memory:,.0f} MiB on the GPU, "
            f"losses within {figures['largest_loss_gap']:.1e} of the CPU's"
        )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.gpu_ranker",
        description="Check and time the training of a ranker on GPUs against the CPU.",
        example="python -m benchmarks.gpu_ranker --out benchmarks/results/gpu-ranker.json",
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="to train on")
    parser.add_argument("--steps", type=int, default=200, help="to time")
    parser.add_argument("--batch-size", type=int, default=4096, help="rows, of all ranks")
    parser.add_argument("--candidates", type=int, default=10, help="of a request")
    parser.add_argument("--history", type=int, default=200, help="most behaviours of a request")
    parser.add_argument("--dim", type=int, default=128, help="of the frozen vectors")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
