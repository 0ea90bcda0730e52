"""The optional table `events`: read by histories, exactly; kept from everything that is said of impressions."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moon_rec.errors import ShopError
from moon_rec.files import digest_file, digest_of
from moon_rec.shop import Histories, Shop, ShopWriter
from moon_rec.shop.description import describe
from moon_rec.shop.engagement import engagements, exposure_counts
from moon_rec.shop.leaks import leak_warnings
from moon_rec.shop.manifest import Manifest
from moon_rec.shop.readers.tables import TablesConfig, import_tables
from moon_rec.shop.schema import FILES
from moon_rec.shop.validation import validate_folder

from .conftest import CUT, START, TEST, impressions, items, searches

KINDS = ("clicked", "carted", "purchased")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def events(rows) -> pl.DataFrame:
    """Events of (user_id, item_id, time, strongest kind)."""
    frame = pl.DataFrame(
        rows,
        schema={"user_id": pl.Int64, "item_id": pl.Int64, "time": pl.Datetime("us"), "kind": pl.String},
        orient="row",
    )  # fmt: skip
    return frame.select(
        "user_id",
        "item_id",
        "time",
        clicked=pl.lit(True),
        carted=pl.col("kind") == "carted",
        purchased=pl.col("kind") == "purchased",
    )


FEW = events(
    [
        (1, 12, START + HOUR, "clicked"),
        (1, 15, START + 7 * DAY, "purchased"),
        (2, 11, START + DAY, "carted"),
        (3, 14, START + 9 * DAY, "clicked"),
    ]
)


def write(out, log: pl.DataFrame, acts: pl.DataFrame | None) -> Shop:
    with ShopWriter(
        out, name="hand", source="by hand", is_simulated=False, cut_time=CUT, test_time=TEST
    ) as writer:
        writer.write("items", items().with_columns(listed_at=pl.lit(START)))
        writer.write("searches", searches())
        writer.write("impressions", log)
        if acts is not None:
            writer.write("events", acts)
    return Shop.open(out)


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[Shop, Shop]:
    """A shop without and with the table."""
    folder = tmp_path_factory.mktemp("shops")
    return write(folder / "plain", impressions(), None), write(folder / "with", impressions(), FEW)


def test_histories_hold_events_in_order_of_time(both):
    plain, shop = (Histories.of(each) for each in both)
    at = np.array([np.datetime64(START + 20 * DAY)])
    found = [each.item_ids[slice(*(int(p[0]) for p in each.before(np.array([1]), at, 50)))].tolist() for each in (plain, shop)]  # fmt: skip
    assert found[0] == [11, 14, 12, 16]
    assert found[1] == [12, 11, 14, 12, 15, 16]


acts_of_few = st.lists(
    st.tuples(
        st.integers(1, 3), st.integers(11, 15), st.integers(0, 5), st.sampled_from(KINDS)
    ),
    max_size=14,
    unique_by=lambda act: act[:3],
)  # fmt: skip
pages = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(0, 5),
        st.lists(
            st.tuples(st.integers(11, 15), st.sampled_from(("nothing", *KINDS))),
            min_size=1,
            max_size=3,
            unique_by=lambda row: row[0],
        ),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda page: page[:2],
)


def literal(shown, acts, kind, user, hour, length):
    """Walk through all acts of the user before the hour, an act that was written twice once, newest last."""
    found = []
    for then in range(hour):
        clicked = []
        for page in shown:
            if page[0] == user and page[1] == then:
                for item, outcome in page[2]:
                    if outcome == kind or (kind == "clicked" and outcome != "nothing"):
                        clicked.append(item)
        beside = sorted(
            act[1]
            for act in acts
            if act[0] == user and act[2] == then and kind in ("clicked", act[3])
        )
        found += clicked + [item for item in beside if item not in clicked]
    return found[max(len(found) - length, 0) :]


@settings(max_examples=20)
@given(pages, acts_of_few, st.sampled_from(KINDS), st.integers(0, 6))
def test_histories_are_the_literal_loop(tmp_path_factory, shown, acts, kind, length):
    rows = [
        {
            "request_id": number,
            "user_id": user,
            "item_id": item,
            "time": START + hour * HOUR,
            "position": place,
            "clicked": outcome != "nothing",
            "carted": outcome == "carted",
            "purchased": outcome == "purchased",
        }
        for number, (user, hour, page) in enumerate(shown)
        for place, (item, outcome) in enumerate(page)
    ]
    frame = events([(user, item, START + hour * HOUR, what) for user, item, hour, what in acts])
    shop = write(
        tmp_path_factory.mktemp("few") / "shop", pl.DataFrame(rows), frame if acts else None
    )
    histories = Histories.of(shop, kind)
    users, hours = (each.ravel() for each in np.meshgrid(np.arange(1, 5), np.arange(7)))
    times = np.array([np.datetime64(START + int(hour) * HOUR) for hour in hours])
    starts, ends = histories.before(users, times, length)
    for user, hour, start, end in zip(users, hours, starts, ends, strict=True):
        wanted = literal(shown, acts, kind, user, hour, length)
        assert histories.item_ids[start:end].tolist() == wanted


def test_a_shop_without_the_table_has_the_digest_that_it_had(both):
    plain, shop = both
    names = ("items", "searches", "impressions")
    assert plain.events is None and not plain.has("events")
    assert plain.digest == digest_of(
        {
            "schema_version": 1,
            "tables": {name: digest_file(plain.path / FILES[name]) for name in names},
            "cut_time": CUT.isoformat(),
            "test_time": TEST.isoformat(),
        }
    )
    for name in names:  # the other tables do not know of it
        assert (plain.path / FILES[name]).read_bytes() == (shop.path / FILES[name]).read_bytes()
    assert shop.digest != plain.digest


def test_the_table_is_in_manifest_opener_and_periods(both):
    _, shop = both
    manifest = Manifest.read(shop.path)
    assert manifest.rows["events"] == 4
    assert manifest.fingerprints["events"] == digest_file(shop.path / "events.parquet")
    assert shop.events is not None
    counts = [
        shop.in_period(shop.events, period).collect().height
        for period in ("train", "validation", "test")
    ]
    assert counts == [2, 1, 1]
    assert validate_folder(shop.path) == []


def test_a_changed_file_is_refused(both, tmp_path):
    shop = write(tmp_path / "shop", impressions(), FEW)
    (shop.path / "events.parquet").write_bytes((shop.path / "searches.parquet").read_bytes())
    with pytest.raises(ShopError, match="events"):
        Shop.open(shop.path)


def test_nothing_said_of_impressions_changes(both):
    plain, shop = both
    one, other = describe(plain), describe(shop)
    assert one.counts.events is None and other.counts.events == shop.events.collect().height
    assert one.counts.model_copy(update={"events": other.counts.events}) == other.counts
    for name in ("funnels", "places", "coverage", "queries", "pictures"):
        assert getattr(one, name) == getattr(other, name), name
    of_histories = {"with_history": None, "median_history": None}
    pairs = [*zip(one.periods, other.periods, strict=True)]
    pairs += zip(one.days.steps, other.days.steps, strict=True)
    for before, after in pairs:
        assert before.model_copy(update=of_histories) == after.model_copy(update=of_histories)
    for columns in (one.drift.columns, other.drift.columns):
        assert any(each.column == "history at the impression" for each in columns)
    assert [each for each in one.drift.columns if "history" not in each.column] == [
        each for each in other.drift.columns if "history" not in each.column
    ]
    assert exposure_counts(plain).collect().equals(exposure_counts(shop).collect())
    for kind in KINDS:
        for period in ("train", "validation", "test"):
            found = [engagements(each, kind, period).collect() for each in both]
            assert found[0].equals(found[1])


def test_a_doubled_act_is_told_and_counted_once(tmp_path, capsys):
    clicked = impressions().row(0, named=True)
    again = events([(clicked["user_id"], clicked["item_id"], clicked["time"], "clicked")])
    shop = write(tmp_path / "shop", impressions(), pl.concat([FEW, again]))
    assert validate_folder(shop.path) == []
    said = capsys.readouterr().err
    assert "events.time row 4" in said and "histories count it once" in said
    plain = Histories.of(write(tmp_path / "plain", impressions(), FEW))
    assert Histories.of(shop).item_ids.tolist() == plain.item_ids.tolist()


def test_import_tables_reads_them_by_the_same_rules(tmp_path):
    shop = write(tmp_path / "shop", impressions(), None)
    folder = tmp_path / "tables"
    folder.mkdir()
    for name in ("items", "searches", "impressions"):
        pl.read_parquet(shop.path / FILES[name]).write_parquet(folder / FILES[name])
    odd = FEW.sort("time", descending=True).with_columns(
        pl.col("user_id").cast(pl.UInt16),
        pl.col("time").dt.epoch("s"),
        pl.col("clicked").cast(pl.Int8),
        source=pl.lit("app"),
    )
    odd.write_parquet(folder / "events.parquet")
    config = TablesConfig(time_unit="s", cut_time=CUT, test_time=TEST)
    found = import_tables(folder, tmp_path / "new", config)
    assert found.events is not None
    assert found.events.drop("source").sort("time").collect().equals(FEW.sort("time"))
    assert found.events.collect()["source"].unique().to_list() == ["app"]


def test_events_that_are_the_click_itself_a_moment_early_are_told(tmp_path):
    random = np.random.default_rng(0)
    number = 400
    rows = pl.DataFrame(
        {
            "request_id": np.arange(number),
            "user_id": random.integers(1, 30, number),
            "item_id": random.integers(11, 16, number),
            "time": [START + float(day) * DAY for day in np.sort(random.uniform(0.1, 10, number))],
            "position": 0,
            "clicked": random.random(number) < 0.4,
        }
    ).with_columns(carted=pl.lit(False), purchased=pl.lit(False))
    keys = ["user_id", "item_id", "time", *KINDS]
    own = rows.filter("clicked").select(keys)
    for moved, is_told in ((timedelta(seconds=-1), True), (timedelta(), False), (HOUR, False)):
        acts = own.with_columns(pl.col("time") + moved)
        shop = write(tmp_path / f"by {moved.total_seconds()}", rows, acts)
        told = [str(each) for each in leak_warnings(shop) if each.table == "events"]
        assert bool(told) == is_told, told
    assert "last event of the same item" in str(leak_warnings(Shop.open(tmp_path / "by -1.0")))
