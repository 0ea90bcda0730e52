"""What it takes to know the rate better, as the report has it."""

from exchange_rate.analysis.quantities import finite
from exchange_rate.analysis.results import NoisePart, Plan, PlanRow
from exchange_rate.estimation.planning import PlanOption, StudyPlan


def plan_of(plan: StudyPlan) -> Plan:
    """The study at hand, and the ways of going on."""
    following = plan.next_encoder
    return Plan(
        target=plan.target,
        text=plan.reason,
        binding=plan.binding,
        parts=tuple(NoisePart(name=name, share=share) for name, share in _known(plan.shares)),
        next_encoder="" if following is None else following.words,
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


def planned_of(
    content: object, ranker: str, steering: str, level: float, draws: object
) -> Plan | None:
    return None
