"""A study's figures under joint draws of users -> the `Draws` of one ranker, metric and outcome, which the estimator fits with.

The outcome is the mean over seeds of the ranker's AUC on an encoder, or of its AUC less that of the same ranker and seed on the same encoder's vectors dealt out anew among items. A difference
is taken under each draw, so that what both have by luck of the users drops out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.results import OutcomeKind
from exchange_rate.evidence.draw_file import DRAWS, numbers_of, read_draw_file
from exchange_rate.evidence.records import Study
from exchange_rate.names import CONTENT, PERMUTED, Role
from moon_rec.errors import StudyError
from moon_rec.progress import say
from moon_rec.tracking import Tracker

CLOSE = 1e-9
"""A figure on all users is the tracked one but for the order of a sum."""


@dataclass(frozen=True, eq=False)
class StudyDraws:
    """Figures of the cells of a study that count.

    Attributes:
        figures: (cell's key, name) -> its row below.
        values: `(figures, 1 + draws + 2 * splits)`: on all users, under each draw, on both halves of each split.
        num_units: `(figures,)` users (of metrics of items alone, items) behind each.
        num_draws: the number of draws.
        cells: of the study, as `Study.about` has them.
    """

    figures: dict[tuple[str, str], int]
    values: Floats
    num_units: np.ndarray
    num_draws: int
    cells: Sequence[dict[str, Any]]

    def of(
        self,
        ranker: str,
        metric: str,
        outcome: str = "auc",
        kind: OutcomeKind = "auc",
        encoders: Sequence[str] | None = None,
    ) -> Draws | None:
        """The draws of a metric and a ranker's outcome over encoders; None where fewer than one encoder has both.

        Args:
            ranker: its name in the plan.
            metric: of the encoders, such as `image_search_recall@10`.
            outcome: of the ranker: `auc`, `gauc`, each also with `_cold` or `_warm`.
            kind: the outcome itself, or less that on permuted vectors of the same encoder and seed; seeds that lack either are left out.
            encoders: these, in this order; None: all that have both.

        Raises:
            StudyError: one of `encoders` lacks either.
        """
        own = self._encoders
        rows: dict[str, tuple[int, list[tuple[int, int | None]]]] = {}
        for name in own if encoders is None else encoders:
            of_metric = self.figures.get((own.get(name) or "", metric))
            of_outcome = self._outcome(ranker, name, outcome, kind)
            if of_metric is not None and of_outcome:
                rows[name] = of_metric, of_outcome
            elif encoders is not None:
                lacks = f"metric {metric!r}" if of_metric is None else f"{outcome!r} of {ranker!r}"
                raise StudyError(
                    f"{DRAWS}: encoder {name!r} has no {lacks} under the draws of users; leave it out of the fit, or run the study again"
                )
        if not rows:
            return None
        metrics = np.stack([self.values[place] for place, _ in rows.values()], axis=1)
        outcomes = np.stack([self._mean(pairs) for _, pairs in rows.values()], axis=1)
        used = [place for _, pairs in rows.values() for pair in pairs for place in pair if place is not None]  # fmt: skip
        halves = [self._halves(one) for one in (metrics, outcomes)]
        kept = np.isfinite(halves).all(axis=(0, 2, 3))
        return Draws(
            tuple(rows),
            metrics[1 : 1 + self.num_draws],
            outcomes[1 : 1 + self.num_draws],
            halves[0][kept] if kept.any() else None,
            halves[1][kept] if kept.any() else None,
            int(self.num_units[used].min()),
        )

    def _outcome(
        self, ranker: str, encoder: str, outcome: str, kind: OutcomeKind
    ) -> list[tuple[int, int | None]]:
        """For each seed the rows of the figure, and of the one to be taken off it."""
        true = self._by_seed(ranker, encoder, CONTENT, outcome)
        if kind == "auc":
            return [(place, None) for place in true.values()]
        permuted = self._by_seed(ranker, encoder, PERMUTED, outcome)
        return [(place, permuted[seed]) for seed, place in true.items() if seed in permuted]

    def _by_seed(self, ranker: str, encoder: str, role: Role, outcome: str) -> dict[int, int]:
        return {
            seed: self.figures[key, outcome]
            for seed, key in self._rankers.get((ranker, encoder, role), {}).items()
            if (key, outcome) in self.figures
        }

    @cached_property
    def _rankers(self) -> dict[tuple[str, str, Role], dict[int, str]]:
        """Ranker, encoder and role -> seed -> the cell's key: looked up for every metric and encoder."""
        found: dict[tuple[str, str, Role], dict[int, str]] = {}
        for cell in self.cells:
            if cell["kind"] == "ranker":
                labels = cell["labels"]
                place = (labels["ranker"], labels["encoder"], labels["role"])
                found.setdefault(place, {})[labels["seed"]] = cell["key"]
        return found

    @cached_property
    def _encoders(self) -> dict[str, str]:
        """Encoder -> the key of the cell that measured it."""
        return {
            cell["labels"]["encoder"]: cell["key"]
            for cell in self.cells
            if cell["kind"] == "encoder"
        }

    def _mean(self, pairs: Iterable[tuple[int, int | None]]) -> Floats:
        """Over seeds, under every row of weights."""
        return np.mean(
            [
                self.values[place] - (0.0 if less is None else self.values[less])
                for place, less in pairs
            ],
            axis=0,
        )

    def _halves(self, values: Floats) -> Floats:
        return values[1 + self.num_draws :].reshape(-1, 2, values.shape[1])


def read_draws(tracker: Tracker, study: Study) -> StudyDraws | None:
    """The draws that a study's run holds; None, and said, where its version drew none.

    Raises:
        StudyError: an artifact that is gone, is not the one recorded, or does not hold what it should; a figure that is not the tracked one.
    """
    about = study.about.get("draws")
    if about is None:
        say(
            f"study {study.id} has no joint draws of users: what the noise of its encoders has in common is not known; python -m exchange_rate.study on the same shop and plan draws them"
        )
        return None
    what = f"{DRAWS} of study {study.id} in {tracker.uri}"
    table = read_draw_file(tracker.fetch(study.id, DRAWS), about, what)
    runs = {cell["key"]: study.runs[cell["run"]]["metrics"] for cell in study.about["cells"]}
    table = table.filter(pl.col("cell").is_in([*runs]))  # of the cells that count
    figures = {row: place for place, row in enumerate(table.select("cell", "name").iter_rows())}
    _compare(figures, table["value"].to_numpy(), runs, what)
    columns = [numbers_of(table, name) for name in ("value", "draws", "halves")]
    unsplit = int(np.isnan(columns[2]).any(axis=1).sum())
    if unsplit:
        say(
            f"{what}: {unsplit:,} of {table.height:,} figures have no value on some half of the users; where one of them is fitted, such splits are left out"
        )
    values, units = np.concatenate(columns, axis=1), table["num_units"].to_numpy()
    return StudyDraws(figures, values, units, about["num_draws"], study.about["cells"])


def _compare(
    figures: dict[tuple[str, str], int],
    values: np.ndarray,
    runs: dict[str, dict[str, float]],
    what: str,
) -> None:
    """Raise StudyError where a figure on all users is not the tracked one."""
    for (cell, name), place in figures.items():
        tracked = runs[cell].get(name)
        if tracked is not None and abs(tracked - values[place]) > CLOSE:
            raise StudyError(
                f"{what}, cell {cell}: {name} is {values[place]:.6g}, its run has {tracked:.6g}; put the study's own file back, or run the study again"
            )
