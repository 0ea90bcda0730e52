"""Coverage goes from the encoder cells to the report, and encoders of unlike coverage are named."""

import pytest

from exchange_rate.evidence.coverage import coverage_metrics, study_coverage
from exchange_rate.evidence.records import Study
from moon_rec.vector_pairs import Coverage, Covered


def study(**coverages: Coverage | None) -> Study:
    """A study whose encoder cells logged these."""
    cells = [
        {"kind": "encoder", "labels": {"encoder": name}, "run": name, "definitions": {}}
        for name in coverages
    ]
    logged = {
        name: {"metrics": {"dim": 8.0} | ({} if one is None else coverage_metrics(one))}
        for name, one in coverages.items()
    }
    return Study("id", {"cells": cells}, logged)


WHOLE = Coverage(Covered(120, 120), Covered(300, 600))
HALF = Coverage(Covered(60, 120), Covered(300, 600))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"a": WHOLE, "b": WHOLE},
            "Coverage, all encoders alike: 120 of 120 (100.0%) items, 300 of 600 (50.0%) searches have a vector.",
        ),
        ({"a": WHOLE, "b": HALF}, "unlike coverage of items: a 120 of 120 (100.0%), b 60 of 120"),
        (
            {"a": WHOLE, "b": Coverage(Covered(120, 120), Covered(12, 600))},
            "unlike coverage of searches: a 300 of 600 (50.0%), b 12 of 600",
        ),
        ({"a": Coverage(Covered(9, 10), None)}, "Coverage, a: 9 of 10 (90.0%) items have a vector."),
        ({"a": None}, "Coverage was not logged."),
    ],
)  # fmt: skip
def test_what_is_logged_is_told(given, text):
    found = study_coverage(study(**given))
    assert text in found["text"]
    known = {name: one for name, one in given.items() if one is not None}
    assert found["encoders"] == {name: one.as_dict() for name, one in known.items()}


def test_the_report_has_a_line_of_it(planted_report):
    report = planted_report
    for file in (report.page, report.folder / "report.md"):
        assert report.results.coverage in file.read_text()
