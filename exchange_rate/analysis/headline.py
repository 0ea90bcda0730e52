"""The answer in words: a number is said only where the points identify it, else the words say why there is none and what would give one."""

from collections.abc import Iterator

from exchange_rate.analysis.decision import Decided, decide, direction
from exchange_rate.analysis.rankers import PAIRS
from exchange_rate.analysis.results import Rate, Results, Sentence
from exchange_rate.analysis.words import (
    counted,
    listed,
    points,
    sentence,
    sized,
    with_interval,
    words,
)

TEN = 0.1
"""Ten points of a metric that is a share."""


def headline(found: Results) -> tuple[Sentence, ...]:
    """Sentences, the answer first."""
    return tuple(_sentences(found, decide(found)))


def _sentences(found: Results, decided: Decided) -> Iterator[Sentence]:
    yield _rate(found)
    if (text := _checks(found)) is not None:
        yield text
    if found.missing.text:
        yield Sentence(kind="missing", tone="caution", text=found.missing.text)
    if decided.gain != "missing":
        yield _gain(found, decided)
        yield _control(found, decided)
    if found.candidates:
        tone = "caution" if found.choice.metric is None else "plain"
        yield Sentence(kind="metric", tone=tone, text=sentence(found.choice.reason))
    if len(found.rankers) > 1:
        yield _rankers(found)
    if found.plan is not None and found.plan.parts:
        yield Sentence(kind="plan", tone="plain", text=sentence(found.plan.text))


def scope(found: Results) -> str:
    """What all numbers of the report were measured on, to stand beside them wherever they are printed."""
    about, counts = found.about, found.counts
    shop, level = about.shop, f"intervals at {100 * about.level:.0f} %."
    if shop is None:
        return _scope_of_points(found, level)
    kind = "Simulated shop" if about.is_simulated else "Shop"
    sampled = f" Beside every AUC: {said}." if (said := shop.non_clicks) else ""
    seeds = "one seed each" if about.num_seeds == 1 else f"{about.num_seeds} seeds each"
    return (
        f"{kind} {shop.name} ({shop.source}), {about.period} period, label {about.label}: {counts.encoders} encoders, {seeds}, "
        f"{counts.ranker_runs} trained rankers; {level}{sampled}"
    )


def _scope_of_points(found: Results, level: str) -> str:
    about, counts = found.about, found.counts
    kind = "Simulated points" if about.is_simulated else "Points"
    most = "one run each" if about.num_seeds == 1 else f"up to {about.num_seeds} runs each"
    return (
        f"{kind} of {about.name}, measured elsewhere: {counts.encoders} encoders on {counts.paths} training paths, {most} of "
        f"{found.ranker.content}, {counts.ranker_runs} in all; {level}"
    )


def _rate(found: Results) -> Sentence:
    rate, metric = found.rate, words(found.about.steering_metric)
    if rate.slope.value is None:
        text = f"No exchange rate can be given for {metric}: {rate.reason}.{_to_get_one(found)}"
        return Sentence(kind="rate", tone="caution", text=text)
    who = f"Among {counted(rate.num_encoders, 'trained encoder')} on {counted(rate.num_paths, 'path')}"
    of = f"{found.ranker.content}'s {rate.name}"
    number = sized(rate.slope, of, TEN)
    direct = f" {sentence(rate.direct_effect)}" if rate.direct_effect else ""
    if rate.verdict == "identified":
        text = f"{who}, ten more points of {metric} go with {number}; {_next(rate)}.{direct}"
        is_good = (rate.slope.value or 0) > 0 and not direct
        return Sentence(kind="rate", tone="good" if is_good else "caution", text=text)
    if rate.verdict in _CURVES:
        text = f"{who}, ten more points of {metric} went with {number} on average, but the curve {_CURVES[rate.verdict]}: {_next(rate)}.{direct}"
        return Sentence(kind="rate", tone="caution", text=text)
    interval = f"{points(TEN * (rate.slope.low or 0))} to {points(TEN * (rate.slope.high or 0))} points of {of} for ten points"
    text = (
        f"No exchange rate of {metric} is {'identified' if rate.verdict == 'not identified' else 'to be relied on'} among "
        f"{counted(rate.num_encoders, 'trained encoder')} on {counted(rate.num_paths, 'path')} ({interval}): {rate.reason}.{_to_get_one(found)}"
    )
    return Sentence(kind="rate", tone="caution", text=text)


_CURVES = {"saturating": "flattens", "convex": "steepens"}


def _next(rate: Rate) -> str:
    """What the next gain of the metric buys, or that it is not known."""
    if rate.shape is None or rate.shape.next_point.low is None:
        return "what the next points buy is not known"
    shape, number = rate.shape, with_interval(rate.shape.next_point, TEN)
    at = "" if shape.best_metric is None else f" at {shape.best_metric:.3f}"
    best = f"from the best encoder ({shape.best_encoder}{at})"
    if direction(shape.next_point) == "none":
        return f"what the next ten points {best} buy is not told from nothing: {number}"
    return f"the next ten points {best} buy {number}"


