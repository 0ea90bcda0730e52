"""Each leak is found where it is planted, with its numbers, and nowhere else."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from moon_rec.shop import Shop, ShopWriter
from moon_rec.shop.leaks import leak_warnings
from moon_rec.shop.leaks.knowledge import position_knowledge
from moon_rec.shop.simulate import SimulationConfig, simulate_shop
from moon_rec.shop.validation import validate_folder
from ranking.metrics import auc

START = datetime(2026, 1, 1)
CUT, TEST = START + timedelta(days=12), START + timedelta(days=16)
ITEMS, USERS, REQUESTS, SIZE = 60, 30, 600, 5


def frames(seed=0):
    """Twenty days of pages of five; the last six items are listed after the cut; every third request has a search."""
    random = np.random.default_rng(seed)
    days = np.sort(random.uniform(0, 20, REQUESTS))
    rows = []
    for request, day in enumerate(days):
        shown = random.permutation(ITEMS - 6 if day < 13 else ITEMS)[:SIZE]
        user = random.integers(USERS)
        for place, item in enumerate(shown):
            rows.append((request, user, item, day, place, random.random() < 0.1 + item / 200))
    request, user, item, day, place, clicked = (np.array(each) for each in zip(*rows, strict=True))
    times = [START + timedelta(days=float(each)) for each in day]
    impressions = pl.DataFrame(
        {
            "request_id": request,
            "search_id": pl.Series(request).set(pl.Series(request % 3 > 0), None),
            "user_id": user,
            "item_id": item,
            "time": times,
            "position": place,
            "clicked": clicked,
            "carted": clicked & (item % 2 == 0),
            "purchased": clicked & (item % 4 == 0),
        }
    )
    first = impressions.filter(pl.col("position") == 0, pl.col("search_id").is_not_null())
    searches = first.select("search_id", "user_id", "time").with_columns(
        query_text=pl.lit("any words"),
        query_image=pl.format("photo {}", "search_id").cast(pl.Binary),
    )
    number = np.arange(ITEMS)
    items = pl.DataFrame(
        {
            "item_id": number,
            "spu_id": number,
            "title": [f"thing {each}" for each in number],
            "category": ["all"] * ITEMS,
            "attributes": [[]] * ITEMS,
            "price": 1.0 + number % 7,
            "image": [f"picture {each}".encode() for each in number],
            "listed_at": [START if each < ITEMS - 6 else CUT for each in number],
        },
        schema_overrides={
            "attributes": pl.List(pl.Struct({"name": pl.String, "value": pl.String}))
        },
    )
    return {"items": items, "searches": searches, "impressions": impressions}


def means(shown, key, label="clicked", until=None):
    """A target mean of each row's key."""
    rows = shown if until is None else shown.filter(pl.col("time") < until)
    groups = rows.group_by(key).agg(mean=pl.col(label).mean())
    return shown.join(groups, on=key, how="left", maintain_order="left")["mean"]


def clicked_by_item(shown):
    """Outcomes that follow the item closely."""
    clicked = pl.Series(np.random.default_rng(3).random(shown.height)) < pl.col("item_id") / ITEMS
    return shown.with_columns(clicked=clicked, carted=pl.lit(False), purchased=pl.lit(False))


def smoothed(shown, key):
    groups = shown.group_by(key).agg(sum=pl.col("clicked").sum() + 2.0, number=pl.len() + 10)
    joined = shown.join(groups, on=key, how="left", maintain_order="left")
    return 3.0 - 2.0 * joined["sum"] / joined["number"]


def without_itself(shown, key):
    own = pl.col("clicked").cast(pl.Float64)
    return shown.select((own.sum().over(key) - own) / (pl.len().over(key) - 1)).to_series()


def copied(shown, to, first=40, share=1.0):
    """The first pages again, under new request ids, `to` later; or single rows of them, each on a page of its own."""
    pages = shown.filter(pl.col("request_id") < first)
    ids = pl.col("request_id") + 10_000
    if share < 1:
        pages = pages.filter(pl.int_range(pl.len()) % round(1 / share) == 0)
        ids = pl.int_range(pl.len()) + 10_000
    times = pl.col("time") + to
    again = pages.with_columns(request_id=ids, search_id=pl.lit(None, pl.Int64), time=times)
    return pl.concat([shown, again.select(shown.columns)], how="vertical_relaxed")


def with_log(**columns):
    """A planted change of the impressions: columns made of them."""

    def change(tables):
        shown = tables["impressions"]
        for name, make in columns.items():
            made = make(shown)
            shown = shown.with_columns(
                (made if isinstance(made, pl.Expr) else pl.lit(made)).alias(name)
            )
        return {**tables, "impressions": shown}

    return change


def log(make):
    return lambda tables: {**tables, "impressions": make(tables["impressions"])}


