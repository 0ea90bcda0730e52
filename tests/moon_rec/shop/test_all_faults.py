"""One pass, all faults: the first row of each kind is the first of the file, and every row is in the file of faults."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moon_rec.command import run
from moon_rec.errors import ShopError
from moon_rec.shop import Shop, validate_folder
from moon_rec.shop.commands import main
from moon_rec.shop.problem import Problem
from moon_rec.shop.readings import TableReader
from moon_rec.shop.rows import key_problems, row_problems

NUM_ROWS = 20_000


def all_rows(problem: Problem) -> list[int]:
    assert problem.rows is not None
    return problem.rows.collect()["row"].sort().to_list()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("group", [100, 4_000, NUM_ROWS])
def test_the_first_row_of_each_kind_is_the_first(tmp_path, seed, group):
    """Against a literal search, whatever the row groups and however many threads read them."""
    random = np.random.default_rng(seed)
    bad = {
        name: np.sort(random.choice(np.arange(1, NUM_ROWS), random.integers(1, 40), replace=False))
        for name in ("item_id", "position", "carted", "user_id")
    }
    values = {
        "request_id": np.arange(NUM_ROWS),
        "user_id": np.ones(NUM_ROWS),
        "item_id": np.arange(NUM_ROWS, dtype=float),
        "position": np.zeros(NUM_ROWS, dtype=np.int64),
        "clicked": np.zeros(NUM_ROWS, dtype=bool),
        "carted": np.zeros(NUM_ROWS, dtype=bool),
    }
    values["item_id"][bad["item_id"]] += 0.5
    values["position"][bad["position"]] = -1
    values["carted"][bad["carted"]] = True
    values["user_id"][bad["user_id"]] = np.nan
    pl.DataFrame(values).write_parquet(tmp_path / "impressions.parquet", row_group_size=group)
    found = {
        problem.column: problem
        for problem in row_problems(TableReader.open("impressions", tmp_path, meanings={}))
    }
    assert set(found) == set(bad)
    for name, rows in bad.items():
        assert (found[name].row, found[name].count) == (rows[0], rows.size)
        assert all_rows(found[name]) == rows.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_the_first_doubled_key_is_the_first_that_an_earlier_row_has(tmp_path, seed, monkeypatch):
    monkeypatch.setattr("moon_rec.shop.key_parts.ROWS_A_PART", 3_000)
    random = np.random.default_rng(seed)
    ids = random.permutation(NUM_ROWS)
    ids[random.choice(NUM_ROWS, 30, replace=False)] = random.choice(ids, 30)
    pl.DataFrame({"user_id": ids}).write_parquet(tmp_path / "users.parquet", row_group_size=500)
    (problem,) = key_problems(TableReader.open("users", tmp_path))
    seen, again = {}, []
    for row, value in enumerate(ids.tolist()):
        if value in seen:
            again.append(row)
        seen.setdefault(value, row)
    assert (problem.row, problem.count) == (again[0], len(again))
    assert problem.rule == f"is duplicated: row {seen[ids[again[0]]]} has it too"
    assert all_rows(problem) == again


def broken_shop(make_shop) -> Path:
    """A missing column, three prices, two pictures, an unknown item and a null: six kinds, nine rows and a column."""

    def items(frame):
        row = pl.int_range(pl.len())
        return frame.drop("spu_id").with_columns(
            price=pl.when(row.is_in([1, 3, 4])).then(-1.0).otherwise("price"),
            image=pl.when(row.is_in([3, 5])).then(pl.lit(b"no photo")).otherwise("image"),
            title=pl.when(row != 2).then("title"),
        )

    def impressions(frame):
        row = pl.int_range(pl.len())
        return frame.with_columns(item_id=pl.when(row.is_in([4, 9])).then(99).otherwise("item_id"))

    return make_shop(items=items, impressions=impressions)


WANTED = [
    ("items", "spu_id", None, None),
    ("items", "title", 2, "13"),
    ("items", "price", 1, "12"),
    ("items", "price", 3, "14"),
    ("items", "price", 4, "15"),
    ("impressions", "item_id", 4, "2, 99"),
    ("impressions", "item_id", 9, "4, 99"),
    ("items", "image", 3, "14"),
    ("items", "image", 5, "16"),
]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("command", ["check", "import"])
def test_every_broken_row_is_in_the_file_of_faults(make_shop, tmp_path, capsys, command, kind):
    shop, file = broken_shop(make_shop), tmp_path / f"faults.{kind}"
    words = {
        "check": ["check", str(shop)],
        "import": ["import", "tables", "--data", str(shop), "--out", str(tmp_path / "new")],
    }[command]
    assert run(main, [*words, "--faults", str(file)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {shop}: 5 broken rules: ")
    for place in ("spu_id: column is missing", "title row 2", "price row 1", "item_id row 4"):
        assert place in line
    assert "item_id 14: 8 bytes do not decode" in line and "and so of 16 (2 rows do)" in line
    read = pl.read_csv if kind == "csv" else pl.read_parquet
    found = read(file)
    assert found.columns == ["table", "column", "row", "id", "value", "rule", "mend"]
    assert found.select("table", "column", "row", "id").rows() == WANTED
    prices = found.filter(pl.col("column") == "price")
    assert prices["value"].unique().to_list() == ["-1.0"]
    assert prices["rule"].unique().to_list() == ["is negative"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name, "shop"]


def test_no_faults_are_a_file_without_rows(make_shop, tmp_path):
    shop = make_shop()
    assert run(main, ["check", str(shop), "--faults", str(tmp_path / "none.csv")]) == 0
    assert pl.read_csv(tmp_path / "none.csv").height == 0


def test_opening_names_every_missing_column_of_every_table(make_shop):
    path = make_shop(
        items=lambda f: f.drop("brand", "listed_at"),
        searches=lambda f: f.drop("query_image"),
        impressions=lambda f: f.drop("position", "carted"),
    )
    with pytest.raises(ShopError) as error:
        Shop.open(path)
    line = str(error.value)
    assert "\n" not in line and line.startswith(f"{path}: 5 broken rules: ")
    for place, put in (
        ("items.brand", "null"),
        ("items.listed_at", "the first time that the item was seen"),
        ("searches.query_image", "null"),
        ("impressions.position", "the order in the request, from 0"),
        ("impressions.carted", "false"),
    ):
        part = line.split(f"{place}: column is missing")[1].split(" | ")[0]
        assert f"where there is none put {put}" in part


def test_one_fault_is_told_once(make_shop):
    """A column that cannot be read breaks no further rule: ids as text are not also unknown, unlike and doubled."""
    path = make_shop(items=lambda f: f.with_columns(pl.col("item_id").cast(pl.String)))
    (problem,) = validate_folder(path)
    assert problem.column == "item_id"
    path = make_shop(impressions=lambda f: f.drop("time", "user_id", "clicked"))
    assert [problem.column for problem in validate_folder(path)] == ["user_id", "time", "clicked"]
