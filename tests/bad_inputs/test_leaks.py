"""Shops whose figures would be better than they are, and rankers that ask for the answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from moon_rec.shop import Shop
from moon_rec.shop.leaks import leak_warnings
from moon_rec.shop.manifest import Manifest
from ranking.features import FeatureConfig, RankingTables
from tests.bad_inputs.harness import Case, check

TRAIN = "ranking.train shop --out new --feature context=[{names}]"
CHECK = "moon_rec shop check shop"


def change(table: str, make: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    """Another table in the shop, and a manifest that records it: only what is in it is wrong."""

    def damage(folder: Path) -> None:
        shop = folder / "shop"
        path = shop / f"{table}.parquet"
        make(pl.read_parquet(path)).write_parquet(path)
        Manifest.read(shop).renewed(shop).write(shop)

    return damage


def log(**columns: pl.Expr) -> Callable[[Path], None]:
    """Other columns of the impressions."""
    return change("impressions", lambda frame: frame.with_columns(**columns))


def again(
    frame: pl.DataFrame, days: float = 0, below: int = 10**9, **columns: pl.Expr
) -> pl.DataFrame:
    """Pages once more under new request ids, `days` later."""
    pages = frame.filter(pl.col("request_id") < below).with_columns(
        pl.col("request_id") + 10**6,
        pl.lit(None, pl.Int64).alias("search_id"),
        pl.col("time") + pl.duration(hours=round(24 * days)),
        **columns,
    )
    return pl.concat([frame, pages])


def fit(**settings: Any) -> Callable[[Path], object]:
    return lambda folder: RankingTables.build(Shop.open(folder / "shop"), FeatureConfig(**settings))


CLICKED = pl.col("clicked")
NOISE = pl.int_range(pl.len()).hash(1) % 1_000 / 1_000
LATE = pl.col("item_id") >= 96 * 7
KNOWS = ("'late' knows clicked in the train period", "AUC", "rows", 'trusted_context=["late"]')

REFUSED = {
    "clicked as context": ("clicked", None, ("'clicked' is an outcome", "leave it out")),
    "carted as context": ("carted", None, ("'carted' is an outcome",)),
    "purchased as context": ("purchased", None, ("'purchased' is an outcome",)),
    "users as context": ("user_id", None, ("'user_id' is a key of the log",)),
    "items as context": ("item_id", None, ("'item_id' is a key of the log",)),
    "requests as context": ("request_id", None, ("'request_id' is a key of the log",)),
    "searches as context": ("search_id", None, ("'search_id' is a key of the log",)),
    "the label under another name": ("late", CLICKED.cast(pl.Float64), (*KNOWS, "1.0000")),
    "the label as a truth": ("late", CLICKED, KNOWS),
    "the label turned round": ("late", ~CLICKED, KNOWS),
    "the label with noise": ("late", CLICKED + NOISE / 2, KNOWS),
    "the label in codes": ("late", 3 * (NOISE * 4).floor() % 7 + 20 * CLICKED, KNOWS),
    "codes without order": ("late", pl.when(CLICKED).then(1).otherwise((NOISE > 0.5) * 2), KNOWS),
    "dwelling, null where not clicked": ("late", pl.when(CLICKED).then(NOISE), KNOWS),
    "dwelling, NaN where not clicked": (
        "late",
        pl.when(CLICKED).then(NOISE).otherwise(float("nan")),
        KNOWS,
    ),
    "dwelling, 0 where not clicked": ("late", pl.when(CLICKED).then(NOISE + 1).otherwise(0), KNOWS),
    "a flag of missing values alone": ("late", pl.when(CLICKED).then(1.0), KNOWS),
    "null exactly where clicked": ("late", pl.when(~CLICKED).then(NOISE), KNOWS),
    "an order that few clicks have": (
        "late",
        pl.when("purchased").then(NOISE),
        (*KNOWS, "rows that have another value than the commonest are positive"),
    ),
    "an amount that few clicks have": (
        "late",
        pl.when("purchased").then(NOISE + 1).otherwise(0),
        (*KNOWS, "another value than the commonest"),
    ),
}

CASES = [
    Case(
        f"leaks: {name}",
        TRAIN.format(names=f'"{column}"'),
        says,
        log(late=expression) if expression is not None else lambda folder: None,
    )
    for name, (column, expression, says) in REFUSED.items()
]
CASES += [
    Case(
        "leaks: an outcome beside an honest column",
        TRAIN.format(names='"dwell","purchased"'),
        ("'purchased' is an outcome",),
    ),
    Case(
        "leaks: an outcome handed over",
        'ranking.handover.__main__ shop --to fuxictr --out new --feature context=["carted"]',
        ("'carted' is an outcome",),
    ),
    Case(
        "leaks: an outcome by any way",
        'ranking.ways.__main__ shop --items items --out new --feature context=["clicked"]',
        ("'clicked' is an outcome",),
    ),
    Case(
        "leaks: trust in an outcome",
        fit(context=("clicked",), trusted_context=("clicked",)),
        ("'clicked' is an outcome",),
    ),
    Case(
        "leaks: trust in a column that is not read",
        'ranking.train shop --out new --feature trusted_context=["dwell"]',
        ("trusted_context names 'dwell', which is not read",),
    ),
    Case(
        "leaks: missing values that know, filled by the mean",
        fit(context=("late",), missing_context="mean"),
        KNOWS,
        log(late=pl.when(CLICKED).then(NOISE)),
    ),
    Case(
        "leaks: a column that knows purchases",
        fit(label="purchased", context=("late",)),
        ("'late' knows purchased in the train period",),
        log(late=pl.col("purchased") + NOISE / 2),
    ),
    Case(
        "leaks: a position that puts clicks first, read",
        "ranking.train shop --out new --feature use_position=true",
        ("'position' knows clicked", "its order within requests", "turn use_position off"),
        log(position=(~CLICKED).cast(pl.Int32).rank("ordinal").over("request_id").cast(pl.Int32)),
    ),
    Case(
        "leaks: a position that puts clicks last, read",
        fit(use_position=True),
        ("'position' knows clicked", 'trusted_context=["position"]'),
        log(position=CLICKED.cast(pl.Int32).rank("ordinal").over("request_id").cast(pl.Int32)),
    ),
    Case(
        "leaks: a position that is the label",
        fit(use_position=True),
        ("'position' knows clicked", "AUC 1.0000"),
        log(position=CLICKED.cast(pl.Int32)),
    ),
    Case(
        "leaks: the whole log doubled",
        CHECK,
        ("impressions.request_id", "of 1,800 requests 900 (50.0%)", "1000000 of 0", "keep one"),
        change("impressions", again),
    ),
    Case(
        "leaks: a day of the log doubled",
        CHECK,
        ("impressions.request_id", "are another one under a new id"),
        change("impressions", lambda frame: again(frame, below=100)),
    ),
    Case(
        "leaks: a test period without clicks",
        CHECK,
        ("impressions.clicked", "of the test period, so AUC is undefined there"),
        log(
            clicked=CLICKED & (pl.col("time") < pl.datetime(2026, 1, 8)),
            purchased=pl.lit(False),
        ),
    ),
    Case(
        "leaks: a validation period without clicks",
        CHECK,
        ("impressions.clicked", "of the validation period, so AUC is undefined there"),
        log(
            clicked=CLICKED
            & ~pl.col("time").is_between(pl.datetime(2026, 1, 7), pl.datetime(2026, 1, 8)),
            purchased=pl.lit(False),
        ),
    ),
]

TOLD = {
    "a column that knows": (
        log(late=CLICKED.cast(pl.Float64)),
        ("impressions.late: knows clicked in the train period", "AUC 1.0000"),
    ),
    "a text that only purchases have": (
        log(order=pl.when("purchased").then(pl.format("order {}", "request_id"))),
        ("impressions.order: knows clicked", "another value than the commonest"),
    ),
    "an item's mean": (
        log(ctr=CLICKED.mean().over("item_id")),
        ("impressions.ctr: is the item's mean of clicked with the rows after the cut",),
    ),
    "a user's mean": (
        log(ctr=CLICKED.mean().over("user_id")),
        ("impressions.ctr: is the user's mean of clicked with the rows after the cut",),
    ),
    "pages of train in test": (
        change("impressions", lambda frame: again(frame, days=8.5, below=60)),
        ("pages of the test period with a click", "repeat a page of train"),
    ),
    "three pages twice": (
        change("impressions", lambda frame: again(frame, below=3)),
        ("of 903 requests 3 (0.3%) are another one under a new id",),
    ),
    "users only in test": (
        log(
            user_id=pl.col("user_id") + 1_000 * (pl.col("time") >= pl.datetime(2026, 1, 8)),
            search_id=pl.lit(None, pl.Int64),
        ),
        ("impressions.user_id: of 40 users of the test period 40 (100.0%",),
    ),
    "pictures across the cut": (
        change(
            "items",
            lambda frame: frame.with_columns(
                image=pl.when(LATE).then(pl.col("image").shift(96)).otherwise("image")
            ),
        ),
        ("items.image: of 24 items listed after the cut 24 (100.0%)", "such as 672 of 0"),
    ),
    "titles across the cut": (
        change(
            "items",
            lambda frame: frame.with_columns(
                title=pl.when(LATE).then(pl.col("title").shift(96)).otherwise("title")
            ),
        ),
        ("items.title: of 24 items listed after the cut 24 (100.0%)", "such as 672 of 0"),
    ),
    "a search by an item's own picture": (
        lambda folder: change(
            "searches",
            lambda frame: frame.with_columns(
                query_image=pl.when(pl.col("search_id") < 10).then(
                    pl.lit(pl.read_parquet(folder / "shop" / "items.parquet")["image"][5])
                ).otherwise("query_image")
            ),
        )(folder),
        ("searches.query_image: of ", "are an item's own, byte by byte", "which is item 35's"),
    ),
    "a position that puts clicks first": (
        log(position=(~CLICKED).cast(pl.Int32).rank("ordinal").over("request_id").cast(pl.Int32)),
        ("impressions.position: encodes clicked in the train period",),
    ),
    "clicks alone": (
        log(clicked=pl.lit(True)),
        ("impressions.clicked: is true in all", "period, so AUC is undefined there"),
    ),
}  # fmt: skip

CASES += [
    Case(f"leaks: {name}, told", CHECK, (*says, "warning: ", "ok shop"), damage, told=True)
    for name, (damage, says) in TOLD.items()
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_leak_is_refused_or_told(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)


def test_the_good_workspace_has_nothing_to_be_told(workspace):
    assert leak_warnings(workspace / "shop") == []
    shop = Shop.open(workspace / "shop")
    config = FeatureConfig(context=("dwell",), use_position=True, counters="none")
    assert RankingTables.build(shop, config).num_context == 2