def catalogue(**columns):
    return lambda tables: {**tables, "items": tables["items"].with_columns(**columns)}


LATE = pl.col("item_id") >= ITEMS - 6
RNG = np.random.default_rng(1)

LEAKS = {
    "a column that knows the label": (
        with_log(dwell=lambda f: pl.Series(f["clicked"].to_numpy() * RNG.exponential(size=f.height))),
        ["impressions.dwell: knows clicked in the train period", "AUC 1.0000"],
    ),
    "a text that only purchases have": (
        with_log(order=lambda f: pl.when("purchased").then(pl.format("order {}", "request_id"))),
        ["impressions.order: knows clicked", "rows that have another value than the commonest are"],
    ),
    "an item's mean": (
        with_log(ctr=lambda f: means(f, "item_id")),
        ["impressions.ctr: is the item's mean of clicked with the rows after the cut"],
    ),
    "a user's mean of purchases": (
        with_log(loyalty=lambda f: means(f, "user_id", "purchased")),
        ["impressions.loyalty: is the user's mean of purchased", "squared correlation 1.0000 over"],
    ),
    "a smoothed mean, turned round and scaled": (
        with_log(score=lambda f: smoothed(f, "item_id")),
        ["impressions.score: is the item's mean smoothed by 10 rows of clicked"],
    ),
    "a mean without the row itself": (
        with_log(rate=lambda f: without_itself(f, "user_id")),
        ["impressions.rate: knows clicked in the train period: its mean label by value"],
    ),
    "a mean in the catalogue": (
        lambda t: {
            **t,
            "items": t["items"].join(
                t["impressions"].group_by("item_id").agg(ctr=pl.col("clicked").mean()),
                on="item_id",
                how="left",
            ),
        },
        ["items.ctr: is the item's mean of clicked with the rows after the cut"],
    ),
    "pages of train in test": (
        log(lambda f: copied(f, timedelta(days=16.5))),
        ["impressions: of ", "pages of the test period with a click", "repeat a page of train"],
    ),
    "single rows of train in test": (
        log(lambda f: copied(f, timedelta(days=16.5), 250, 0.1)),
        ["clicked rows of the test period", "rows of train in all but their time and request"],
    ),
    "one page twice": (
        log(lambda f: copied(f, timedelta(0), 3)),
        ["impressions.request_id: of 603 requests 3 (0.5%) are another one under a new id, such as 10000 of 0"],
    ),
    "users only in test": (
        with_log(
            user_id=lambda f: pl.col("user_id") + 100 * (pl.col("time") >= TEST),
            search_id=lambda f: pl.lit(None, pl.Int64),
        ),
        ["impressions.user_id: of 30 users of the test period 30 (100.0%, 100.0% of its rows)"],
    ),
    "pictures across the cut": (
        catalogue(image=pl.when(pl.col("item_id") == 57).then(pl.col("image").get(3)).otherwise("image")),
        ["items.image: of 6 items listed after the cut 1 (16.7%)", "such as 57 of 3"],
    ),
    "titles across the cut": (
        catalogue(title=pl.when(LATE).then(pl.format("thing {}", pl.col("item_id") - 50)).otherwise("title")),
        ["items.title: of 6 items listed after the cut 6 (100.0%)", "such as 54 of 4"],
    ),
    "a search by an item's own picture": (
        lambda t: {
            **t,
            "searches": t["searches"].with_columns(
                query_image=pl.when(pl.col("search_id") < 30)
                .then(pl.lit(b"picture 7"))
                .otherwise("query_image")
            ),
        },
        ["searches.query_image: of 200 pictures 10 (5.0%)", "search 0, which is item 7's"],
    ),
    "clicked first": (
        with_log(
            position=lambda f: (~pl.col("clicked")).cast(pl.Int32).rank("ordinal").over("request_id")
        ),
        ["impressions.position: encodes clicked in the train period: its order within requests"],
    ),
    "a test period of clicks alone": (
        with_log(clicked=lambda f: pl.col("clicked") | (pl.col("time") >= TEST)),
        ["impressions.clicked: is true in all", "of the test period, so AUC is undefined there"],
    ),
}  # fmt: skip


def write(tables, out) -> Shop:
    with ShopWriter(
        out, name="made", source="test", is_simulated=False, cut_time=CUT, test_time=TEST
    ) as writer:
        for name, frame in tables.items():
            writer.write(name, frame)
    return Shop.open(out)


def problems(shop):
    """Of the log; these pictures are no pictures."""
    return [each for each in validate_folder(shop.path) if "image" not in (each.column or "")]


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_found_and_no_other(tmp_path, name):
    plant, pieces = LEAKS[name]
    shop = write(plant(frames()), tmp_path / "shop")
    found = [str(each) for each in leak_warnings(shop)]
    for piece in pieces:
        assert piece in found[0], found[0]
    if name == "a mean without the row itself":  # it tells the label, too
        assert "rate: is the user's mean without the row itself of clicked" in found.pop()
    assert len(found) == 1, found
    assert problems(shop) == []


