"""Which metric to trust, in a picture."""

from matplotlib import ticker
from matplotlib.figure import Figure

from exchange_rate.analysis.results import Candidate, Results
from exchange_rate.analysis.words import words
from exchange_rate.report.drawing import VERDICT_COLOURS, error_bars, rows_down
from moon_rec.palette import MUTED, VERMILION

MOST_CANDIDATES = 18


def candidates(found: Results) -> Figure | None:
    """Left: how far off each metric predicts encoders of an unseen path, the best first, with the error that decoys stay above. Right: its proxy quality."""
    rows = shown_candidates(found, MOST_CANDIDATES)
    if not rows:
        return None
    figure = Figure(figsize=(8.6, 1.9 + 0.29 * len(rows)), layout="constrained")
    errors, quality = figure.subplots(1, 2, sharey=True)
    for place, one in enumerate(rows):
        colour = VERDICT_COLOURS[one.verdict]
        is_hollow = bool(one.is_told_from_best) or one.is_decoy
        for axes, number, scale in (
            (errors, one.left_out_error, 100),
            (quality, one.quality, 1),
        ):
            if number.value is None:
                axes.text(0, place, "none", color=MUTED, fontsize=8, va="center", ha="center")
                continue
            axes.errorbar(
                scale * number.value,
                place,
                xerr=scale * error_bars(number),
                fmt="o",
                color=colour,
                elinewidth=1.8,
                capsize=3,
                markerfacecolor="white" if is_hollow else colour,
            )
    if found.choice.error_to_beat is not None:
        errors.axvline(100 * found.choice.error_to_beat, color=VERMILION, linestyle="--")
    errors.set_xlim(left=0)
    quality.axvline(0, color=MUTED, linewidth=0.9)
    rows_down(errors, [words(one.metric) for one in rows])
    quality.grid(axis="x", color="#d0d6dc", linewidth=0.6)
    quality.tick_params(axis="y", length=0)
    for axes in (errors, quality):
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
        axes.set_axisbelow(True)
    for label, one in zip(errors.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if one.is_chosen else "normal")
    errors.set_title("Error at an unseen path's AUC, points")
    errors.set_xlabel(
        "filled: not told from the best; dashed: what decoys stay above", fontsize=8.5
    )
    quality.set_title("Proxy quality")
    quality.set_xlabel("correlation with AUC, noise removed", fontsize=8.5)
    shown = {one.verdict for one in rows}
    for verdict, colour in VERDICT_COLOURS.items():
        if verdict in shown:
            quality.plot([], [], "o-", color=colour, label=verdict)
    handles, labels = quality.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def shown_candidates(found: Results, most: int) -> list[Candidate]:
    """The first metrics that can be judged, the steering metric and the best decoy whatever their place."""
    judged = [one for one in found.candidates if one.left_out_error.value is not None and one.is_shown]  # fmt: skip
    first = [one for one in judged if not one.is_decoy][: most - 1]
    steering = [
        one for one in judged if one.metric == found.about.steering_metric and one not in first
    ]
    decoys = [one for one in judged if one.is_decoy][:1]
    kept = {one.metric for one in (*first, *steering, *decoys)}
    return [one for one in judged if one.metric in kept]
