"""What one acts on, in sentences, from the figures of the description."""

from collections.abc import Sequence

from moon_rec.shop.description.results import (
    Check,
    Counts,
    Drift,
    PeriodNumbers,
    Provenance,
    Share,
)

MOST_NAMED = 3


def headline(
    origin: Provenance,
    counts: Counts,
    periods: Sequence[PeriodNumbers],
    drift: Drift,
    checks: Sequence[Check] | None,
) -> tuple[str, ...]:
    """Size, what is new in test, drift, and what was found; simulated shops say so first."""
    sentences = [_size(origin, counts), _test(periods[-1]), _drift(drift)]
    if origin.non_clicks == "sampled":
        sentences.append(
            "The non-clicks are sampled: click rates are those of the sampler, and an AUC tells positives from what it drew."
        )
    if checks is not None:
        sentences.append(_checks(checks))
    return tuple(sentences)


def percent(share: Share | float | None, digits: int = 1) -> str:
    """`12.3%`; `none` of nothing."""
    value = share.value if isinstance(share, Share) else share
    return "none" if value is None else f"{value:.{digits}%}"


def many(number: int, noun: str) -> str:
    """`1 column`, `2 columns`, `1.2 million impressions`."""
    shown = f"{number / 1e6:.1f} million" if number >= 1_000_000 else f"{number:,}"
    if number != 1:
        noun = (
            noun[:-1] + "ies"
            if noun.endswith("ry")
            else noun + ("es" if noun.endswith("ch") else "s")
        )
    return f"{shown} {noun}"


def _size(origin: Provenance, counts: Counts) -> str:
    simulated = "Simulated: " if origin.is_simulated else ""
    text = f"{simulated}{many(counts.impressions, 'impression')} of {many(counts.items, 'item')} to {many(counts.users, 'user')}"
    if origin.first and origin.last:
        span = origin.last - origin.first
        text += f" in {many(max(1, round(span.total_seconds() / 86_400)), 'day')}"
    return (
        f"{text}, {many(counts.searches, 'search')}."
        if counts.searches
        else f"{text}, no searches."
    )


def _test(test: PeriodNumbers) -> str:
    if not test.impressions:
        return "The test period has no impressions: nothing can be measured on it; move test_time into the data."
    return (
        f"{percent(test.cold_impressions)} of test impressions are of items never shown before the cut, and {percent(test.cold_users)} of test users were not seen before it; "
        f"{percent(test.with_history)} of test impressions have a history."
    )


def _drift(drift: Drift) -> str:
    told = [one for one in drift.columns if one.verdict != "cannot be told"]
    drifting = [one.column for one in told if one.verdict in ("large", "moderate")]
    if not told:
        return "Drift from train to test cannot be told: too few users in one of them."
    if not drifting:
        return f"None of {many(len(told), 'column')} drifts from train to test."
    others = len(drifting) - MOST_NAMED
    named = ", ".join(drifting[:MOST_NAMED]) + (f" and {others} more" if others > 0 else "")
    verb = "drifts" if len(drifting) == 1 else "drift"
    return f"{len(drifting)} of {many(len(told), 'column')} {verb} from train to test: {named}."


def _checks(checks: Sequence[Check]) -> str:
    broken = sum(len(check.found) for check in checks if check.is_rule)
    if broken:
        return f"The shop breaks {many(broken, 'rule')}: mend them before you train."
    warnings = sum(len(check.found) for check in checks)
    if warnings:
        return f"Every rule is kept; {many(warnings, 'warning')} of what may make figures better than they are."
    return "Every rule is kept, and nothing was found that makes figures better than they are."
