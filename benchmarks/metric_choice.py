"""How often a study names the right metric, a wrong one, or none, where the truth is known: `python -m benchmarks.metric_choice`.

Encoders are drawn with a quality; true AUC follows it by a line (or by a curve that flattens) with some scatter, and is measured with the noise of three seeds. Real metrics follow quality with
noise of their own, idle ones follow nothing. Encoders are independent, or three checkpoints of each training share most (.6) of every variable's variance, AUC's scatter
and the idle metrics' too.

A row counts studies. The answer is that of `judge_metrics`, from its own parts without the rest of the page (and checked against it on the first studies of each row): the metric with the
smallest left-out error, where that is smaller than decoys reach by luck, else none. Truly best is the metric with the smallest left-out error on average over all studies of the row.
"""

import argparse
import itertools
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from exchange_rate import judge_metrics
from exchange_rate.estimation.decoys import NUM_DRAWS, allowed_share, luck, visible_decoys
from exchange_rate.estimation.leave_out import left_out_errors, squared_errors
from exchange_rate.estimation.proxies import Sample, chances_of_best, qualities
from exchange_rate.estimation.ranking import is_larger
from exchange_rate.estimation.trust import NONE
from moon_rec.command import Parser, count, run
from moon_rec.files import write_json
from moon_rec.progress import track
from moon_rec.seeds import generator, seed_of

Floats = np.ndarray
SCATTER = 0.2
"""Standard deviation of true AUC around the line, in those of quality; `SEED_NOISE` of its measurement."""
SEED_NOISE = 0.1
OF_PATH = 0.6
"""Share of every variance that checkpoints of one training have in common."""
NUM_CHECKED = 2
LEVEL = 0.95


@dataclass(frozen=True)
class Population:
    """Candidate metrics to draw.

    Attributes:
        name: what is special about it.
        real: noise of each real metric, in standard deviations of quality.
        num_idle: metrics that follow nothing.
        alike: how much of their noise real metrics share.
        bend: AUC rises with 1 - exp(-bend * rank of quality) where above 0; the first real metric follows quality, the others AUC.
        num_best: real metrics that are equally good, from the first.
    """

    name: str
    real: tuple[float, ...]
    num_idle: int
    alike: float = 0.0
    bend: float = 0.0
    num_best: int = 1

    def draw(self, codes: Floats, each: int, random: np.random.Generator) -> tuple[Floats, Floats]:
        """Metrics `(encoders, metrics)`, the real ones first, and measured outcome `(encoders,)`."""

        def normal(*shape: int) -> Floats:
            own = random.normal(0, 1, (len(codes), *shape))
            if each == 1:
                return own
            of_path = random.normal(0, 1, (int(codes.max()) + 1, *shape))[codes]
            return OF_PATH**0.5 * of_path + (1 - OF_PATH) ** 0.5 * own

        quality = normal()
        follows = outcome = quality
        if self.bend:
            rise = -np.exp(-self.bend * (quality + 2) / 4)
            follows = outcome = (rise - rise.mean()) / rise.std()
        noise = (1 - self.alike) ** 0.5 * normal(len(self.real)) + self.alike**0.5 * normal(1)
        real = follows[:, None] + np.array(self.real) * noise
        if self.real:
            real[:, 0] = quality + self.real[0] * noise[:, 0]
        outcome = outcome + SCATTER * normal() + SEED_NOISE * random.normal(0, 1, len(codes))
        return np.hstack([real, normal(self.num_idle)]), outcome

    @property
    def quality(self) -> float:
        """The first real metric's true proxy quality, NaN where the truth is a curve."""
        if self.bend or not self.real:
            return float("nan")
        return float(1 / np.sqrt((1 + self.real[0] ** 2) * (1 + SCATTER**2)))


POPULATIONS = (
    Population("nothing is real, 46 decoys", (), 46, num_best=0),
    Population("one real among 46 decoys", (0.2,), 46),
    Population("one weak among 46 decoys", (0.6,), 46),
    Population("two alike among 10 decoys", (0.2, 0.2), 10, num_best=2),
    Population("five correlated, rising noise", (0.1, 0.3, 0.4, 0.5, 0.6), 5, alike=0.7),
    Population("best saturates, three follow AUC", (0.05, 0.3, 0.4, 0.5), 5, bend=3.0),
)


def answer(metrics: Floats, outcome: Floats, codes: Floats, seed: int) -> tuple[int | None, Floats]:
    """The named metric's column, None for none; and the squared left-out errors `(metrics,)`."""
    decoys = visible_decoys(metrics[:, 0], "metric 0", codes, seed)
    every = np.column_stack([metrics, *decoys.values()])
    errors = squared_errors(every, outcome[:, None], codes)
    best = int(np.argmin(errors.line[:, 0]))
    lines = errors.line[: metrics.shape[1], 0]
    if best >= metrics.shape[1] or int(codes.max()) + 1 < 4:
        return None, lines
    found = luck(every, outcome, codes, seed)
    return (
        best if found.p_value(float(errors.share[best, 0])) <= allowed_share(LEVEL) else None
    ), lines


