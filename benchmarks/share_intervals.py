"""How often 95 % intervals of a share hold the truth: `python -m benchmarks.share_intervals`.

Shares as this project prints them, of n units with a true mean p, drawn many times:
- `hits`: n independent searches that hit or miss;
- `expected`: half of the searches have their cut inside a tie and count a chance between 0 and 1 (Beta with mean p), the others hit or miss;
- `users`: searches that hit or miss, by users of 1 to many searches (geometric, 3 on average), whose own rates are Beta with mean p: the correlation within a
  user (`--likeness`) is .2, and then 0.

Methods: `ours` (moon_rec.shares: Wilson at the effective count), `Wilson` of the plain count, `Clopper-Pearson`, `Agresti-Coull`, and the percentile `bootstrap` over searches,
which was used before. For each: the share of draws whose interval holds p, its mean width, and the share of intervals without any width.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy import stats
from scipy.special import ndtri

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, run
from moon_rec.console import table_console
from moon_rec.files import write_json
from moon_rec.progress import progress
from moon_rec.seeds import generator
from moon_rec.shares import mean_share, wilson

COUNTS = (3, 10, 30, 100, 1000)
SHARES = (0.0, 0.01, 0.1, 0.5, 0.99)
SEARCHES_A_USER = 3
RESAMPLES = 400
Ends = tuple[np.ndarray, np.ndarray]


def main(argv: list[str] | None = None) -> None:
    """Simulate, print and write."""
    options = parsed(_parser(), argv)
    kinds = ["hits", "expected", f"users {options.likeness:g}", "users 0"]
    rows = []
    with progress("simulate", len(kinds) * len(COUNTS) * len(SHARES)) as bar:
        for kind in kinds:
            for count in COUNTS:
                for share in SHARES:
                    rows.append(measured(kind, count, share, options.trials, options.seed))
                    bar.advance(note=f"{kind}, n = {count}")
    _print(rows, options.trials)
    record = {"command": " ".join(["python -m benchmarks.share_intervals", *sys.argv[1:]])}
    write_json(options.out, {**record, "hardware": describe_machine(), "rows": rows})
    print(f"written to {options.out}")


def measured(kind: str, count: int, share: float, trials: int, seed: int) -> dict[str, Any]:
    """Coverage, mean width and share without width of each method."""
    random = generator(seed, "share intervals", kind, count, str(share))
    values, users = draw(kind, count, share, trials, random)
    found = {}
    for name, method in METHODS.items():
        low, high = method(values, users, random)
        holds = (low <= share + 1e-12) & (high >= share - 1e-12)
        width = high - low
        found[name] = {
            "coverage": float(holds.mean()),
            "width": float(width.mean()),
            "without width": float((width <= 1e-12).mean()),
        }
    return {"kind": kind, "n": count, "users": len(np.unique(users)), "p": share, "found": found}


def draw(
    kind: str, count: int, share: float, trials: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Values `(trials, count)` and the user of each search `(count,)`."""
    users = np.arange(count)
    rates: np.ndarray | float = share
    if kind.startswith("users"):
        sizes = random.geometric(1 / SEARCHES_A_USER, count)
        users = np.repeat(users, sizes)[:count]
        likeness = float(kind.split()[1])
        if likeness and 0 < share < 1:
            shape = (1 - likeness) / likeness
            of_users = random.beta(share * shape, (1 - share) * shape, (trials, count))
            rates = of_users[:, users]
    values = (random.random((trials, count)) < rates).astype(np.float64)
    if kind == "expected" and 0 < share < 1:
        chances = random.beta(4 * share, 4 * (1 - share), values.shape)
        values = np.where(random.random(values.shape) < 0.5, chances, values)
    return values, users


def _ours(values: np.ndarray, users: np.ndarray, random: np.random.Generator) -> Ends:
    found = [mean_share(row, groups=users) for row in values]
    return np.array([each.low for each in found]), np.array([each.high for each in found])


def _wilson(values: np.ndarray, users: np.ndarray, random: np.random.Generator) -> Ends:
    return wilson(values.mean(axis=1), values.shape[1])


def _clopper_pearson(values: np.ndarray, users: np.ndarray, random: np.random.Generator) -> Ends:
    right, count = values.sum(axis=1), values.shape[1]
    low = np.where(right > 0, stats.beta.ppf(0.025, np.maximum(right, 1e-9), count - right + 1), 0)
    wrong = np.maximum(count - right, 1e-9)
    high = np.where(right < count, stats.beta.ppf(0.975, right + 1, wrong), 1)
    return low, high


def _agresti_coull(values: np.ndarray, users: np.ndarray, random: np.random.Generator) -> Ends:
    z = float(ndtri(0.975))
    count = values.shape[1] + z**2
    centre = (values.sum(axis=1) + z**2 / 2) / count
    half = z * np.sqrt(centre * (1 - centre) / count)
    return centre - half, centre + half


def _bootstrap(values: np.ndarray, users: np.ndarray, random: np.random.Generator) -> Ends:
    """As it was used: searches drawn anew, whoever made them."""
    count = values.shape[1]
    if set(np.unique(values)) <= {0.0, 1.0}:  # resampled hits are binomial
        means = (
            random.binomial(count, values.mean(axis=1)[:, None], (len(values), RESAMPLES)) / count
        )
    else:
        times = random.multinomial(count, np.full(count, 1 / count), RESAMPLES)
        means = values @ times.T / count
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    return low, high


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], Ends]] = {
    "ours": _ours,
    "Wilson": _wilson,
    "Clopper-Pearson": _clopper_pearson,
    "Agresti-Coull": _agresti_coull,
    "bootstrap": _bootstrap,
}


def _print(rows: list[dict[str, Any]], trials: int) -> None:
    table = Table(title=f"coverage of 95 % intervals (mean width), {trials:,} draws a row")
    for name in ("units", "n", "p", *METHODS):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cells = [f"{one['coverage']:.3f} ({one['width']:.3f})" for one in row["found"].values()]
        table.add_row(row["kind"], f"{row['n']:,}", f"{row['p']:g}", *cells)
    table_console().print(table)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.share_intervals",
        description="Coverage of intervals of a share: hits, expected hits, and hits by users.",
        example="python -m benchmarks.share_intervals --trials 2000",
    )
    parser.add_argument("--trials", type=int, default=2000, help="draws of each row")
    parser.add_argument("--likeness", type=float, default=0.2, help="correlation within a user")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", default=Path("benchmarks/results/share_intervals.json")
    )
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
