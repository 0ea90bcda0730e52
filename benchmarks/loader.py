"""Does a training wait for its data? `python -m benchmarks.loader --shop runs/demo/shop`.

Steps of post-training at default settings, once with the loader that training has (pairs drawn, texts and pictures composed, photos altered; in a thread beside the
steps where a core is free), once on one cached batch of each kind. The claim checked: with the loader at least 95 % of the steps a second.

Notable choices
- Both do the same kinds in the same order. A round is a run of consecutive steps of the schedule by each, who goes first changing from round to round, so that a
  machine that drifts or is shared changes both alike. The interval is over rounds.
- A round with the loader starts the thread anew: its first batch is waited for, as a training does once, and nothing is made in the other's time.
- Pictures are decoded ahead, as training has it done, and that is timed by itself, for all that a default training of this shop needs.
- By CPU time besides: on a machine that is shared, waiting for others counts nothing there.
"""

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from benchmarks.negatives import Trainer
from moon_rec.allocator import keep_freed_memory
from moon_rec.bootstrap import bootstrap_mean
from moon_rec.command import Parser, count, run
from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from moon_rec.progress import progress
from moon_rec.shop import Shop
from representation.encoder import untrained_encoder
from representation.posttraining.batches import Batches
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.pair_batch import PairBatch
from representation.posttraining.preparation import Prepared, prepare
from representation.training.loader import PrefetchingLoader
from representation.training.optimisation import training_mode

LEAST_SHARE = 0.95
SHARE = "steps a second with the loader over those on cached batches of the same kinds, geometric mean over rounds"
CLOCKS = (time.perf_counter, time.process_time)


class Course:
    """One training that takes its batches from the loader or from a cache, in turn."""

    def __init__(
        self, shop: Shop, prepared: Prepared, config: PosttrainConfig, ahead: int | None
    ) -> None:
        self._batches, self._config, self._ahead = prepared.batches, config, ahead
        self._trainer = Trainer(shop, prepared, config)
        kinds = self._batches.schedule.kinds
        self._cache = {kind: self._batches.make(kinds.index(kind)) for kind in set(kinds)}
        self._kinds = kinds

    def go(self, rounds: int, steps: int) -> np.ndarray:
        """Seconds `(rounds, 2, 2)`: with the loader and from the cache, by the wall's clock and the processor's."""
        taken = np.zeros((rounds, 2, 2))
        with (
            training_mode(self._trainer.encoder.backbone, self._config) as dtype,
            progress("rounds", total=rounds) as bar,
        ):
            self._train(self._cache.values(), dtype)  # warms up every shape
            for number in range(rounds):
                first, last = number * steps, (number + 1) * steps
                for turn in range(2):
                    which = (turn + number) % 2
                    before = np.array([clock() for clock in CLOCKS])
                    if which:
                        self._train((self._cache[kind] for kind in self._kinds[first:last]), dtype)
                    else:
                        with PrefetchingLoader(self._batches, last, first, self._ahead) as loader:
                            self._train(loader, dtype)
                    taken[number, which] = np.array([clock() for clock in CLOCKS]) - before
                bar.advance()
        return taken

    def _train(self, batches: Iterable[PairBatch], dtype: torch.dtype) -> None:
        for batch in batches:
            self._trainer.seconds(batch, 1, dtype, time.perf_counter)


def seconds_of(batches: Batches, steps: int) -> float:
    """Of making a batch in the loader's thread with nothing beside it, pictures decoded."""
    started = time.perf_counter()
    for _ in PrefetchingLoader(batches, steps):
        pass
    return (time.perf_counter() - started) / steps


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All figures of the benchmark."""
    shop = Shop.open(given.shop)
    config = PosttrainConfig(seed=given.seed, num_threads=given.threads)
    if given.rounds * given.steps > config.steps:
        raise MoonRecError(f"rounds * steps is more than a training's {config.steps}: take fewer")
    started = time.perf_counter()
    prepared = prepare(shop, config, untrained_encoder(shop, config.backbone, config.seed))
    preparing = time.perf_counter() - started
    taken = Course(shop, prepared, config, given.ahead).go(given.rounds, given.steps)
    shares = taken[:, 1] / taken[:, 0]
    return {
        "shop": shop.manifest.name,
        "simulated": shop.manifest.is_simulated,
        "threads": given.threads or torch.get_num_threads(),
        "ahead": given.ahead,
        "steps_in_round": given.steps,
        "share": _geometric(shares[:, 0]),
        "share_by_cpu_time": _geometric(shares[:, 1]),
        "least": float(shares[:, 0].min()),
        "most": float(shares[:, 0].max()),
        "ms_a_step": 1000 * float(np.median(taken[:, 0, 0])) / given.steps,
        "ms_a_step_cached": 1000 * float(np.median(taken[:, 1, 0])) / given.steps,
        "ms_to_make_a_batch_alone": 1000 * seconds_of(prepared.batches, given.steps),
        "seconds_to_prepare_and_decode": preparing,
    }


def _geometric(shares: np.ndarray) -> dict[str, Any]:
    """Geometric mean with its interval: noise alike in both times leaves it at 1, as it would not leave the mean of quotients."""
    logs = bootstrap_mean(np.log(shares), definition=SHARE)
    ends = {name: float(np.exp(getattr(logs, name))) for name in ("value", "low", "high")}
    return {**logs.as_dict(), **ends}


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = parsed(_parser(), argv)
    keep_freed_memory()  # as `python -m representation.posttrain` does
    found = measure(given)
    share, by_cpu = found["share"], found["share_by_cpu_time"]
    for name, numbers in (("by the clock", share), ("by CPU time", by_cpu)):
        print(
            f"{name}: {numbers['value']:.3f} [{numbers['low']:.3f}, {numbers['high']:.3f}] of the steps a second on cached batches, {given.rounds} rounds of {given.steps}"
        )
    print(
        f"a step {found['ms_a_step']:.0f} ms, on cached batches {found['ms_a_step_cached']:.0f}; a batch alone {found['ms_to_make_a_batch_alone']:.1f} ms"
    )
    if given.out:
        write_json(given.out, {**describe_machine(), "what": SHARE, **found})
    if share["value"] < LEAST_SHARE:
        raise MoonRecError(
            f"{share['value']:.3f} of the steps a second, wanted at least {LEAST_SHARE}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks.loader",
        description="Training steps a second with the loader, against those on cached batches.",
        example="python -m benchmarks.loader --shop runs/demo/shop --out benchmarks/results/loader.json",
    )
    parser.add_argument("--shop", type=Path, required=True, help="a shop's folder")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=count, default=4, help="steps of a round")
    parser.add_argument("--ahead", type=int, help="0: no thread; by default as training has it")
    parser.add_argument("--threads", type=count, help="torch's; by default as they are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
