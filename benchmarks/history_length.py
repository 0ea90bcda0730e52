"""What a training step costs against the length of histories: `python -m benchmarks.history_length`.

Rankers with and without the search unit, on requests of ten candidates whose histories all have one length. A step is
loading the batch, forward, backward and update. Two claims are checked: a step costs no worse than linearly in the
length, and with the search unit a step at 10,000 costs at most four times a step at 1,000.

Notable choices
- Every length takes its turn in every round, so that a machine that drifts or is shared changes all alike; growth is
  the median over rounds of ratios within a round.
- Behaviours are drawn from 100,000 items at random: a cache holds few of them, as with real catalogues.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from benchmarks.synthetic_tables import ALL_FEATURES, random_vectors, synthetic_tables
from moon_rec.allocator import keep_freed_memory
from moon_rec.command import Parser, run
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import MoonRecError
from moon_rec.figure_files import save_figure
from moon_rec.files import write_json
from moon_rec.progress import progress
from ranking.batch import Batch
from ranking.config import RankerConfig
from ranking.judging.figures import STYLE
from ranking.loader import Loader
from ranking.search_unit import search_options
from ranking.trained import threads
from ranking.training import prepare
from ranking.training.trainer import LocalTrainer

LENGTHS = (50, 200, 1000, 3000, 10_000)
CANDIDATES, BATCH_SIZE, BATCHES = 10, 512, 3
MOST_GROWTH = 4.0
SLACK = 1.1
RANKERS = {
    "DIN": {},
    "CUBE": {"content": "cube"},
    "DIN, content search": {"search": "content"},
    "CUBE, content search": {"content": "cube", "search": "content"},
    "CUBE, category search": {"content": "cube", "search": "category"},
}
Clock = Callable[[], float]


@dataclass(frozen=True)
class Growth:
    """How the cost of one ranker's step grows.

    Attributes:
        milliseconds: of a step, by length, median over rounds.
        loading: of these, those that the loader takes (the search among them).
        growth: by length, the step's cost in steps at the next shorter length, median over rounds.
        from_1000: a step at 10,000 in steps at 1,000; None where a length was left out.
    """

    milliseconds: dict[int, float]
    loading: dict[int, float]
    growth: dict[int, float]
    from_1000: float | None

    @property
    def is_linear(self) -> bool:
        """Whether between any two lengths a step grows by no more than they do, but for noise (`SLACK`).

        From where on long histories are read in slices that are made again in the backward pass
        (`ranking.behaviour.slices`), CUBE costs about a twentieth more a behaviour.
        """
        return all(
            self.milliseconds[long] / self.milliseconds[short] <= SLACK * long / short
            for short, long in itertools.combinations(self.milliseconds, 2)
        )


class Runner:
    """Training steps of one ranker on histories of one length."""

    def __init__(self, config: RankerConfig, length: int, items: EmbeddingTable, clock: Clock):
        self._clock = clock
        requests = BATCHES * -(-config.batch_size // CANDIDATES)
        tables = synthetic_tables(requests, CANDIDATES, (length, length), ALL_FEATURES)
        model, content, _ = prepare(tables, config, items if config.reads_vectors else None)
        options = search_options(tables, config, content)
        loader = Loader(tables, "train", config.batch_size, content, 0, 0.1, **options)
        self.loading = 0.0
        self._steps = LocalTrainer(model, config).steps(self._batches(loader))

    def _batches(self, loader: Loader) -> Iterator[Batch]:
        """Whole batches without end; the time they take is kept."""
        epoch = 0
        while True:
            batches = loader.epoch(epoch)
            for _ in range(BATCHES):
                started = self._clock()
                batch = next(batches)
                self.loading += self._clock() - started
                yield batch
            epoch += 1

    def seconds(self, least: float) -> tuple[float, float]:
        """Of a step, and of its loading: the mean of as many steps as `least` seconds hold, one at least."""
        self.loading, steps, started = 0.0, 0, self._clock()
        while steps == 0 or self._clock() - started < least:
            next(self._steps)
            steps += 1
        return (self._clock() - started) / steps, self.loading / steps


def measure(
    configs: dict[str, RankerConfig], lengths: list[int], rounds: int, least: float, clock: Clock
) -> dict[str, Growth]:
    """Time every ranker at every length."""
    vectors = random_vectors(ALL_FEATURES["item"])
    items = EmbeddingTable.from_arrays(vectors.ids, vectors.vectors, precision="float16")
    found = {}
    with threads(1), progress("steps", total=len(configs) * (rounds + 1)) as bar:
        for name, config in configs.items():
            runners = [Runner(config, length, items, clock) for length in lengths]
            taken = np.zeros((rounds, len(lengths), 2))
            for number in range(-1, rounds):  # the first round warms up
                for place, runner in enumerate(runners):
                    taken[number, place] = runner.seconds(least)
                bar.advance()
            found[name] = _growth(lengths, taken)
    return found


def _growth(lengths: list[int], taken: np.ndarray) -> Growth:
    """From seconds `(rounds, lengths, 2)`."""
    steps = taken[:, :, 0]
    ratios = np.median(steps[:, 1:] / steps[:, :-1], axis=0)
    whole = None
    if 1000 in lengths and 10_000 in lengths:
        places = lengths.index(1000), lengths.index(10_000)
        whole = float(np.median(steps[:, places[1]] / steps[:, places[0]]))
    middle = np.median(1000 * taken, axis=0)
    return Growth(
        dict(zip(lengths, middle[:, 0].tolist(), strict=True)),
        dict(zip(lengths, middle[:, 1].tolist(), strict=True)),
        dict(zip(lengths[1:], ratios.tolist(), strict=True)),
        whole,
    )


def draw(found: dict[str, Growth], path: Path) -> None:
    """Cost against length, both logarithmic; a dotted line is what linear would be."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.subplots()
        for number, (name, growth) in enumerate(found.items()):
            lengths = list(growth.milliseconds)
            dashed = "--" if "search" in name else "-"
            colour = f"C{number}"
            values = list(growth.milliseconds.values())
            axes.plot(lengths, values, dashed, color=colour, marker="o", markersize=3, label=name)
            if dashed == "-":
                line = [values[-1] * length / lengths[-1] for length in lengths]
                axes.plot(lengths, line, ":", color=colour, linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlabel="behaviours of a history")
        axes.set_xticks(lengths, [f"{length:,}" for length in lengths], minor=False)
        axes.set_ylabel("milliseconds of a training step")
        axes.set_title(
            f"A step of {BATCH_SIZE} impressions, {CANDIDATES} a request (dotted: linear)"
        )
        axes.legend(fontsize=8)
        save_figure(figure, path, dpi=130)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = parsed(_parser(), argv)
    keep_freed_memory()  # as `python -m ranking.train` does
    chosen = given.ranker or list(RANKERS)
    configs = {name: RankerConfig(batch_size=BATCH_SIZE, **RANKERS[name]) for name in chosen}
    clock = time.process_time if given.cpu_time else time.perf_counter
    found = measure(configs, given.lengths, given.rounds, given.seconds, clock)
    print(f"{'ms a step (loading)':24}" + "".join(f"{length:>17,}" for length in given.lengths))
    for name, growth in found.items():
        cells = [
            f"{growth.milliseconds[length]:9.1f} ({growth.loading[length]:5.1f})"
            for length in given.lengths
        ]
        print(f"{name:24}" + "".join(f"{cell:>17}" for cell in cells))
    problems = []
    for name, growth in found.items():
        searches = "search" in name
        if growth.from_1000 is not None:
            limit = f", at most {MOST_GROWTH:g}" if searches else ", linear: 10"
            print(
                f"{name}: a step at 10,000 costs {growth.from_1000:.2f} times one at 1,000{limit}"
            )
            if searches and growth.from_1000 > MOST_GROWTH:
                problems.append(f"{name} grows {growth.from_1000:.2f} times from 1,000 to 10,000")
        if not growth.is_linear:
            problems.append(f"{name} grows faster than its histories: {growth.growth}")
    if given.out:
        about = {
            **describe_machine(),
            "command": "python -m benchmarks.history_length " + " ".join(argv or sys.argv[1:]),
            "clock": clock.__name__,
            "candidates": CANDIDATES,
            "batch_size": BATCH_SIZE,
            "rankers": {name: asdict(growth) for name, growth in found.items()},
        }
        write_json(given.out, about)
        draw(found, given.out.with_suffix(".png"))
    if problems:
        raise MoonRecError("; ".join(problems))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks.history_length",
        description="Cost of a training step against the length of histories, with and without the search unit.",
        example="python -m benchmarks.history_length --out benchmarks/results/history-length.json",
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS), help="ascending")
    parser.add_argument("--ranker", action="append", choices=tuple(RANKERS), help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of steps a round and length")
    parser.add_argument(
        "--cpu-time", action="store_true", help="count CPU time: for a machine that is not quiet"
    )
    parser.add_argument("--out", type=Path, help="JSON to write, with a PNG beside it")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
