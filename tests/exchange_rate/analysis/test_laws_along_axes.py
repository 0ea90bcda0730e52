"""A law is asked along every axis that encoders or rankers have; drawn where it stands, its points shown where it does not."""

import re

import numpy as np
import polars as pl
import pytest

from exchange_rate import analyse
from exchange_rate.analysis.axes import AXES
from exchange_rate.laws.analysis import analyse_law
from exchange_rate.report.write import write_points_report
from tests.exchange_rate.analysis.conftest import RECALL

X = np.geomspace(3, 300, 9)


def growing(axis: str, **columns) -> pl.DataFrame:
    """Trainings that differ on one axis: recall rises to .7 by a power, AUC with it."""
    recall = 0.7 - 0.9 * X**-0.5 + 0.0005 * np.sin(40 * X)
    values = {"encoder": [f"{axis} {x:.0f}" for x in X], RECALL: recall, "auc": 0.6 + 0.2 * recall}
    return pl.DataFrame(values | {axis: X} | columns)


@pytest.mark.parametrize(
    "axis", ["negatives", "width", "pretraining_tokens", "posttraining_tokens"]
)
def test_a_law_along(axis):
    frame = growing(axis, negatives=np.full(9, 7.0)) if axis != "negatives" else growing(axis)
    laws = [one for one in analyse(frame).laws if not one.path]
    assert [(one.name, one.axis) for one in laws] == [(RECALL, AXES[axis]), ("auc", AXES[axis])]
    law, alone = laws[0], analyse_law(X, frame[RECALL].to_numpy())
    assert law.along == "ends of trainings" + ("" if axis == "negatives" else " with 7 negatives")
    assert law.verdict == alone.verdict == "identified" and alone.law is not None
    assert {one.name: one.number.value for one in law.parameters} == alone.parameters
    assert law.line is not None and (law.line.x[0], law.line.x[-1]) == pytest.approx((3, 300))
    np.testing.assert_allclose(law.line.value, alone.law.predict(law.line.x))
    assert [one.x for one in law.points] == X.tolist()


def test_rankers_that_read_longer_histories_have_a_law_of_auc_alone():
    lengths = (1, 3, 10, 30, 100)
    rows = [
        {"encoder": encoder, "path": encoder, RECALL: recall, "ranker": f"reads {length}", "history_length": length, "seed": seed,
         "auc": 0.6 + 0.1 * recall + 0.02 * np.log(length) + 0.0001 * seed}
        for encoder, recall in (("one", 0.2), ("two", 0.4)) for length in lengths for seed in range(2)
    ]  # fmt: skip
    laws = analyse(pl.DataFrame(rows)).laws
    assert [(one.name, one.axis, one.along) for one in laws] == [
        ("auc", "length of histories", "rankers on “one”"),
        ("auc", "length of histories", "rankers on “two”"),
    ]
    assert [(one.name, one.x) for one in laws[0].points] == [(f"reads {x}", x) for x in lengths]


def test_encoders_of_a_group_are_alike_on_every_other_axis():
    frame = growing("negatives", width=[64.0] * 5 + [128.0] * 4, posttraining_tokens=[1000.0, 1050.0] * 4 + [5000.0])  # fmt: skip
    groups = {one.along: [point.x for point in one.points] for one in analyse(frame).laws if one.axis == "negatives"}  # fmt: skip
    near = [1000.0 if place % 2 == 0 else 1050.0 for place in range(9)]
    wanted = [f"ends of trainings with {near[start]:,.0f} post-training tokens and {width} width of the vectors" for start, width in ((0, 64), (5, 128))]  # fmt: skip
    assert groups == {
        wanted[0]: X[:5].tolist(),
        wanted[1]: X[5:8].tolist(),
    }  # the last one has seen more


def test_widths_of_one_training_are_along_it():
    frame = growing("width", path=["one"] * 9)
    laws = [one for one in analyse(frame).laws if one.axis == AXES["width"]]
    assert {(one.along, one.path) for one in laws} == {("widths of “one”", "one")}


def test_a_line_is_drawn_where_a_law_stands_and_points_where_it_does_not(tmp_path):
    random = np.random.default_rng(1)
    flat = growing("width").with_columns(pl.Series(RECALL, 0.4 + 0.02 * random.normal(size=9)))
    rising = growing("negatives")
    for name, frame, axis in (("flat", flat, "width"), ("rising", rising, "negatives")):
        report = write_points_report(frame, tmp_path / name)
        law = report.results.laws[0]
        page = report.page.read_text()
        assert (law.line is not None) == (name == "rising") == (law.verdict == "identified")
        assert f"<h3>{AXES[axis].capitalize()}</h3>" in page and law.sentence.split(":")[0] in page
        assert (report.folder / "figures" / f"{axis}.png").stat().st_size > 5_000
        assert f"![{RECALL.replace('_', ' ').replace('image s', 'image-s')}" in (report.folder / "report.md").read_text()  # fmt: skip
        assert len(re.findall(r"<h3>", page[page.index('id="laws"') : page.index('id="encoders"')])) == 1  # fmt: skip


def test_too_few_points_have_no_law_and_no_figure(tmp_path):
    assert analyse(growing("negatives").head(2)).laws == ()
