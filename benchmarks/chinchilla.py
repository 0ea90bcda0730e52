"""The additive law on Chinchilla's 240 published points, contaminated ones, and how often a logarithm or a flat line passes for a power.

    python -m benchmarks.chinchilla [--parts published contaminated apart robuster passing falling] [--runs 200]

`chinchilla.csv` beside this file has the 245 training runs of Figure 4 in Hoffmann et al. 2022 (arXiv 2203.15556), as Besiroglu et al. 2024 (arXiv 2404.10102)
read them off its vector graphics: parameters, FLOP, loss (github.com/epoch-research/analyzing-chinchilla and github.com/Besiroglu/data, svg_extracted_data.csv; neither
has a licence file that we have found; what stands here are measurements read off a figure, rounded to seven digits). Tokens are FLOP / (6 parameters). Like them we leave out the five runs of the largest
loss, which are also the five with the fewest tokens a parameter.

- `published`: our values and intervals beside those of the refit (their table 1).
- `contaminated`: beta where five points' losses are multiplied: five at random, and the five smallest and largest by loss, tokens, parameters and tokens a parameter.
- `apart`: how far those five lie from the law of the other 235 points, as published and with their losses a tenth lower.
- `robuster`: estimators that bound the influence of a point's inputs, or of its residual: their values on the published points, and what contamination does to them.
- `passing`: laws of a planted logarithm and of a flat line that are called identified or saturating, and of a planted power for comparison.
- `falling`: curves that rise and fall at their end, and are called not monotone.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.table import Table

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from exchange_rate.laws.analysis import ONE_INPUT
from exchange_rate.laws.bootstrap import Bootstrap
from exchange_rate.laws.forms import EXPONENTS, Floats
from exchange_rate.laws.results import STANDING
from exchange_rate.laws.robust import Problem, minimise
from exchange_rate.laws.scaling import fit_scaling_law
from moon_rec.command import Parser, count, run
from moon_rec.console import table_console
from moon_rec.files import write_json
from moon_rec.progress import track
from moon_rec.seeds import generator

POINTS = Path(__file__).with_name("chinchilla.csv")
REFIT = {"E": 1.8172, "A": 482.01, "alpha": 0.3478, "B": 2085.43, "beta": 0.3658}
"""Besiroglu et al. 2024, table 1."""
REFIT_ERRORS = {"E": 0.03, "A": 124.58, "alpha": 0.02, "B": 1293.23, "beta": 0.02}
NUM_LEFT_OUT = 5
FACTORS = (1.5, 0.7, 1.2, 0.9)
SIZES, NOISES = (6, 8, 12), (0.01, 0.03, 0.1)
"""Points of a simulated study; standard deviations of their noise, in ranges of y."""


def main(argv: list[str] | None = None) -> None:
    """Fit, simulate, print and write."""
    options = parsed(_parser(), argv)
    record: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.chinchilla", *sys.argv[1:]]),
        "hardware": describe_machine(),
    }
    for part in options.parts:
        rows = PARTS[part](options.runs)
        record[part] = rows
        _print(part, rows)
    write_json(options.out, record)
    print(f"written to {options.out}")


def chinchilla_points() -> tuple[Floats, Floats]:
    """Parameters and tokens `(240, 2)`, and losses `(240,)`."""
    frame = pl.read_csv(POINTS).sort("loss", descending=True).slice(NUM_LEFT_OUT)
    params = frame["params"].to_numpy().astype(np.float64)
    tokens = frame["flop"].to_numpy() / (6 * params)
    return np.column_stack([params, tokens]), frame["loss"].to_numpy()


def contaminated_rows(x: Floats, losses: Floats, runs: int) -> dict[str, list[int]]:
    """Name -> five rows to be contaminated."""
    params, tokens = x.T
    columns = {"loss": losses, "parameters": params, "tokens": tokens, "tokens a parameter": tokens / params}  # fmt: skip
    found = {}
    for name, column in columns.items():
        order = np.argsort(column, kind="stable")
        found[f"smallest {name}"] = order[:5].tolist()
        found[f"largest {name}"] = order[-5:].tolist()
    random = generator(0, "chinchilla", "rows")
    for number in range(runs):
        found[f"random {number}"] = random.choice(len(losses), 5, replace=False).tolist()
    return found


def beta_of(x: Floats, losses: Floats) -> float:
    """Beta as `fit_scaling_law` has it, without the draws behind its interval."""
    return Bootstrap("additive", x, losses, 0.95, EXPONENTS, True, 0).parameters()["beta"]


def published(runs: int) -> list[dict[str, Any]]:
    """Our values beside those of the refit."""
    law = fit_scaling_law(*chinchilla_points(), "additive")
    return [
        {
            "parameter": name,
            "refit": value,
            "its error": REFIT_ERRORS[name],
            "ours": law.parameters[name],
            "low": law.intervals[name][0],
            "high": law.intervals[name][1],
            "off by": law.parameters[name] / value - 1,
            "verdict": law.verdict,
        }
        for name, value in REFIT.items()
    ]


def contaminated(runs: int) -> list[dict[str, Any]]:
    """By factor: how far the worst and the mean of the random choices and each targeted one move beta."""
    x, losses = chinchilla_points()
    clean = beta_of(x, losses)
    chosen = contaminated_rows(x, losses, max(runs // 20, 2))
    found = []
    for factor in track(FACTORS, "factors", len(FACTORS)):
        moved = {}
        for name, rows in chosen.items():
            changed = losses.copy()
            changed[rows] *= factor
            moved[name] = beta_of(x, changed) - clean
        random = [abs(one) for name, one in moved.items() if name.startswith("random")]
        targeted = {name: one for name, one in moved.items() if not name.startswith("random")}
        found.append(
            {"factor": factor, "clean beta": clean, "random choices": len(random), "largest of random": max(random)}
            | targeted
        )  # fmt: skip
    return found


def apart(runs: int) -> list[dict[str, Any]]:
    """Distances of five points, in standard deviations, from the law of the others, by which five; positive is a loss above the law."""
    x, losses = chinchilla_points()
    found = []
    for name, rows in contaminated_rows(x, losses, 0).items():
        beta, away, unit = distances(x, losses, rows)
        found.append({"five": name, "beta of the others": beta, "published": np.round(away, 1).tolist(), "times .9": np.round(away + np.log(0.9) / unit, 1).tolist()})  # fmt: skip
    return found


def distances(x: Floats, losses: Floats, rows: list[int]) -> tuple[float, Floats, float]:
    """Beta of the other points, how far `rows` lie from their law `(rows,)` in standard deviations, and that deviation."""
    others = np.setdiff1d(np.arange(len(losses)), rows)
    fit = Bootstrap("additive", x[others], losses[others], 0.95, EXPONENTS, True, 0)
    away = np.log(losses[rows] / fit.value_at(x[rows])) / fit.residual
    return fit.parameters()["beta"], away, fit.residual


def robuster(runs: int) -> list[dict[str, Any]]:
    """By estimator: how far off the refit's B and beta it is on the published points, and what losses a tenth lower do to its beta."""
    x, losses = chinchilla_points()
    chosen = contaminated_rows(x, losses, 0)
    found = []
    for name, estimator in {"ours": beta_and_b, "leverage weighed": by_leverage, "bisquare": bisquare}.items():  # fmt: skip
        beta, amplitude = estimator(x, losses)
        row: dict[str, Any] = {"estimator": name, "beta off by": beta / REFIT["beta"] - 1, "B off by": amplitude / REFIT["B"] - 1}  # fmt: skip
        for five in ("smallest tokens", "smallest tokens a parameter"):
            changed = losses.copy()
            changed[chosen[five]] *= 0.9
            row[f"{five} times .9"] = estimator(x, changed)[0] - beta
        found.append(row)
    return found


