"""Scores of another model: `ranking.evaluate --scores` refuses what they are not, and says what cannot be measured."""

from pathlib import Path

import polars as pl
import pytest

from moon_rec.shop import Shop
from tests.bad_inputs.harness import Case, check

SHOP = "ranking.evaluate shop --scores mine.parquet --out new"
ALONE = "ranking.evaluate --scores mine.csv --out new"


def rows(folder: Path) -> pl.DataFrame:
    """Scores of the shop's test period."""
    shop = Shop.open(folder / "shop")
    shown = shop.in_period(shop.impressions, "test").collect()
    score = (pl.int_range(pl.len()) % 97 + 1) / 100
    return shown.select(
        "request_id", "item_id", "user_id", label=pl.col("clicked").cast(pl.Int8), score=score
    )


def scores(change=lambda frame: frame, file: str = "mine.parquet"):
    """A file of them, changed."""

    def damage(folder: Path) -> None:
        frame = rows(folder)
        changed = change(frame)
        if file.endswith(".csv"):
            changed.write_csv(folder / file)
        else:
            changed.write_parquet(folder / file)

    return damage


def put(row: int, column: str, value: object, dtype=None):
    return scores(
        lambda frame: frame.with_columns(
            pl.Series(column, [*frame[column][:row], value, *frame[column][row + 1 :]], dtype=dtype)
        )
    )


def with_columns(file="mine.parquet", **columns):
    return scores(lambda frame: frame.with_columns(**columns), file=file)


def content(text: str, file: str = "mine.csv"):
    return lambda folder: (folder / file).write_text(text)


def two(change, **columns):
    """A second file of another seed."""

    def damage(folder: Path) -> None:
        with_columns(**columns)(folder)
        change(rows(folder)).write_parquet(folder / "two.parquet")

    return damage


TWO = "ranking.evaluate shop --scores mine.parquet --scores two.parquet --out new"

CASES = [
    Case("own scores: no file", "ranking.evaluate shop --scores no.parquet --out new", ("no file at no.parquet", "name a file")),
    Case("own scores: empty file", ALONE, ("mine.csv is empty",), content("")),
    Case("own scores: no Parquet", SHOP, ("mine.parquet cannot be read",), content("junk", "mine.parquet")),
    Case("own scores: an unknown ending", "ranking.evaluate --scores mine.xml --out new", ("the ending '.xml' is not known",), content("<a/>", "mine.xml")),
    Case("own scores: without a shop, columns missing", ALONE, ("mine.csv: column user_id, label is missing: it has item_id, score", "with the shop before --scores"), content("item_id,score\n1,0.5\n")),
    Case("own scores: no score", SHOP, ("mine.parquet: column score is missing", "rename columns"), scores(lambda frame: frame.drop("score"))),
    Case("own scores: neither request nor user", SHOP, ("column request_id is missing, and user_id too",), scores(lambda frame: frame.drop("request_id", "user_id"))),
    Case("own scores: a score that is null", SHOP, ("mine.parquet: score row 3: None is null",), put(3, "score", None)),
    Case("own scores: a score of NaN", SHOP, ("mine.parquet: score row 7: nan is not finite (1 rows)",), put(7, "score", float("nan"))),
    Case("own scores: an infinite score", SHOP, ("score row 7: inf is not finite",), put(7, "score", float("inf"))),
    Case("own scores: scores as words", ALONE, ("mine.csv: score row 1: 'high' is no number",), content("item_id,user_id,label,score\n1,1,1,0.5\n2,1,0,high\n")),
    Case("own scores: a label of 2", SHOP, ("mine.parquet: label row 5: 2 is neither 0 nor 1",), put(5, "label", 2, pl.Int64)),
    Case("own scores: labels of one class", ALONE, ("all 1152 labels are 0: AUC needs clicks and non-clicks",), with_columns("mine.csv", label=pl.lit(0))),
    Case("own scores: labels that are not the shop's", SHOP, ("has label ", "in the test period of shop planted it is", "3 of 1,152 rows differ"),
         with_columns(label=pl.when(pl.int_range(pl.len()) < 3).then(1 - pl.col("label")).otherwise("label"))),
    Case("own scores: users that are not the shop's", SHOP, ("has user_id 5, in the test period", "1,152 of 1,152 rows differ"), with_columns(user_id=pl.lit(5))),
    Case("own scores: of another period", f"{SHOP} --period validation", ("1,152 of 1,152 rows are no impression of the validation period of shop planted", "--period"), scores()),
    Case("own scores: an item that was not shown", SHOP, ("1 of 1,152 rows are no impression of the test period", "item 123456"), put(9, "item_id", 123456)),
    Case("own scores: an impression twice", SHOP, ("has more than one score (2 of 1,153 rows are not alone)", "each impression once"), scores(lambda frame: pl.concat([frame, frame[:1]]))),
    Case("own scores: items as words", SHOP, ("mine.parquet: item_id row 0: 'x' is no id of shop planted, whose ids are whole numbers",), with_columns(item_id=pl.lit("x"))),
    Case("own scores: items as fractions", SHOP, ("item_id row 0: 0.5 is no whole number",), with_columns(item_id=pl.lit(0.5))),
    Case("own scores: an item that is null", SHOP, ("item_id row 2: None is null",), put(2, "item_id", None)),
    Case("own scores: user and item shown again", SHOP, ("was shown several times in the test period", "give the column request_id"), scores(lambda frame: frame.drop("request_id").unique(["user_id", "item_id"]))),
    Case("own scores: seeds as words", SHOP, ("seed row 0: 'a'",), with_columns(seed=pl.lit("a"))),
    Case("own scores: a seed in two files", TWO, ("seed 0 is in mine.parquet and in two.parquet",), two(lambda frame: frame.with_columns(seed=pl.lit(0)), seed=pl.lit(0))),
    Case("own scores: a seed column in one of two files", TWO, ("mine.parquet has no column seed, and another file has",), two(lambda frame: frame.with_columns(seed=pl.lit(1)))),
    Case("own scores: seeds of different rows", TWO, ("the scores are of different impressions (1152 and 1000 rows)",), two(lambda frame: frame[:1000])),
    Case("own scores: with a ranker", "ranking.evaluate ranker shop --scores mine.parquet --out new", ("--scores are those of another model: leave out the ranker",), scores()),
    Case("own scores: with vectors", f"{SHOP} --items items", ("leave out --items",), scores()),
    Case("own scores: neither ranker nor scores", "ranking.evaluate shop --out new", ("wanted a ranker and a shop, or --scores FILE",)),
    Case("own scores: grouped by a column that is not there", f"{SHOP} --by colour", ("no column 'colour' in the scores to group by",), scores()),
    Case("own scores: a store that cannot work", f"{SHOP} --track gopher://x", ("gopher",), scores()),
    Case("own scores: some impressions without one", f"{SHOP} --resamples 20", ("152 of 1,152 impressions of the test period of shop planted have no score",), scores(lambda frame: frame[:1000]), told=True),
    Case("own scores: logits", f"{SHOP} --resamples 20", ("scores go from -1 to 5", "no probabilities: AUC and GAUC are measured", "1 / (1 + exp(-score))"), with_columns(score=pl.int_range(pl.len()) % 7 - 1.0), told=True),
    Case("own scores: without a shop", f"{ALONE} --resamples 20", ("without its shop cold and warm items", "left out: cold and warm items"), scores(file="mine.csv"), told=True),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_own_scores(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