def _to_get_one(found: Results) -> str:
    """What to train for a rate; empty where nothing can be said."""
    if found.plan is not None and found.plan.next_encoder:
        return f" {sentence(found.plan.next_encoder)}"
    counts = found.counts
    if found.rate.num_encoders < MIN_ENCODERS or found.rate.num_paths < MIN_PATHS:
        return (
            f" To get one, train encoders that differ in the metric, each a training of its own: {MIN_PATHS} trainings or more (there are {counts.trained_paths} among "
            f"trained encoders)."
        )
    return ""


MIN_ENCODERS, MIN_PATHS = 4, 4
"""Fewer have no rate at all."""


def _checks(found: Results) -> Sentence | None:
    """What would change the conclusion; None where there is no rate."""
    rate = found.rate
    if rate.slope.value is None or rate.influence is None:
        return None
    parts, doubts = [], []
    influence = rate.influence
    if influence.low is not None and influence.high is not None:
        span = f"{points(TEN * influence.low)} to {points(TEN * influence.high)}"
        changing = [
            f"{one.what} {one.name!r} ({one.verdict})" for one in influence.left_out if one.changes
        ]
        if changing:
            doubts.append(f"another verdict without {listed(changing)}")
        held = "" if changing else " and keeps its verdict"
        parts.append(f"without any one encoder or path it is {span}{held}")
    if rate.paths is not None and rate.paths.disagree:
        within, between = (
            with_interval(one, TEN) for one in (rate.paths.within, rate.paths.between)
        )
        doubts.append(
            f"within a training it is {within}, between trainings {between}: they disagree"
        )
    if rate.split_users is not None and not rate.split_users.agrees:
        doubts.append(
            f"on split halves of the users it is {points(TEN * rate.split_users.value)}, outside the interval"
        )
    if rate.all_encoders is not None and rate.all_encoders.value is not None:
        names = counted(len(rate.untrained), "untrained encoder")
        parts.append(f"with {names} it would be {with_interval(rate.all_encoders, TEN)}")
    if not parts and not doubts:
        return None
    text = f"What would change it: {'; '.join([*doubts, *parts])}."
    return Sentence(kind="checks", tone="caution" if doubts else "plain", text=text)


def _gain(found: Results, decided: Decided) -> Sentence:
    ranker, comparison = found.ranker, found.comparison(*PAIRS[0])
    assert comparison is not None and comparison.gain.all is not None
    how = "chosen on validation" if found.is_chosen_on_validation else "the plan's last"
    who = f"{comparison.name} on the encoder {comparison.encoder!r} ({how})"
    number, other = with_interval(comparison.gain.all), comparison.against
    text = {
        "gain": f"{who} gains {number} points of AUC over {other}",
        "loss": f"{who} loses against {other}: {number} points of AUC",
        "none": f"No gain is shown: {who} stands {number} points of AUC from {other}, an interval that holds zero",
        "no interval": f"{who} stands {number} points of AUC from {other}, without an interval",
    }[decided.gain]
    if comparison.gain.cold is not None:
        number = with_interval(comparison.gain.cold)
        text += {
            "gain": f"; on cold items it gains {number}",
            "loss": f"; on cold items it loses: {number}",
            "none": f"; on cold items no gain is shown: {number}",
            "no interval": f"; on cold items {number}, without an interval",
        }[decided.cold_gain]
    text += "."
    if decided.is_one_seed:
        text += " One training a side: the interval holds the luck of users alone, so these two trainings are compared, not two rankers."
    if ranker.differences:
        text += f" The two rankers differ in more than content: {', '.join(ranker.differences)}."
    is_won = {decided.gain, decided.cold_gain} <= {"gain", "missing"}
    is_good = is_won and not decided.is_one_seed and not ranker.differences
    return Sentence(kind="gain", tone="good" if is_good else "caution", text=text)


def _control(found: Results, decided: Decided) -> Sentence:
    permuted, over = (found.comparison(*pair) for pair in PAIRS[1:])
    if decided.content == "no control" or permuted is None or over is None:
        text = "The study has no permuted control: how much of a gain is content is not known."
        return Sentence(kind="control", tone="plain", text=text)
    assert permuted.gain.all is not None and over.gain.all is not None
    text = f"The same vectors permuted among items stand {with_interval(permuted.gain.all)} points from {permuted.against}"
    if permuted.gain.cold is not None:
        text += f" (on cold items {with_interval(permuted.gain.cold)})"
    text += f", the true ones {with_interval(over.gain.all)} points from the permuted: "
    text += {
        "all": "permuted vectors show no gain and the true ones beat them, so the gain is content.",
        "part": "that much of the gain is content, and the rest any vectors give.",
        "not shown": "true and permuted vectors are not told apart, so the gain is not shown to be content.",
        "none": "permuted vectors are better than the true ones, so the gain is not content.",
        "no gain": f"as no gain over {permuted.against} is shown, none is said to be content.",
        "one seed": "with one training a side nothing is said of what is content.",
    }[decided.content]
    tone = "good" if decided.content in ("all", "part") else "plain"
    return Sentence(kind="control", tone=tone, text=text)


def _rankers(found: Results) -> Sentence:
    """The rates of the other rankers."""
    parts = [
        f"{one.content}: {with_interval(one.rate, TEN)} ({one.verdict})"
        if one.rate.value is not None
        else f"{one.content}: no rate"
        for one in found.rankers[1:]
    ]
    text = f"The same ten points on other rankers, in points of AUC: {'; '.join(parts)}."
    return Sentence(kind="ranker", tone="plain", text=text)
