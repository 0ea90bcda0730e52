"""The picture of the exchange rate, and what would change it."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exchange_rate.analysis.rates import OVER_PERMUTED
from exchange_rate.analysis.results import Encoder, Number, Rate, Results
from exchange_rate.analysis.words import words
from exchange_rate.report.drawing import error_bars, rows_down, wrapped
from moon_rec.palette import BLUE, FAINT, GREEN, GREY, INK, MUTED, ORANGE, VERMILION

MOST_NAMED = 14
"""Encoders that are named in the picture: all of them, or those that matter; the table has all."""
MOST_WITH_BARS = 40
BESIDE = 0.05
TEN = 0.1


def exchange_rate(found: Results) -> Figure | None:
    """The outcome against the steering metric: encoders with intervals, trained and untrained apart, those of one training joined; the fit with its band, and what the next points buy."""
    shown = [
        (one, outcome)
        for one in found.encoders
        if (outcome := outcome_of(one, found)) is not None and one.metric.value is not None
    ]
    if not shown:
        return None
    figure = Figure(figsize=(8.6, 4.9), layout="constrained")
    axes, key = figure.subplots(1, 2, width_ratios=(3.1, 1))
    _fit(axes, found.rate)
    _paths(axes, shown)
    named = _named([one for one, _ in shown], found.rate)
    has_bars = len(shown) <= MOST_WITH_BARS
    places = {one.name: place for place, one in enumerate(found.encoders)}
    for one, outcome in shown:
        _mark(axes, one, outcome, named.get(one.name), has_bars, f"encoder-{places[one.name]}")
    place = _key(key, [one for one, _ in shown if one.name in named], named, len(shown))
    _references(axes, key, found, place)
    _keep_to_points(axes, shown, found)
    axes.set_xlabel(words(found.about.steering_metric))
    axes.set_ylabel(outcome_label(found))
    axes.set_title(_title(found.rate))
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure


def outcome_of(encoder: Encoder, found: Results) -> Number | None:
    """What the headline's rate is of, of one encoder; None where it has none."""
    number = encoder.over_permuted if found.rate.outcome == OVER_PERMUTED else encoder.auc
    return None if number is None or number.value is None else number


def outcome_label(found: Results) -> str:
    """What stands at the axis of the outcome."""
    over = " over permuted vectors" if found.rate.outcome == OVER_PERMUTED else ""
    label = f", label {found.about.label}" if found.about.label else ""
    return wrapped(f"AUC of {found.ranker.content}{over}{label}", 44)


def _named(encoders: Sequence[Encoder], rate: Rate) -> dict[str, int]:
    """Name -> its number in the picture; few enough to be told apart."""
    if len(encoders) <= MOST_NAMED:
        return {one.name: number for number, one in enumerate(encoders, 1)}
    decides = {one.name for one in rate.influence.left_out if one.changes} if rate.influence else ()
    matter = [one.name for one in encoders if one.marks or one.name in decides]
    return {name: number for number, name in enumerate(matter[:MOST_NAMED], 1)}


def _fit(axes: Axes, rate: Rate) -> None:
    line = rate.line
    if line is None:
        return
    style = "-" if rate.verdict == "identified" else "--"
    axes.fill_between(line.x, line.low, line.high, color=BLUE, alpha=0.1, linewidth=0)
    axes.plot(line.x, line.value, color=BLUE, linewidth=1.6, linestyle=style, alpha=0.8)
    shape = rate.shape
    if shape is None or shape.best_metric is None or shape.next_point.low is None:
        return
    best = shape.best_metric
    start = min(zip(line.x, line.value, strict=True), key=lambda point: abs(point[0] - best))
    step = 0.12 * (line.x[-1] - line.x[0])
    ends = [getattr(shape.next_point, end) * step for end in ("low", "high", "value")]
    beyond = [start[0], start[0] + step]
    axes.fill_between(beyond, [start[1], start[1] + ends[0]], [start[1], start[1] + ends[1]], color=GREEN, alpha=0.22, linewidth=0)  # fmt: skip
    axes.plot(beyond, [start[1], start[1] + ends[2]], color=GREEN, linewidth=2)


def _paths(axes: Axes, shown: Sequence[tuple[Encoder, Number]]) -> None:
    """Encoders of one training, joined in the plan's order."""
    paths: dict[str, list[tuple[float, float]]] = {}
    for one, outcome in shown:
        paths.setdefault(one.path, []).append((one.metric.value or 0.0, outcome.value or 0.0))
    alpha = 0.55 if len(paths) <= MOST_NAMED else 0.3
    for points in paths.values():
        if len(points) > 1:
            axes.plot(*zip(*points, strict=True), color=MUTED, linewidth=0.9, alpha=alpha)