def beta_and_b(x: Floats, losses: Floats) -> tuple[float, float]:
    """As `fit_scaling_law` has them."""
    found = Bootstrap("additive", x, losses, 0.95, EXPONENTS, True, 0).parameters()
    return found["beta"], found["B"]


def by_leverage(x: Floats, losses: Floats) -> tuple[float, float]:
    """Absolute errors, points weighed down from twice the median leverage on (Mallows 1975)."""
    problem, found = _problem(x, losses)
    weights = np.ones(len(losses))
    for _ in range(4):
        found = minimise(problem, found, weights[None], 5e-6)[0]
        law, slopes = problem.law(found)
        leverage = np.square(np.linalg.qr(slopes[0] / law[0][:, None])[0]).sum(axis=1)
        weights = np.minimum(1, 2 * np.median(leverage) / leverage)
    return _beta_and_b(problem, found)


def bisquare(x: Floats, losses: Floats) -> tuple[float, float]:
    """Tukey's bisquare at 4.685 deviations of the fit by absolute errors (an MM-estimate, Yohai 1987)."""
    problem, found = _problem(x, losses)
    found = minimise(problem, found, np.ones((1, len(losses))), 5e-6)[0]
    unit = 4.685 * 1.4826 * float(np.median(np.abs(problem.residuals(problem.law(found)[0])[0])))
    for _ in range(40):
        sizes = np.abs(problem.residuals(problem.law(found)[0])[0]) / unit
        weights = np.square(np.maximum(1 - sizes**2, 0)) + 1e-12
        found = minimise(problem, found, weights[None], 1.0)[0]
    return _beta_and_b(problem, found)


