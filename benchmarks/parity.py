"""DIN here and FuxiCTR's DIN on the same features, rows and seeds: `python -m benchmarks.parity SHOP`.

Fair to both: the same features (handed over by `ranking.handover`), embedding 16, attention 64, tower
256-128-64, batch 1024, the same number of epochs; the learning rate that is best on validation with the first
seed, out of as many tries for each side; of each training the epoch that is best on validation. Test is
scored once, with all seeds. Three sides:

- `fuxictr`: its layers, loader and training step; Adam; attention activation Dice, its default.
- `same_optimiser`: DIN here, trained as FuxiCTR trains: Adam on all weights, no id hidden, tables that start
  as narrow as there. This compares the models.
- `ours`: DIN here as `ranking.train` trains it: AdamW, row-wise Adagrad, hidden ids. This compares what users get.
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from benchmarks.peers import PEERS
from moon_rec.command import Parser, count, run
from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from moon_rec.progress import say
from moon_rec.shop import Shop
from ranking.config import RankerConfig
from ranking.features import FeatureConfig, Period, RankingTables
from ranking.handover import write_fuxictr
from ranking.loader import Loader
from ranking.metrics import auc
from ranking.model import Ranker
from ranking.start_weights import EMBEDDING_STD
from ranking.trained import predict, threads
from ranking.training.course import input_sizes, new_ranker, train_ranker
from ranking.training.trainer import mean_loss

FUXICTR_RATES = (5e-4, 1e-3, 2e-3)
OUR_RATES = ((1e-3, 1e-2), (1e-3, 3e-2), (3e-3, 3e-2))
"""(dense, tables); as many tries as for the other sides."""
FUXICTR_STD, FUXICTR_CLIP = 1e-4, 10.0
"""Its tables' first spread, and the norm its training step clips at."""
SIDES = ("fuxictr", "same_optimiser", "ours")


@dataclass(frozen=True)
class Fitted:
    """One training: AUC on validation and test at its best epoch on validation."""

    rate: Any
    seed: int
    validation: float
    test: float
    epoch: int


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.parity",
        description="AUC of DIN here and of FuxiCTR's DIN with the same features, sizes, data and seeds.",
        example="python -m benchmarks.parity runs/movielens/shop --out benchmarks/results/parity.json",
    )
    parser.add_argument("shop", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=count, default=2)
    parser.add_argument("--history-length", type=int, default=50)
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    given = parsed(parser, argv)
    if not PEERS.exists():
        raise MoonRecError("FuxiCTR is not installed: make peers")
    features = FeatureConfig(history_length=given.history_length, max_candidates=1, counters="none")
    tables = RankingTables.build(Shop.open(given.shop), features)
    found: dict[str, list[Fitted]] = {}
    with TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_fuxictr(tables, data)
        sides: dict[str, tuple[Any, tuple[Any, ...]]] = {
            "fuxictr": (lambda *of: _fuxictr(tables, data, given, *of), FUXICTR_RATES),
            "same_optimiser": (lambda *of: _with_adam(tables, given, *of), FUXICTR_RATES),
            "ours": (lambda *of: _ours(tables, given, *of), OUR_RATES),
        }
        for side in given.sides:
            found[side] = _all_seeds(*sides[side], given)
    result = _summary(found)
    print(json.dumps(result, indent=2))
    if given.out:
        about = {"shop": tables.digest, "epochs": given.epochs, "command": " ".join(sys.argv[1:])}
        write_json(given.out, {**describe_machine(), **about, **result})


def _all_seeds(fit: Any, rates: tuple[Any, ...], given: argparse.Namespace) -> list[Fitted]:
    """The first seed with every rate, the others with the best of them on validation."""
    tries = [fit(rate, 0) for rate in rates]
    best = max(tries, key=lambda one: one.validation)
    return [best, *(fit(best.rate, seed) for seed in range(1, given.seeds))]


def _config(given: argparse.Namespace, **more: Any) -> RankerConfig:
    return RankerConfig(
        embedding_dim=16,
        attention_dim=64,
        tower=(256, 128, 64),
        batch_size=1024,
        epochs=given.epochs,
        num_threads=given.threads,
        **more,
    )


