"""What the exchange rate's interval and verdict promise, where the truth is known: `python -m benchmarks.rates`.

For every kind of study (`benchmarks.rate_studies`) and 6, 12 and 24 encoders, studies with a real slope and studies without one:

- covers: share of 95 % intervals that hold the true slope, given that there is one (wanted: 92 to 98 %);
- bias: mean slope less the true one, in percent of it (wanted: under 5);
- zero left out: share of studies whose interval leaves out zero;
- identified: share with that verdict, which asks for more: of studies with a slope the power, of nulls the mistakes (wanted: at most 6 %);
- no slope: share of studies that are refused one (too few paths, a spread within the noise).

`old` is the estimator before: every encoder its own, all noise taken for unshared, no error in what users share, t with encoders - 2 degrees of freedom, and identified where
the interval leaves out zero and no one encoder decides the sign (its test for curves that flatten is left out here).
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy import special

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from benchmarks.rate_studies import SCENARIOS, SLOPE, Scenario, draw_study
from exchange_rate.estimation.points import Points
from exchange_rate.estimation.rate import fit_points
from exchange_rate.estimation.sandwich import t_quantile
from moon_rec.command import Parser, count, run
from moon_rec.console import table_console
from moon_rec.files import write_json
from moon_rec.progress import progress
from moon_rec.seeds import generator

ENCODERS = (6, 12, 24)
LEVEL = 0.95
NAN = float("nan")


def main(argv: list[str] | None = None) -> None:
    """Simulate, print and write."""
    options = parsed(_parser(), argv)
    cells = [
        (scenario, number, slope)
        for scenario in SCENARIOS
        for number in options.encoders
        for slope in (SLOPE, 0.0)
        if slope == 0
        or scenario.untrained != "unmarked"  # off the line, they change what the slope is
    ]
    command = " ".join(["python -m benchmarks.rates", *sys.argv[1:]])
    record: dict[str, Any] = {"command": command, "hardware": describe_machine(), "rows": []}
    with progress("simulate", len(cells)) as bar:
        for scenario, number, slope in cells:
            found = measured(scenario, number, slope, options.studies, options.judged, options.seed)
            record["rows"].append(found)
            if options.out is not None:  # cell by cell: what is stopped keeps what it has
                write_json(options.out, record)
            bar.advance(note=f"{scenario.name}, {number} encoders, slope {slope:g}")
    _print(record["rows"])
    if options.out is not None:
        print(f"written to {options.out}")


def measured(
    scenario: Scenario, number: int, slope: float, studies: int, judged: int, seed: int
) -> dict[str, Any]:
    """One cell of the table.

    Args:
        judged: studies with a slope whose verdict is asked; nulls are all judged.
    """
    random = generator(seed, "rates", scenario.name, number, str(slope))
    new, old = [], []
    for study in range(studies):
        points = draw_study(scenario, number, slope, random)
        new.append(_new(points, slope, slope == 0 or study < judged))
        old.append(_old(points, slope))
    return {
        "scenario": asdict(scenario),
        "encoders": number,
        "slope": slope,
        "studies": studies,
        "judged": studies if slope == 0 else min(judged, studies),
        "new": _shares(new, slope),
        "old": _shares(old, slope),
    }


def _shares(found: list[dict[str, float]], slope: float) -> dict[str, float]:
    """Means over studies; NaN marks what a study has none of."""
    columns = {name: np.array([one[name] for one in found]) for name in found[0]}
    with_slope = np.isfinite(columns["slope"])
    shares = {"no slope": float(1 - with_slope.mean())}
    shares["identified"] = float(np.nanmean(columns["identified"]))
    if not with_slope.any():
        return shares | {"covers": NAN, "bias": NAN, "zero left out": 0.0}
    shares["covers"] = float(columns["covers"][with_slope].mean())
    shares["zero left out"] = float(np.where(with_slope, columns["told"], 0).mean())
    bias = float(columns["slope"][with_slope].mean()) - slope
    return shares | {"bias": 100 * bias / slope if slope else NAN}


def _new(points: Points, slope: float, is_judged: bool) -> dict[str, float]:
    fit = fit_points(points, LEVEL, leave_out="until told" if is_judged else "none")
    return {
        "slope": fit.slope,
        "covers": float(fit.low <= slope <= fit.high),
        "told": float(not fit.low <= 0 <= fit.high),
        "identified": float(fit.verdict == "identified") if is_judged else NAN,
    }


def _old(points: Points, slope: float) -> dict[str, float]:
    """Fuller's slope with equal, unshared noise; his variance; Student's t."""
    x, y, number = points.metric, points.outcome, len(points.names)
    noise = points.metric_noise**2
    (sxx, sxy), (_, syy) = np.cov(x, y)
    signal = sxx - noise
    if (number - 1) * sxx < noise * special.chdtri(number - 1, 1 - LEVEL) or signal <= 0:
        return {"slope": NAN, "covers": NAN, "told": 0.0, "identified": 0.0}
    value = sxy / signal
    unexplained = max(sxx * syy - sxy**2, 0.0) + 2 * (value * noise) ** 2
    half = t_quantile(LEVEL, number - 2) * np.sqrt(unexplained / (number - 2)) / signal
    is_told = abs(value) > half
    keeps = is_told and all(
        np.sign(np.cov(np.delete(x, row), np.delete(y, row))[0, 1]) == np.sign(value)
        for row in range(number)
    )
    return {
        "slope": value,
        "covers": float(abs(value - slope) <= half),
        "told": float(is_told),
        "identified": float(keeps),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(
        title="95 % intervals and verdicts of the exchange rate, simulated; old in brackets"
    )
    for name in (
        "studies",
        "encoders",
        "covers",
        "bias, %",
        "power",
        "zero left out",
        "no slope",
        "null: covers",
        "null: identified",
    ):
        table.add_column(name, justify="left" if name == "studies" else "right")
    by_cell = {(row["scenario"]["name"], row["encoders"], row["slope"]): row for row in rows}
    for (name, number, slope), null in by_cell.items():
        if slope == 0:
            real = by_cell.get((name, number, SLOPE))
            cells = [_both(real, *one) for one in REAL] + [_both(null, *one) for one in NULL]
            table.add_row(name, str(number), *cells)
    table_console().print(table)


REAL = (("covers", 3), ("bias", 1), ("identified", 2), ("zero left out", 2), ("no slope", 2))
NULL = (("covers", 3), ("identified", 3))


def _both(row: dict[str, Any] | None, name: str, digits: int) -> str:
    if row is None:
        return "-"
    new, old = (
        "-" if np.isnan(value) else f"{value:.{digits}f}".replace("0.", ".", 1)
        for value in (row["new"][name], row["old"][name])
    )
    return f"{new} ({old})"


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.rates",
        description="Simulated studies with a known exchange rate: coverage, bias, power and mistakes of its interval and verdict, beside those of the estimator before.",
        example="python -m benchmarks.rates --out benchmarks/results/rates.json",
    )
    parser.add_argument("--studies", type=count, default=1000, help="studies a cell (default 1000)")
    parser.add_argument(
        "--judged",
        type=count,
        default=200,
        help="studies with a slope whose verdict is asked, for the power (default 200); nulls are all judged",
    )
    parser.add_argument(
        "--encoders",
        type=count,
        nargs="+",
        default=list(ENCODERS),
        help="encoders a study (default 6 12 24)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all draws (default 0)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON to write")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
