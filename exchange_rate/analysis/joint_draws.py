"""The same draws of users for all encoders, handed to each fit where every encoder of it has them."""

from collections.abc import Iterable

import polars as pl

from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.results import OutcomeKind
from exchange_rate.evidence.draws import StudyDraws
from moon_rec.errors import StudyError
from moon_rec.progress import say

OVER_PERMUTED = "auc_over_permuted"


def kind_of(outcome: str) -> OutcomeKind:
    """What an outcome is a difference from."""
    return "over permuted" if outcome == OVER_PERMUTED else "auc"


def draws_for(
    source: StudyDraws | None, ranker: str, metric: str, outcome: str, runs: pl.DataFrame
) -> Draws | None:
    """Draws for a fit over the encoders of `runs`; None, and said, where one of them has none, for then standard errors alone are known."""
    if source is None:
        return None
    kind, encoders = kind_of(outcome), runs["encoder"].unique(maintain_order=True).to_list()
    of = "auc" if outcome == OVER_PERMUTED else outcome
    try:
        return source.of(ranker, metric, of, kind, encoders)
    except StudyError as error:
        say(f"report: {outcome} of {ranker} is fitted without joint draws: {error}")
        return None


def draws_of(
    source: StudyDraws | None, ranker: str, metrics: Iterable[str], runs: pl.DataFrame
) -> dict[str, Draws]:
    """Metric -> its draws with those of AUC, where all encoders have them."""
    if source is None:
        return {}
    encoders = runs["encoder"].unique(maintain_order=True).to_list()
    found = {}
    for metric in metrics:
        try:
            own = source.of(ranker, metric, "auc", "auc", encoders)
        except StudyError:  # a metric that some encoder lacks is judged without them
            own = None
        if own is not None:
            found[metric] = own
    return found