def _ours(
    tables: RankingTables, given: argparse.Namespace, rate: tuple[float, float], seed: int
) -> Fitted:
    config = _config(given, learning_rate=rate[0], embedding_learning_rate=rate[1], seed=seed)
    ranker = train_ranker(tables, config, description=f"ours, rates {rate}, seed {seed}")
    judged = {
        period: auc(tables.periods[period].labels, ranker.predict(tables, period))
        for period in ("validation", "test")
    }
    history = list(ranker.validation_auc) or [judged["validation"]]
    return _told("ours", Fitted(rate, seed, **judged, epoch=int(np.argmax(history)) + 1))


def _with_adam(tables: RankingTables, given: argparse.Namespace, rate: float, seed: int) -> Fitted:
    """Our model and loader under FuxiCTR's training step."""
    config = _config(given, seed=seed, unknown_rate=0.0)
    epochs = []
    with threads(given.threads):
        model = new_ranker(tables, input_sizes(tables, None), config)
        with torch.no_grad():
            for table in model.tables.parameters():
                table.mul_(FUXICTR_STD / EMBEDDING_STD)
        adam = torch.optim.Adam(model.parameters(), rate)
        loader = Loader(tables, "train", config.batch_size, None, seed, 0.0)
        for epoch in range(given.epochs):
            model.train()
            for batch in loader.epoch(epoch):
                adam.zero_grad()
                mean_loss(model(batch), batch).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), FUXICTR_CLIP)
                adam.step()
            epochs.append([_auc_now(model, tables, name) for name in ("validation", "test")])
    best = int(np.argmax([validation for validation, _ in epochs]))
    return _told("same_optimiser", Fitted(rate, seed, *epochs[best], epoch=best + 1))


def _auc_now(model: Ranker, tables: RankingTables, period: Period) -> float:
    return auc(tables.periods[period].labels, predict(model, Loader(tables, period, 4096)))


def _fuxictr(
    tables: RankingTables, data: Path, given: argparse.Namespace, rate: float, seed: int
) -> Fitted:
    scores = data / "scores.npz"
    words = [str(PEERS), "benchmarks/fuxictr_din.py", str(data), "--task", "fit"]
    words += ["--scores", str(scores), "--epochs", str(given.epochs), "--seed", str(seed)]
    words += ["--learning-rate", str(rate), "--threads", str(given.threads)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MoonRecError(f"FuxiCTR ended with exit code {done.returncode}: {done.stderr[-500:]}")
    found = np.load(scores, allow_pickle=False)
    labels = {period: tables.periods[period].labels for period in ("validation", "test")}
    validation = [auc(labels["validation"], found[f"valid_{n}"]) for n in range(given.epochs)]
    epoch = int(np.argmax(validation))
    test = auc(labels["test"], found[f"test_{epoch}"])
    return _told("fuxictr", Fitted(rate, seed, validation[epoch], test, epoch + 1))


def _told(side: str, one: Fitted) -> Fitted:
    say(
        f"{side}: rate {one.rate}, seed {one.seed}: validation {one.validation:.4f}, "
        f"test {one.test:.4f} (epoch {one.epoch})"
    )
    return one


def _summary(found: dict[str, list[Fitted]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for side, fits in found.items():
        tests = [fit.test for fit in fits]
        result[side] = {
            "rate": fits[0].rate,
            "test_auc": [round(value, 5) for value in tests],
            "mean": round(statistics.fmean(tests), 5),
            "deviation": round(statistics.stdev(tests), 5) if len(tests) > 1 else None,
            "validation_auc": [round(fit.validation, 5) for fit in fits],
            "epochs": [fit.epoch for fit in fits],
        }
    for side in ("same_optimiser", "ours"):
        if side in found and "fuxictr" in found:
            difference = result[side]["mean"] - result["fuxictr"]["mean"]
            result[f"{side}_minus_fuxictr"] = round(difference, 5)
    return result


if __name__ == "__main__":
    sys.exit(run(main))