def _problem(x: Floats, losses: Floats) -> tuple[Problem, Floats]:
    """The additive law on the log scale, and the best of its starts."""
    problem = Problem("additive", x, losses, True, 1.0, EXPONENTS)
    return problem, problem.starts(12, 1)


def _beta_and_b(problem: Problem, found: Floats) -> tuple[float, float]:
    _, _, amplitude, _, beta = problem.in_units(found)[0]
    return float(beta), float(amplitude)


def passing(runs: int) -> list[dict[str, Any]]:
    """Share of simulated studies whose law stands, by form, truth, points and noise."""
    cases = [
        (form, truth, size, noise)
        for form in ONE_INPUT[:2]
        for truth in ("flat", "logarithm", "power")
        for size in SIZES
        for noise in NOISES
    ]
    return [_passing(*case, runs) for case in track(cases, "cells", len(cases))]


def _passing(form: str, truth: str, size: int, noise: float, runs: int) -> dict[str, Any]:
    x = np.geomspace(1e6, 1e9, size)
    share = np.linspace(0, 1, size)
    # each rises by 1, but for the flat line
    curve = {"flat": 0 * share, "logarithm": share, "power": (1 - 1e-3 ** (0.4 * share)) / (1 - 1e-3**0.4)}  # fmt: skip
    random = generator(0, "passing", form, truth, size, str(noise))
    verdicts = [
        fit_scaling_law(x, 2 + curve[truth] + random.normal(0, noise, size), form).verdict
        for _ in range(runs)
    ]
    stands = sum(one in STANDING for one in verdicts) / runs
    turned = verdicts.count("not monotone") / runs
    return {"form": form, "truth": truth, "points": size, "noise": noise, "runs": runs, "stands": stands, "not monotone": turned}  # fmt: skip


def falling(runs: int) -> list[dict[str, Any]]:
    """Share of curves with a fall at their end, by its size, that are called not monotone, and that pass for a law."""
    found = []
    for size in SIZES:
        x, share = np.geomspace(1e6, 1e9, size), np.linspace(0, 1, size)
        for drop in (0.1, 0.2, 0.4):
            curve = (1 - np.exp(-4 * share)) - drop * np.maximum(0, share - 0.6) / 0.4
            random = generator(0, "falling", size, str(drop))
            verdicts = [
                fit_scaling_law(x, 2 + curve + random.normal(0, 0.02, size)).verdict
                for _ in range(max(runs // 2, 1))
            ]
            count_of = {"not monotone": verdicts.count("not monotone"), "stands": sum(one in STANDING for one in verdicts)}  # fmt: skip
            found.append({"points": size, "drop": drop, "runs": len(verdicts)} | {name: one / len(verdicts) for name, one in count_of.items()})  # fmt: skip
    return found


PARTS = {
    "published": published,
    "contaminated": contaminated,
    "apart": apart,
    "robuster": robuster,
    "passing": passing,
    "falling": falling,
}


def _print(part: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=part)
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{one:.4g}" if isinstance(one, float) else str(one) for one in row.values()))  # fmt: skip
    table_console().print(table)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.chinchilla",
        description="The additive law on Chinchilla's published points, contaminated ones, and what passes for a power.",
        example="python -m benchmarks.chinchilla --parts published",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which to run")  # fmt: skip
    parser.add_argument("--runs", type=count, default=200, help="simulated studies a cell")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", default=Path("benchmarks/results/chinchilla.json")
    )
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