def told_from(named: int, metrics: Floats, outcome: Floats, codes: Floats) -> list[int]:
    """The metrics that are shown to be worse than the named, as `rank_by_error` compares them."""
    found = [left_out_errors(metric, outcome, codes) for metric in metrics.T]
    share = (1 - LEVEL) / (metrics.shape[1] + 1)  # two decoys stand among them
    best = found[named]
    return [
        row
        for row, own in enumerate(found)
        if row != named
        and own is not None
        and best is not None
        and is_larger(own[0], best[0], share, codes)
    ]


def row(
    population: Population, num_encoders: int, each: int, num_studies: int, seed: int
) -> dict[str, float]:
    """The shares of one row."""
    codes = np.arange(num_encoders) // each
    random = generator(seed, "studies", population.name, num_encoders, each)
    named, lines, told, chances, covered = [], [], [], [], []
    for number in range(num_studies):
        metrics, outcome = population.draw(codes, each, random)
        own = seed_of(seed, "study", number)
        best, squares = answer(metrics, outcome, codes, own)
        if number < NUM_CHECKED:
            _check(metrics, outcome, codes, own, best)
        named.append(best)
        lines.append(squares)
        told.append([] if best is None else told_from(best, metrics, outcome, codes))
        if population.real and int(codes.max()) >= 3:
            noise = np.zeros(metrics.shape[1])
            sample = Sample(metrics, outcome, codes, SEED_NOISE**2, noise)
            chances.append(chances_of_best(sample, own, 200)[: population.num_best].sum())
            quality = qualities(
                Sample(metrics[:, :1], outcome, codes, SEED_NOISE**2, noise[:1]), LEVEL
            )
            covered.append(quality.low[0] <= population.quality <= quality.high[0])
    return _shares(population, named, np.array(lines), told) | {
        "P(best) of the truly best": float(np.mean(chances)) if chances else float("nan"),
        "interval of quality covers": float(np.mean(covered))
        if covered and not population.bend
        else float("nan"),
    }


def _shares(
    population: Population, named: list[int | None], lines: Floats, told: list[list[int]]
) -> dict[str, float]:
    truth = np.mean(lines, axis=0)
    if population.num_best:
        truth[: population.num_best] = truth[: population.num_best].mean()
    best = set(np.flatnonzero(truth <= truth.min()).tolist()) if population.real else set()
    false = [
        any(truth[one] <= truth[name] for one in own)
        for name, own in zip(named, told, strict=True)
        if name is not None
    ]
    alone = [
        len(own) == lines.shape[1] - 1
        for name, own in zip(named, told, strict=True)
        if name is not None
    ]
    return {
        "none": float(np.mean([name is None for name in named])),
        "truly best named": float(np.mean([name in best for name in named])),
        "another named": float(np.mean([name is not None and name not in best for name in named])),
        "told from all others": float(np.sum(alone)) / len(named),
        "told from one as good": float(np.sum(false)) / len(named),
    }


def _check(metrics: Floats, outcome: Floats, codes: Floats, seed: int, best: int | None) -> None:
    """`judge_metrics` says the same of the same study."""
    table = pl.DataFrame(
        {
            "encoder": [f"encoder {row}" for row in range(len(codes))],
            "path": [f"path {code}" for code in codes],
            "auc": outcome,
            **{f"metric {row}": values for row, values in enumerate(metrics.T)},
        }
    )
    said = judge_metrics(table, steering="metric 0", level=LEVEL, seed=seed).choice.answer
    assert said == (NONE if best is None else f"metric {best}"), (said, best)


def main(argv: list[str] | None = None) -> None:
    """Simulate and print the table; see `--help`."""
    given = parsed(_parser(), argv)
    start, rows = time.process_time(), []
    grid = [
        (population, each, num)
        for population, (each, num) in itertools.product(
            POPULATIONS, itertools.product(given.each, given.encoders)
        )
    ]
    for population, each, num in track(grid, "populations"):
        found = row(population, num, each, given.studies, given.seed)
        rows.append({"population": population.name, "encoders": num, "paths": num // each, **found})
    print(f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for one in rows:
        cells = [
            f"{value:.3f}" if isinstance(value, float) else str(value) for value in one.values()
        ]
        print(f"| {' | '.join(cells)} |".replace("nan", ""))
    if given.out is not None:
        write_json(
            given.out,
            {
                **describe_machine(),
                "studies": given.studies,
                "seed": given.seed,
                "decoy_draws": NUM_DRAWS,
                "cpu_seconds": round(time.process_time() - start),
                "rows": rows,
            },
        )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks.metric_choice",
        description="Simulated studies with a known best metric, or with none: how often the right one, a wrong one, or none is named.",
        example="python -m benchmarks.metric_choice --studies 100 --encoders 12",
    )
    parser.add_argument("--studies", type=count, default=1000, help="studies a row")
    parser.add_argument("--encoders", type=count, nargs="+", default=[6, 12, 24], help="of a study")
    parser.add_argument("--each", type=count, nargs="+", default=[1, 3], help="encoders a path")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the rows as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