def _mark(
    axes: Axes, one: Encoder, outcome: Number, number: int | None, has_bars: bool, gid: str
) -> None:
    x, y = one.metric.value or 0.0, outcome.value or 0.0
    colour, shape = (BLUE, "o") if one.is_trained else (GREY, "s")
    edge = VERMILION if one.marks else "white"
    if has_bars or number is not None:
        across, up = error_bars(one.metric), error_bars(outcome)
        axes.errorbar(
            x, y, yerr=up, xerr=across, fmt="none", ecolor=MUTED, elinewidth=0.9, capsize=2
        )
    axes.plot(
        x,
        y,
        shape,
        color=colour,
        markersize=5 if number is None else 13,
        markeredgecolor=edge,
        markeredgewidth=2 if one.marks else 0.8,
        gid=gid,
        alpha=0.75 if number is None else 1,
        zorder=3 if number is None else 4,
    )
    if number is not None:
        axes.annotate(str(number), (x, y), color="white", ha="center", va="center", fontsize=8, zorder=5)  # fmt: skip


def _key(axes: Axes, named: Sequence[Encoder], numbers: dict[str, int], num_shown: int) -> float:
    """Names beside the picture; gives the row that is free below them."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    rows = max(len(named) + 4.5, 10)
    axes.set_ylim(rows, 0.4)
    for one in named:
        row = numbers[one.name]
        colour, shape = (BLUE, "o") if one.is_trained else (GREY, "s")
        edge = VERMILION if one.marks else "white"
        axes.plot(BESIDE, row, shape, color=colour, markersize=13, markeredgecolor=edge, markeredgewidth=2 if one.marks else 0.8, clip_on=False)  # fmt: skip
        axes.annotate(str(row), (BESIDE, row), color="white", ha="center", va="center", fontsize=8)
        axes.annotate(
            wrapped(one.name), (0.16, row), va="bottom" if one.marks else "center", fontsize=9
        )
        if one.marks:
            axes.annotate(_short_marks(one), (0.16, row), va="top", fontsize=7.5, color=MUTED)
    row = len(named) + 1.0
    if num_shown > len(named):
        axes.plot(BESIDE, row, "o", color=BLUE, markersize=5, clip_on=False)
        axes.annotate(f"{num_shown - len(named)} more: see table", (0.16, row), va="center", fontsize=9)  # fmt: skip
        row += 0.9
    return row + 0.2


def _short_marks(one: Encoder) -> str:
    return ", ".join(mark.replace("best by the metric", "best metric").replace("best by ", "best ") for mark in one.marks)  # fmt: skip


def _references(axes: Axes, key: Axes, found: Results, place: float) -> None:
    """What the marks mean, from row `place` of the key on: squares, rings, the next points, and the AUC of baseline and control as lines across."""
    if not all(one.is_trained for one in found.encoders):
        key.plot(BESIDE, place, "s", color=GREY, markersize=7, clip_on=False)
        key.annotate("square: not trained", (0.16, place), va="center", fontsize=8.5)
        place += 0.8
    if any(one.marks for one in found.encoders):
        key.plot(BESIDE, place, "o", color="white", markersize=8, markeredgecolor=VERMILION, markeredgewidth=2, clip_on=False)  # fmt: skip
        key.annotate("ring: chosen, or best", (0.16, place), va="center", fontsize=8.5)
        place += 0.8
    if found.rate.shape is not None and found.rate.shape.next_point.low is not None:
        key.plot([0, 0.1], [place, place], color=GREEN, linewidth=2)
        key.annotate("the next points", (0.16, place), va="center", fontsize=8.5)
        place += 0.8
    for value, label, colour, style in _lines_across(found):
        axes.axhline(value, color=colour, linewidth=1.4, linestyle=style)
        key.plot([0, 0.1], [place, place], color=colour, linewidth=1.6, linestyle=style)
        key.annotate(wrapped(label), (0.16, place), va="center", fontsize=8.5)
        place += 0.8


def _lines_across(found: Results) -> list[tuple[float, str, str, str]]:
    if found.rate.outcome == OVER_PERMUTED:
        return [(0.0, "permuted vectors", ORANGE, ":")]
    content, permuted = (
        found.comparison("content", "baseline"),
        found.comparison("permuted", "baseline"),
    )
    lines = []
    if content is not None and content.auc_against.all is not None:
        lines.append((content.auc_against.all.value, content.against, GREY, "--"))
    if permuted is not None and permuted.auc.all is not None:
        lines.append((permuted.auc.all.value, "permuted vectors", ORANGE, ":"))
    return lines


def _keep_to_points(axes: Axes, shown: Sequence[tuple[Encoder, Number]], found: Results) -> None:
    """Let the points and the reference lines, not a wide band, set the vertical range."""
    values = [getattr(outcome, end) for _, outcome in shown for end in ("value", "low", "high")]
    values += [value for value, *_ in _lines_across(found)]
    known = [value for value in values if value is not None]
    margin = 0.12 * (max(known) - min(known)) + 1e-6
    axes.set_ylim(min(known) - margin, max(known) + margin)


def _title(rate: Rate) -> str:
    slope = rate.slope
    if slope.value is None or slope.low is None or slope.high is None:
        return f"No exchange rate: {rate.verdict}"
    ends = f"[{100 * TEN * slope.low:+.2f}, {100 * TEN * slope.high:+.2f}]"
    if rate.verdict in ("identified", "saturating", "convex"):
        return f"{100 * TEN * slope.value:+.2f} {ends} points of AUC for ten points: {rate.verdict}"
    return f"{ends} points of AUC for ten points: {rate.verdict}"


def checks(found: Results) -> Figure | None:
    """The headline's rate beside everything that would change it, in points of AUC for ten points of the metric."""
    rate = found.rate
    rows = [(label, number) for label, number, _ in check_rows(rate) if number.value is not None]
    if rate.slope.value is None or len(rows) < 2:
        return None
    figure = Figure(figsize=(8.6, 1.5 + 0.34 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (_, number) in enumerate(rows):
        value = 100 * TEN * (number.value or 0.0)
        colour = BLUE if place == 0 else INK
        axes.errorbar(value, place, xerr=100 * TEN * error_bars(number), fmt="o", color=colour, elinewidth=1.8, capsize=3)  # fmt: skip
    axes.axvline(0, color=MUTED, linewidth=0.9)
    if rate.slope.low is not None and rate.slope.high is not None:
        axes.axvspan(100 * TEN * rate.slope.low, 100 * TEN * rate.slope.high, color=BLUE, alpha=0.08, linewidth=0)  # fmt: skip
    rows_down(axes, [label for label, _ in rows])
    axes.set_xlabel(f"points of AUC for ten points of {words(found.about.steering_metric)}")
    axes.set_title("What would change the conclusion")
    return figure


def check_rows(rate: Rate) -> list[tuple[str, Number, str]]:
    """What the headline stands beside: label, number, and what it says."""
    rows = [("trained encoders (the headline)", rate.slope, f"{rate.verdict}: {rate.reason}")]
    if rate.shape is not None:
        rows.append(
            ("the next points, at the best encoder", rate.shape.next_point, rate.shape.text)
        )
    if rate.all_encoders is not None:
        text = f"with {', '.join(rate.untrained[:3])}{' and more' if len(rate.untrained) > 3 else ''}, which nobody trained"
        rows.append(("untrained encoders too", rate.all_encoders, text))
    if rate.paths is not None:
        rows.append(("within a training", rate.paths.within, rate.paths.text))
        rows.append(("between trainings", rate.paths.between, rate.paths.text))
    influence = rate.influence
    if influence is not None and influence.low is not None and influence.high is not None:
        changing = [one.name for one in influence.left_out if one.changes]
        text = (
            f"the verdict changes without {', '.join(changing[:3])}{' and more' if len(changing) > 3 else ''}"
            if changing
            else "the verdict stays without any of them"
        )
        middle = Number(
            value=(influence.low + influence.high) / 2,
            low=influence.low,
            high=influence.high,
            definition="smallest and largest rate with one encoder, one path or a far-off group left out; the mark is the middle of the range",
            source=f"{len(influence.left_out)} fits",
        )
        rows.append(("one encoder or path left out (range)", middle, text))
    split = rate.split_users
    if split is not None:
        text = "within the interval" if split.agrees else "outside the interval: the model of the noise is in doubt"  # fmt: skip
        number = Number(
            value=split.value,
            low=split.value - split.spread,
            high=split.value + split.spread,
            definition=f"{split.definition}; the range is one standard deviation over splits",
            source=f"{split.num_splits} splits",
        )
        rows.append(("metric and AUC on different users", number, text))
    return rows
