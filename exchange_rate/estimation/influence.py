"""What becomes of the verdict without any one encoder, any one path, and any group that stands far off.

A rate that users act on must not hang on who happens to be in the study. Two encoders far off cover for each other when one is left out at a time, so the group on the
smaller side of a gap is left out together, where the gap is as wide as the spread of all the others.

That an interval leaves out zero is asked at the fit's own level every time. That a line is told from a curve, or paths from each other, is looked for in many refits, one of
which finds it by luck: there the level is shared among them (Bonferroni). A curve that all encoders show is asked for at the fit's own level.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from exchange_rate.estimation.noise import Noise
from exchange_rate.estimation.points import Points
from exchange_rate.estimation.results import NAN, Influence, LeftOut, Part, Slope, Verdict
from exchange_rate.estimation.verdict import Judged, judge

DEFINITION = "slope without it, fitted in the same way"
NOTHING = "not identified"
MOST_NAMED = 4


def influence(
    points: Points, noise: Noise, judged: Judged, level: float, stops_early: bool = False
) -> Influence:
    """Refit without each encoder, each path of several encoders, and the far-off group where there is one.

    Args:
        stops_early: at the first change of the verdict; for simulations.
    """
    left_out, changes = [], []
    slopes = [judged.slope.value]
    parts = list(_parts(points))
    points = replace(points, draws=None)  # their noise is given
    form_level = 1 - (1 - level) / len(parts) if judged.verdict == "identified" else level
    for what, name, kept in parts:
        rest = judge(
            points.keep(kept),
            noise.keep(kept),
            level,
            DEFINITION,
            share=judged.line.frame.share,
            form_level=form_level,
        )
        slope = Slope.unknown(DEFINITION) if rest is None else rest.slope
        verdict = NOTHING if rest is None else rest.verdict
        left_out.append(LeftOut(what, name, slope, verdict))
        slopes.append(slope.value)
        if rest is None or rest.stand != judged.stand:
            changes.append(left_out[-1])
            if stops_early:
                break
    return Influence(
        tuple(left_out), float(np.nanmin(slopes)), float(np.nanmax(slopes)), tuple(changes)
    )


def no_influence() -> Influence:
    """Where there is no slope."""
    return Influence((), NAN, NAN, ())


def _parts(points: Points) -> Iterator[tuple[Part, str, NDArray[np.bool_]]]:
    """What is left out, its name, and the mask of those that stay."""
    for row, name in enumerate(points.names):
        yield "encoder", name, np.arange(len(points.names)) != row
    paths = np.array(points.paths, dtype=object)
    for path in dict.fromkeys(points.paths):
        if (paths == path).sum() > 1:
            yield "path", path, paths != path
    far = far_group(points)
    if far.any():
        names = [name for name, is_far in zip(points.names, far, strict=True) if is_far]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        yield "far group", ", ".join(names[:MOST_NAMED]) + more, ~far


def far_group(points: Points) -> NDArray[np.bool_]:
    """`(encoders,)` the two or more on the smaller side of the widest gap between metrics, where it is as wide as the larger side; all False where there is none."""
    order = np.argsort(points.metric, kind="stable")
    metric = points.metric[order]
    cut = int(np.argmax(np.diff(metric))) + 1
    low, high = order[:cut], order[cut:]
    small, large = sorted((low, high), key=len)
    gap = metric[cut] - metric[cut - 1]
    is_far = np.zeros(len(metric), dtype=np.bool_)
    if 2 <= len(small) < len(large) and gap >= np.ptp(points.metric[large]):
        is_far[small] = True
    return is_far


def what_rests(verdict: Verdict, found: Influence) -> tuple[Verdict, str]:
    """The verdict where leaving some encoders out changes it, and its reason: the first change is named, the others are counted."""
    first, more = found.changes[0], len(found.changes) - 1
    also = f" (it changes without {more} other{'s' if more > 1 else ''} too)" if more else ""
    rests: dict[Part, Verdict] = {
        "encoder": "rests on one encoder",
        "path": "rests on one path",
        "far group": "rests on a far group",
    }
    change = f"it is {first.verdict}" if first.verdict != verdict else "its sign turns"
    who = "the far-off group" if first.what == "far group" else f"the {first.what}"
    return rests[
        first.what
    ], f"{verdict} with all encoders, but without {who} {first.name!r} {change}{also}"
