"""What it takes to know the rate better, as the report has it."""

import polars as pl

from exchange_rate.analysis.joint_draws import draws_for
from exchange_rate.analysis.quantities import finite
from exchange_rate.analysis.results import NoisePart, Plan, PlanRow
from exchange_rate.analysis.words import words
from exchange_rate.estimation.planning import plan_study
from exchange_rate.estimation.plans import PlanOption, StudyPlan
from exchange_rate.evidence.draws import StudyDraws
from moon_rec.errors import StudyError


def planned_of(
    content: pl.DataFrame,
    ranker: str,
    steering: str,
    outcome: str,
    level: float,
    draws: StudyDraws | None,
) -> Plan | None:
    """The plan for the headline's rate on the steering metric; None where nothing can be planned, for the rate says why.

    Args:
        content: runs of the headline's ranker on vectors that count, with the `outcome` that the headline is of.
    """
    if not {steering, outcome} <= set(content.columns):
        return None
    measured = pl.all_horizontal(pl.col(steering, outcome).is_finite().fill_null(False))
    runs = content.filter(measured)
    own = draws_for(draws, ranker, steering, outcome, runs) if len(runs) else None
    try:
        return plan_of(plan_study(runs, steering, outcome, level=level, draws=own), steering)
    except StudyError:
        return None


def plan_of(plan: StudyPlan, steering: str) -> Plan:
    """The study at hand, and the ways of going on."""
    following = plan.next_encoder
    said = "" if following is None else following.words.replace(steering, words(steering))
    return Plan(
        target=plan.target,
        text=plan.reason.replace(steering, words(steering)),
        binding=plan.binding,
        parts=tuple(NoisePart(name=name, share=share) for name, share in _known(plan.shares)),
        next_encoder=said,
        rows=tuple(_row(one) for one in (plan.now, *plan.options)),
    )


def _known(shares: dict[str, float]) -> list[tuple[str, float]]:
    found = [(name, finite(share)) for name, share in shares.items()]
    return [(name, share) for name, share in found if share is not None]


def _row(one: PlanOption) -> PlanRow:
    return PlanRow(
        change=one.change,
        encoders=one.size.encoders,
        paths=one.size.paths,
        seeds=one.size.seeds,
        searches=one.size.searches,
        users=one.size.users,
        relative_half_width=finite(one.relative_half_width),
        is_enough=one.is_enough,
    )
