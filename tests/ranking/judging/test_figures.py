"""The pictures: written whole, the same bits again, and drawn where values are missing."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

from ranking.judging import figures
from ranking.judging.judgement import evaluate
from ranking.judging.reliability import curve_of
from ranking.judging.segments import segments_of
from ranking.judging.side_by_side import power_tables, side_by_side


def table(seed, rows=800):
    random = np.random.default_rng(seed)
    labels = np.random.default_rng(1).integers(0, 2, rows)
    return pl.DataFrame(
        {
            "request_id": np.arange(rows) // 4,
            "item_id": np.arange(rows) % 4,
            "user_id": np.arange(rows) // 8,
            "label": labels,
            "score": np.clip(0.3 * labels + random.random(rows) * 0.7, 0, 1),
            "is_cold": np.arange(rows) % 5 == 0,
            "kind": [f"a kind with quite a long name, {row % 3}" for row in range(rows)],
            # one row a user in "thin": AUC has a value there, GAUC has none
            "part": np.where(np.arange(rows) % 8 == 0, "thin", "rest"),
        }
    )


@pytest.fixture(scope="module", params=[1, 2], ids=["one seed", "two seeds"])
def compared(request):
    a, b = [[table(10 * side + seed) for seed in range(request.param)] for side in (1, 2)]
    segments = segments_of(a[0], ["kind", "part"], min_users=5)
    return a, segments, side_by_side(a, b, 20, segments=segments)


def test_every_picture_is_drawn_twice_the_same(compared, tmp_path):
    a, segments, found = compared
    names, about = ("ids", "cube"), "demo (simulated), test period"
    pictures = {
        "differences": lambda to: figures.draw_differences(found, names, about, to),
        "segments": lambda to: figures.draw_segments(found, segments, names, about, to),
        "power": lambda to: figures.draw_power(power_tables(found), about, to),
    }
    if len(a) == 1:  # these show one seed's scores, however many there are
        curve = curve_of(a[0], 10)
        metrics = evaluate(a[0], num_resamples=10, segments=segments)
        pictures |= {
            "calibration": lambda to: figures.draw_calibration({"a": curve, "b": curve}, about, to),
            "evaluation": lambda to: figures.draw_evaluation(
                curve, metrics, segments, "ids", about, to
            ),
        }
    for name, draw in pictures.items():
        first, second = tmp_path / f"{name}.png", tmp_path / f"{name}_again.png"
        draw(first)
        draw(second)
        assert first.read_bytes() == second.read_bytes()
        with Image.open(first) as picture:
            assert picture.width > 600 and len(picture.convert("L").getcolors()) > 20


def test_a_segment_without_a_gauc_has_a_row_that_says_so(compared, tmp_path):
    _, segments, found = compared
    assert "auc[part=thin]" in found and "gauc[part=thin]" not in found
    figures.draw_segments(found, segments, ("a", "b"), "", tmp_path / "thin.png")
    assert (tmp_path / "thin.png").is_file()


def test_what_has_no_interval_is_drawn_with_its_value_and_the_reason(tmp_path, monkeypatch):
    """Seven users: nothing fails, and the row says why it has no interval."""
    said = []
    real = figures.Axes.text
    monkeypatch.setattr(
        figures.Axes,
        "text",
        lambda axes, x, y, words, **more: said.append(words) or real(axes, x, y, words, **more),
    )
    a, b = (table(seed).filter(pl.col("user_id") < 7) for seed in (1, 2))
    segments = segments_of(a, ["kind"], min_users=1)
    found = side_by_side([a], [b], 10, segments=segments)
    figures.draw_differences(found, ("a", "b"), "", tmp_path / "differences.png")
    figures.draw_segments(found, segments, ("a", "b"), "", tmp_path / "segments.png")
    figures.draw_calibration({"a": curve_of(a, 5)}, "", tmp_path / "calibration.png")
    metrics = evaluate(a, num_resamples=5, segments=segments)
    figures.draw_evaluation(curve_of(a, 5), metrics, segments, "a", "", tmp_path / "all.png")
    assert len(list(tmp_path.glob("*.png"))) == 4
    words = "no interval: 7 counted users, 20 needed"
    assert sum(words in one for one in said) >= 10


def test_labels_of_an_axis_keep_their_digits():
    assert [figures._plain(one) for one in (0.01, 0.0005, 2e-5)] == ["0.01", "0.0005", "0.00002"]
