"""The shop's commands: what they print, and one line with exit code 2 for what the user can mend."""

import json

import pytest
from PIL import Image

from moon_rec.command import run
from moon_rec.shop import Shop
from moon_rec.shop.commands import main
from moon_rec.shop.description import describe


def refused(capsys, *argv):
    """The one line of a command that is refused with exit code 2."""
    try:
        code = run(main, argv)
    except SystemExit as stop:
        code = stop.code
    err = capsys.readouterr().err
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    return err


def test_import_movielens(tmp_path, capsys):
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = [f"{1 + n % 3},{n % 5},{1 + n % 5},{1000000000 + n}" for n in range(30)]
    (raw / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines]))
    (raw / "movies.csv").write_text(
        "\n".join(["movieId,title,genres", *(f"{n},Film {n} (1999),Drama" for n in range(5))])
    )
    words = ["import", "movielens", "--data", str(raw), "--out", str(tmp_path / "shop")]
    assert run(main, [*words, "--set", "edition=2018", "--set", "threshold=5"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("ok ") and "5 items, 0 searches, 30 impressions" in out
    shop = Shop.open(tmp_path / "shop")
    assert shop.impressions.collect()["clicked"].sum() == 6
    assert "exists already" in refused(capsys, *words)
    assert run(main, [*words, "--overwrite"]) == 0


def test_import_needs_its_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("moon_rec.shop.commands.data_folder", lambda: None)
    out = str(tmp_path / "shop")
    assert "--data is absent" in refused(capsys, "import", "movielens", "--out", out)
    assert "is not a folder" in refused(
        capsys, "import", "tables", "--data", str(tmp_path / "none"), "--out", out
    )
    assert "has no setting 'editon'" in refused(
        capsys, "import", "movielens", "--data", str(tmp_path), "--out", out, "--set", "editon=1"
    )


@pytest.mark.parametrize("words", [[], ["sell"], ["check"], ["import", "amazon", "--out", "x"]])
def test_wrong_words(capsys, words):
    assert "--help" in refused(capsys, *words)


def test_describe_prints_counts_worked_out_by_hand(make_shop, tmp_path, capsys):
    path = make_shop()
    picture = tmp_path / "sheet.png"
    assert run(main, ["describe", str(path), "--picture", str(picture)]) == 0
    out = capsys.readouterr().out
    rows = {
        line.split("│")[1].strip(): line.split("│")[2:5] for line in out.splitlines() if "│" in line
    }
    assert [cell.strip() for cell in rows["impressions"]] == ["12", "4", "4"]
    assert [cell.strip() for cell in rows["on cold items"]] == ["0.0%", "0.0%", "50.0%"]
    assert "6 (5 SPUs, 2 categories)" in out and "SIMULATED" not in out
    with Image.open(picture) as drawn:
        assert drawn.width > 1000


def test_describe_numbers(make_shop):
    """Items 11 to 15 are shown before the cut; 16 is new, shown and clicked on the last two days, one row of two."""
    found = describe(Shop.open(make_shop()))
    counts = found.counts
    assert (counts.items, counts.spus, counts.categories, counts.users) == (6, 5, 2, 3)
    assert found.coverage.overall[0].picture == pytest.approx(5 / 6)
    queries = found.queries
    assert (queries.text_only, queries.image_only, queries.both) == (0.4, 0.3, 0.3)
    train, validation, test = found.periods
    assert (train.impressions, validation.impressions, test.impressions) == (12, 4, 4)
    assert (train.requests, train.searches, train.users) == (6, 6, 3)
    assert train.click_rate.value == 0.5 and train.purchase_rate.value == 0.25
    cold = [period.cold_impressions.value for period in found.periods]
    assert cold == [0, 0, 0.5]
    assert train.with_history.value == 0.5 and validation.with_history.value == 1
    assert test.median_history == 2.5


def test_a_simulated_shop_is_called_so(make_shop, capsys):
    path = make_shop()
    manifest = path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"is_simulated": True}))
    assert run(main, ["describe", str(path)]) == 0
    assert "SIMULATED" in capsys.readouterr().out
    assert run(main, ["check", str(path)]) == 0
    assert "simulated, 6 items" in capsys.readouterr().out


def test_a_sheet_is_the_same_each_time_and_of_known_kinds(make_shop, tmp_path, capsys):
    path = str(make_shop())
    for kind in ("png", "svg"):
        files = [tmp_path / f"{name}.{kind}" for name in "ab"]
        for file in files:
            assert run(main, ["describe", path, "--picture", str(file)]) == 0
        if kind == "png":
            assert files[0].read_bytes() == files[1].read_bytes()
    capsys.readouterr()
    assert "end its name with .png" in refused(capsys, "describe", path, "--picture", "sheet.gif")


def test_simulate(tmp_path, capsys):
    out = tmp_path / "shop"
    sizes = ["--set", "num_users=30", "--set", "num_requests=120", "--set", "num_items=40"]
    assert run(main, ["simulate", "--out", str(out), *sizes]) == 0
    assert "ok " in capsys.readouterr().out
    assert Shop.open(out).is_simulated
