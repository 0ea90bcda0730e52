"""How often the report's sentence about the best metric is false, where the truth is known: `python -m benchmarks.metric_choice`.

Studies are drawn from populations of encoders of quality q between 0 and 1. AUC rises with q, and of the candidate metrics one follows q most closely; it is related to AUC by
a line or by a curve that flattens. Which metric truly predicts an unseen encoder best is measured on a large sample of studies: a line through a study's encoders
predicts one more encoder of the same population.

- before: among metrics with an `identified` rate the one with the smallest left-out error was said to predict best. False: another predicts as well or better, by the truth.
- after: the smallest left-out error of all is named, and it is said which others it is told from. False: one of those predicts as well or better, by the truth.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from exchange_rate import rank_metrics
from moon_rec.command import Parser, count, run
from moon_rec.progress import track
from moon_rec.seeds import generator

Floats = np.ndarray
SEEDS = 3
SEED_NOISE, SCATTER = 0.001, 0.002
"""Standard deviations of AUC between seeds, and of encoders around the truth."""
RISE = 0.08
"""AUC from the worst encoder to the best."""


@dataclass(frozen=True)
class Population:
    """Encoders to draw.

    Attributes:
        name: what is special about them.
        rise: AUC's share of its rise, from quality.
        noises: of each metric around what it follows, in units of that.
        follows: for each metric what it follows: quality, or the share of AUC's rise.
        num_alike: the first metrics of that number are alike, so that none of them is the best.
    """

    name: str
    rise: Callable[[Floats], Floats]
    noises: tuple[float, ...]
    follows: tuple[str, ...]
    num_alike: int = 1

    def draw(self, random: np.random.Generator, num: int) -> tuple[Floats, Floats]:
        """Metrics `(metrics, num)` and true AUC `(num,)` of `num` encoders."""
        quality = random.uniform(0, 1, num)
        share = self.rise(quality)
        sources = {"quality": quality, "auc": share, "nothing": np.zeros(num)}
        metrics = [
            sources[source] + random.normal(0, noise, num)
            for source, noise in zip(self.follows, self.noises, strict=True)
        ]
        return np.array(metrics), 0.6 + RISE * share + random.normal(0, SCATTER, num)


def _flat(strength: float) -> Callable[[Floats], Floats]:
    return lambda quality: (1 - np.exp(-strength * quality)) / (1 - np.exp(-strength))


RIVALS = ("auc",) * 3
POPULATIONS = (
    Population("best is linear", lambda q: q, (0.05, 0.15, 0.2, 0.3), ("quality", *RIVALS)),
    Population("best saturates", _flat(2), (0.01, 0.2, 0.25, 0.3), ("quality", *RIVALS)),
    Population("best saturates strongly", _flat(4), (0.01, 0.3, 0.35, 0.4), ("quality", *RIVALS)),
    Population("two alike", lambda q: q, (0.1, 0.1, 0.3, 0.3), ("auc", *RIVALS), 2),
    Population("none is worth anything", lambda q: q, (0.3,) * 4, ("nothing",) * 4, 4),
)


def true_errors(population: Population, num_encoders: int, num_studies: int, seed: int) -> Floats:
    """Root mean square error of each metric at one more encoder, `(metrics,)`."""
    random = generator(seed, "truth", population.name, num_encoders)
    squares = np.zeros(len(population.noises))
    for _ in range(num_studies):
        metrics, auc = population.draw(random, num_encoders + 1)
        auc = auc + random.normal(0, SEED_NOISE / SEEDS**0.5, num_encoders + 1)
        for row, metric in enumerate(metrics):
            slope, start = np.polyfit(metric[:-1], auc[:-1], 1)
            squares[row] += (auc[-1] - start - slope * metric[-1]) ** 2
    squares[: population.num_alike] = squares[: population.num_alike].mean()
    return np.sqrt(squares / num_studies)


def study(population: Population, num_encoders: int, random: np.random.Generator) -> pl.DataFrame:
    """One study's table, a row a run."""
    metrics, auc = population.draw(random, num_encoders)
    columns = {f"metric {row}": np.repeat(values, SEEDS) for row, values in enumerate(metrics)}
    return pl.DataFrame(
        {
            "encoder": np.repeat([f"encoder {row}" for row in range(num_encoders)], SEEDS),
            "seed": np.tile(np.arange(SEEDS), num_encoders),
            "auc": np.repeat(auc, SEEDS) + random.normal(0, SEED_NOISE, num_encoders * SEEDS),
            **columns,
        }
    )


def judge(ranked: pl.DataFrame, truth: Floats) -> dict[str, float]:
    """What the sentences before and after say of a ranked study, against the truth."""
    rows = [row | {"true": truth[int(row["metric"].split()[1])]} for row in ranked.to_dicts()]
    sure = [row for row in rows if row["verdict"] == "identified"][:1]
    best, told = rows[0], [row for row in rows if row["is_told_from_best"]]
    covered = [
        row["left_out_error_low"] <= row["true"] <= row["left_out_error_high"] for row in rows
    ]
    others = [row for row in rows if row not in sure]
    return {
        "before: a best is named": bool(sure),
        "before: false": any(row["true"] <= named["true"] for named in sure for row in others),
        "after: the named is among the truly best": best["true"] <= truth.min(),
        "after: told from all": len(told) == len(rows) - 1,
        "after: false": any(row["true"] <= best["true"] for row in told),
        "after: told from the mean": bool(best["is_told_from_mean"]),
        "interval of the error covers": float(np.mean(covered)),
        "of the best's": covered[0],
    }


def main(argv: list[str] | None = None) -> None:
    """Simulate and print the table; see `--help`."""
    parser = _parser()
    given = parser.parse_args(argv)
    found: dict[tuple[str, int], dict[str, float]] = {}
    grid = [(population, num) for population in POPULATIONS for num in given.encoders]
    for population, num in track(grid, "populations"):
        truth = true_errors(population, num, given.truth, given.seed)
        random = generator(given.seed, "studies", population.name, num)
        judged = [
            judge(rank_metrics(study(population, num, random)), truth) for _ in range(given.studies)
        ]
        found[population.name, num] = {
            name: float(np.mean([one[name] for one in judged])) for name in judged[0]
        }
    columns = list(next(iter(found.values())))
    print(f"| population | encoders | {' | '.join(columns)} |")
    print(f"|---|---{'|---' * len(columns)}|")
    for (name, num), shares in found.items():
        print(f"| {name} | {num} | {' | '.join(f'{shares[column]:.3f}' for column in columns)} |")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks.metric_choice",
        description="Simulated studies with a known best metric: how often the report's sentence about it is false, before and after.",
        example="python -m benchmarks.metric_choice --studies 200 --encoders 7 12",
    )
    parser.add_argument("--studies", type=count, default=400, help="studies a population")
    parser.add_argument("--truth", type=count, default=4000, help="studies that measure the truth")
    parser.add_argument("--encoders", type=count, nargs="+", default=[7, 12], help="of a study")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
