"""Every state that a page can show has its look."""

import re
from pathlib import Path

from exchange_rate.report.drawing import VERDICT_COLOURS

STATES = r'"(identified|not identified|saturating|convex|rests on [a-z ]+|better than decoys|no better than decoys|decoy|not compared)"'


def test_every_verdict_of_a_rate_or_a_metric_has_a_colour():
    folder = Path(__file__).parents[3] / "exchange_rate" / "estimation"
    said = {state for file in folder.glob("*.py") for state in re.findall(STATES, file.read_text())}
    assert len(said) >= 9 and said <= set(VERDICT_COLOURS)