HONEST = {
    "nothing planted": lambda tables: tables,
    "an item's mean of train": with_log(ctr=lambda f: means(f, "item_id", until=CUT)),
    "an item's rounded mean of train, which few later rows hardly change": log(
        lambda f: clicked_by_item(f).filter(
            (pl.col("time") < CUT) | (pl.col("request_id") % 16 == 0)
        ).pipe(lambda few: few.with_columns(ctr=means(few, "item_id", until=CUT).round(2)))
    ),
    "a user's mean of train": with_log(ctr=lambda f: means(f, "user_id", until=CUT)),
    "a strong feature": with_log(
        score=lambda f: pl.Series(f["clicked"].to_numpy() + RNG.normal(size=f.height))
    ),
    "a number of its own for each item": with_log(quality=lambda f: (pl.col("item_id") * 37) % 60),
    "a few pages alike by chance": log(
        lambda f: f.with_columns(item_id=pl.col("item_id") % 54).unique(["request_id", "item_id"])
    ),
    "some new users": with_log(
        user_id=lambda f: pl.col("user_id")
        + 100 * ((pl.col("time") >= TEST) & (pl.col("user_id") < 12)),
        search_id=lambda f: pl.lit(None, pl.Int64),
    ),
    "variants of a product": catalogue(
        spu_id=pl.when(LATE).then(pl.col("item_id") - 50).otherwise("spu_id"),
        image=pl.when(LATE)
        .then(pl.format("picture {}", pl.col("item_id") - 50).cast(pl.Binary))
        .otherwise("image"),
    ),
    "no picture and no title": catalogue(
        image=pl.lit(None, pl.Binary), title=pl.lit("")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_nothing_is_told_of_an_honest_shop(tmp_path, name):
    shop = write(HONEST[name](frames()), tmp_path / "shop")
    assert [str(each) for each in leak_warnings(shop)] == []
    assert problems(shop) == []


def test_nothing_is_told_of_the_simulated_shop(tmp_path):
    config = SimulationConfig(num_users=60, num_requests=500, num_items=200)
    assert leak_warnings(simulate_shop(config, tmp_path / "shop")) == []


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (
            log(lambda f: copied(f, timedelta(0), REQUESTS)),
            "requests 600 (50.0%) are another one under a new id, such as 10000 of 0",
        ),
        (log(lambda f: copied(f, timedelta(0), 7)), "of 607 requests 7 (1.2%) are another one"),
        (
            with_log(
                clicked=lambda f: pl.col("clicked") & (pl.col("time") < TEST),
                carted=lambda f: pl.lit(False),
                purchased=lambda f: pl.lit(False),
            ),
            "rows of the test period, so AUC is undefined there",
        ),
    ],
    ids=["the whole log doubled", "one part in a hundred doubled", "a test period without clicks"],
)
def test_a_doubled_log_and_a_silent_period_are_broken_rules(tmp_path, plant, message):
    (found,) = problems(write(plant(frames()), tmp_path / "shop"))
    assert message in str(found)


def test_the_order_within_requests_is_the_auc_of_each_weighed_by_its_pairs():
    """Against the literal mean over requests, positions with ties."""
    noise = pl.Series(np.random.default_rng(2).integers(0, 3, REQUESTS * SIZE))
    shown = frames()["impressions"]
    # far apart from request to request, and clicked rows lower: only the order within one tells
    rows = shown.with_columns(position=noise - pl.col("clicked") + 7 * pl.col("request_id"))
    total = pairs = 0.0
    for _, request in rows.group_by("request_id"):
        labels = request["clicked"].to_numpy()
        number = labels.sum() * (~labels).sum()
        if number:
            total += number * float(auc(labels, -request["position"].to_numpy()))
            pairs += number
    found = position_knowledge(rows, "clicked")
    assert found.reading == "its order within requests"
    assert found.auc == pytest.approx(total / pairs, abs=1e-12)
    assert found.is_believable


def test_a_warning_names_the_owners_own_ids(make_shop):
    """All pictures of the hand-made shop are one: item 16, listed after the cut, has that of item 11."""
    path = make_shop()
    (path / "ids").mkdir()
    for kind, numbers in (("item", range(11, 17)), ("request", range(100, 110))):
        own = pl.DataFrame({"id": list(numbers), "own": [f"{kind}-0{one}" for one in numbers]})
        own.write_parquet(path / "ids" / f"{kind}.parquet")
    told = " ".join(map(str, leak_warnings(path)))
    assert "such as item-016 of item-011" in told
    assert "such as that of search request-0101, which is item item-011's" in told
