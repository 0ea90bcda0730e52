"""The command: a table in, a sentence and a folder out; repeats, groups, two inputs."""

import json
import math

import numpy as np
import pytest

from exchange_rate.laws import command, main
from exchange_rate.laws.analysis import analyse_law
from exchange_rate.laws.figures import draw_laws
from moon_rec.errors import MoonRecError


def write_points(path, groups=("infonce",), seeds=3, noise=0.003):
    random = np.random.default_rng(0)
    lines = ["tokens,recall,seed,loss"]
    for place, name in enumerate(groups):
        for x in np.geomspace(1e6, 1e9, 8):
            for seed in range(seeds):
                y = 0.5 - 0.05 * place - 8 * x**-0.25 + random.normal(0, noise)
                lines.append(f"{x:.6g},{y:.5f},{seed},{name}")
    path.write_text("\n".join(lines) + "\n")


def test_a_table_becomes_a_sentence_and_a_folder(tmp_path, capsys):
    write_points(tmp_path / "points.csv", ("infonce", "<b>triplet"))
    words = (
        f"{tmp_path}/points.csv --x tokens --y recall --seed seed --by loss --out {tmp_path}/out"
    )
    main(words.split())
    said = capsys.readouterr().out
    assert "recall of infonce by tokens follows y = E + A x^-alpha, identified, on 8 points" in said
    out = tmp_path / "out"
    assert {one.name for one in out.iterdir()} == {"laws.html", "laws.json", "laws.png", "laws.svg"}
    data = json.loads((out / "laws.json").read_text())
    first = data["laws"][0]["result"]
    assert (first["num_points"], first["num_repeats"]) == (8, 3)
    assert first["spread"] == pytest.approx(0.003, rel=0.4)
    low, high = first["intervals"]["E"]
    assert low < 0.5 < high
    assert first["forms"][0]["form"] == "power" and len(first["forms"][0]["held_out"]) == 1
    assert sum(one["weight"] for one in first["forms"]) == pytest.approx(1)
    page = (out / "laws.html").read_text()
    assert (
        "Held-out points" in page
        and "<b>triplet" not in page
        and "http://" not in page.split("<svg")[0]
    )
    main([*words.split(), "--overwrite"])  # the same folder, ours


def test_each_axis_of_a_table_has_a_law_and_a_figure(tmp_path, capsys, monkeypatch):
    """A column names what x counts; each stands under its own axis, with the points held out."""
    lines = ["axis,value,recall"]
    for name, smallest in (("training tokens", 1e6), ("negatives", 4)):
        lines += [f"{name},{x:.6g},{0.5 - 0.3 * (x / smallest) ** -0.3:.6f}" for x in smallest * np.geomspace(1, 1e3, 9)]  # fmt: skip
    (tmp_path / "p.csv").write_text("\n".join(lines) + "\n")
    words = f"{tmp_path}/p.csv --x value --y recall --axis axis --out {tmp_path}/out"
    drawn = []
    monkeypatch.setattr(command, "draw_laws", lambda *given: drawn.append(draw_laws(*given)) or drawn[0])  # fmt: skip
    main(words.split())
    said = capsys.readouterr().out
    assert [one.get_xlabel() for one in drawn[0].axes if one.lines] == ["training tokens", "negatives"]  # fmt: skip
    for name in ("training tokens", "negatives"):
        assert f"recall by {name} follows y = E + A x^-alpha, identified, on 9 points" in said
    assert "held out, predicted without it" in [one.get_text() for one in drawn[0].legends[0].texts]
    for option in ("--by axis", "--x2 value"):
        with pytest.raises(MoonRecError, match="do not go together"):
            main([*words.replace("/out", "/other").split(), *option.split()])
    assert not (tmp_path / "other").exists()


def test_no_law_says_why(tmp_path, capsys):
    (tmp_path / "p.csv").write_text("n,y\n1,.1\n2,.2\n4,.25\n")
    main(f"{tmp_path}/p.csv --x n --y y --out {tmp_path}/out".split())
    said = capsys.readouterr().out
    assert (
        "y by n: no law of the form y = E + A x^-alpha stands: not identified, 3 distinct x" in said
    )
    assert json.loads((tmp_path / "out" / "laws.json").read_text())["laws"][0]["result"][
        "intervals"
    ]["E"] == [None, None]


def test_two_inputs_lay_out_a_budget(tmp_path, capsys):
    lines = ["params,tokens,loss"]
    for size in np.geomspace(1e6, 1e9, 5):
        for tokens in np.geomspace(1e8, 1e11, 5):
            lines.append(
                f"{size:.6g},{tokens:.6g},{1.7 + 400 * size**-0.34 + 410 * tokens**-0.28:.8f}"
            )
    (tmp_path / "p.csv").write_text("\n".join(lines) + "\n")
    main(
        f"{tmp_path}/p.csv --x params --x2 tokens --y loss --budget 1e20 --hold-out 0 --out {tmp_path}/out".split()
    )
    assert "loss by params (N) and tokens (D) follows" in capsys.readouterr().out
    (found,) = json.loads((tmp_path / "out" / "laws.json").read_text())["laws"][0]["allocations"]
    grid = np.geomspace(1e6, 1e12, 40001)
    curve = 1.7 + 400 * grid**-0.34 + 410 * (1e20 / 6 / grid) ** -0.28
    assert found["first"] == pytest.approx(grid[np.argmin(curve)], rel=5e-3)
    assert found["first_interval"] == [None, None]  # too few points for a bootstrap


def test_weights_are_akaikes():
    """By hand, on exact least squares without outliers: AICc = n ln(RSS / n) + 2 k + 2 k (k + 1) / (n - k - 1)."""
    x = np.geomspace(1e6, 1e9, 12)
    y = 0.3 + 0.02 * np.log(x) + 0.002 * np.tile([1, -1, -1, 1], 3)
    found = analyse_law(x, y, "log")
    assert sum(found.weights.values()) == pytest.approx(1)
    log = found.forms[0]
    residuals = y - np.polyval(np.polyfit(np.log(x), y, 1), np.log(x))
    expected = 12 * math.log(np.mean(residuals**2)) + 6 + 24 / 8
    assert log.aicc == pytest.approx(expected, rel=1e-3)
    assert found.weights["log"] > found.weights["power"]
