"""The power table: how many users and seeds it takes to see a difference; `python -m ranking.compare A [B]` prints it.

It plans with the very test that makes the verdict: `ranking.judging.noise` derives it. No torch.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import inf, isfinite, sqrt
from typing import Any

from ranking.judging.noise import CAUTION, LEVEL, POWER, Noise, noise_of_one_ranker

__all__ = ["Noise", "PowerTable", "noise_of_one_ranker", "power_table", "power_text", "seed_words"]
TARGET = 0.001
SEEDS = (2, 3, 5, 10)
"""A side; with one there is no verdict about rankers."""
USERS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)


@dataclass(frozen=True)
class PowerTable:
    """Smallest differences shown, users down and seeds across, and the users that `target` needs.

    Attributes:
        noise: what it is made from.
        users: rows; the last is infinitely many (unless one seed was trained). seeds: columns.
        differences: `differences[row][column]`; infinite where there is no verdict.
        target: the difference asked for.
        users_needed: for each of `seeds`, None where no number of users shows the target.
        users_needed_cautious: the same of `noise.cautious()`; equal to it where one seed was trained.
        seeds_needed: fewest seeds that can show the target at all; None where it was not measured.
    """

    noise: Noise
    users: tuple[float, ...]
    seeds: tuple[int, ...]
    differences: tuple[tuple[float, ...], ...]
    target: float
    users_needed: tuple[int | None, ...]
    users_needed_cautious: tuple[int | None, ...]
    seeds_needed: int | None
    power: float
    level: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; infinitely many users are null."""
        plain = asdict(self)
        plain["users"] = [users if isfinite(users) else None for users in self.users]
        return plain


def power_table(
    noise: Noise,
    target: float = TARGET,
    users: Sequence[int] = USERS,
    seeds: Sequence[int] = SEEDS,
    power: float = POWER,
    level: float = LEVEL,
) -> PowerTable:
    """The table of a noise; the users it was measured on and infinitely many are rows as well.

    Where one seed was trained there is one column and no row of infinitely many users: what more seeds
    and users would show is not known then.
    """
    if not isfinite(noise.seeds):
        seeds = (1,)
    rows = tuple(sorted({*users, noise.num_users}))
    rows = (*rows, inf) if isfinite(noise.seeds) else rows
    return PowerTable(
        noise=noise,
        users=rows,
        seeds=tuple(seeds),
        differences=tuple(
            tuple(noise.smallest_difference(row, count, power, level) for count in seeds)
            for row in rows
        ),
        target=target,
        users_needed=tuple(noise.users_needed(target, count, power, level) for count in seeds),
        users_needed_cautious=tuple(
            noise.cautious().users_needed(target, count, power, level) for count in seeds
        ),
        seeds_needed=noise.seeds_needed(target, power, level),
        power=power,
        level=level,
    )


def power_text(table: PowerTable) -> str:
    """The table in plain text, with what it assumes."""
    noise = table.noise
    head = f"{'users':>12} " + "".join(f"{count:>11}" for count in table.seeds) + "  seeds a side"
    lines = [
        f"smallest difference shown at {table.power:.0%} power, {1 - table.level:.0%} two-sided: "
        f"{noise.of}",
        head,
    ]
    for users, row in zip(table.users, table.differences, strict=True):
        mark = "  <- these" if users == noise.num_users else ""
        name = f"{users:,.0f}" if isfinite(users) else "any number"
        lines.append(f"{name:>12} " + "".join(f"{_amount(value):>11}" for value in row) + mark)
    lines.append(f"{f'for {table.target:+g}':>12} {_counts(table.users_needed)}  users needed")
    if isfinite(noise.seeds):
        lines.append(f"{'cautiously':>12} {_counts(table.users_needed_cautious)}  users needed")
    return "\n".join([*lines, *seed_words(table)])


def _shows_less(column: Sequence[float]) -> bool:
    """Whether a smallest difference rises somewhere by more than a twentieth, users down."""
    return any(after > 1.05 * before for before, after in pairwise(column))


def _amount(difference: float) -> str:
    return f"{difference:.5f}" if isfinite(difference) else "none"


def _counts(counts: Sequence[int | None]) -> str:
    return "".join(f"{'never' if count is None else f'{count:,}':>11}" for count in counts)


def seed_words(table: PowerTable) -> list[str]:
    """What the table cannot show by itself: the seed noise behind it, and what that makes impossible."""
    noise = table.noise
    lines = []
    if not isfinite(noise.seeds):
        lines.append(
            "one seed a side: seed noise is not measured and not in these numbers, which are of these two "
            "trained rankers; for a claim about a way of training score three or more seeds"
        )
    else:
        lines.append(
            f"between seeds: standard deviation {sqrt(noise.seeds):.5f} of a difference, from "
            f"{noise.num_seeds} seeds; at most {noise.seed_deviation_at(CAUTION):.5f} with "
            f"{CAUTION:.0%} confidence, reckoned with where it says cautiously"
        )
        if any(_shows_less(column) for column in zip(*table.differences, strict=True)):
            lines.append(
                "more users show less with so few seeds: the verdict then rests on the seeds alone, which "
                "know their own noise badly"
            )
        if any(count is None for count in table.users_needed):
            lines.append(
                f"never: seed noise hides {table.target:+g} from so few seeds, whatever the number of users; "
                f"with {table.seeds_needed} seeds enough users show it"
            )
    lines.append(
        "assumed: users and impressions a user as in these scores, seeds independent, normal"
    )
    return lines
