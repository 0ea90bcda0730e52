"""The door for one's own log: what is wrong is told by file, row, column, value and how to mend it."""

import gzip
import zipfile
from datetime import datetime, timedelta

import polars as pl
import pytest

from tests.bad_inputs.harness import Case, check

IMPORT = "moon_rec shop import interactions"
START = datetime(2024, 3, 1)


def good() -> pl.DataFrame:
    """Pages of two items, one of them clicked, as texts."""
    rows = []
    for page in range(30):
        time = (START + timedelta(hours=page)).strftime("%Y-%m-%d %H:%M:%S")
        for place in range(2):
            item = f"i{(page + place * 3) % 7}"
            rows.append((f"u{page % 4}", item, time, str(int(place == page % 2)), str(place)))
    names = ["user", "item", "time", "clicked", "position"]
    return pl.DataFrame(rows, schema=names, orient="row")


def log(file="log.csv", row=None, further=None, without=None, text=None, **values):
    """Write the log with values of one row changed, a column more or less, or the text altered."""

    def damage(folder):
        frame = good()
        for name, value in values.items():
            column = frame[name].to_list()
            column = (
                [value] * len(column) if row is None else [*column[:row], value, *column[row + 1 :]]
            )
            frame = frame.with_columns(pl.Series(name, column, dtype=pl.String))
        if further is not None:
            frame = frame.with_columns(**{name: pl.Series(each) for name, each in further.items()})
        frame = frame.drop(without or [])
        written = frame.write_csv()
        (folder / file).write_text(text(written) if text else written)

    return damage


def items(content, **options):
    """A good log, and a table of items with that text."""

    def damage(folder):
        log(**options)(folder)
        (folder / "items.csv").write_text(content)

    return damage


def content(name, data, also_log=True):
    """A file of that name with those bytes, beside a good log."""

    def damage(folder):
        if also_log:
            log()(folder)
        (folder / name).write_bytes(data)

    return damage


def frame(name, table):
    """A Parquet file."""
    return lambda folder: table.write_parquet(folder / name)


def damaged_zip(folder):
    items("item,image\ni1,a.png\n")(folder)
    with zipfile.ZipFile(folder / "pictures.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"x" * 5000)
    data = bytearray((folder / "pictures.zip").read_bytes())
    data[40] ^= 0xFF
    (folder / "pictures.zip").write_bytes(bytes(data))


def two_headers(folder):
    (folder / "logs").mkdir()
    log("logs/a.csv")(folder)
    log("logs/b.csv", text=lambda text: text.replace("user,item", "item,user"))(folder)


def two_forms(folder):
    (folder / "logs").mkdir()
    log("logs/a.csv")(folder)
    good().write_parquet(folder / "logs/b.parquet")


def out_there(folder):
    log()(folder)
    (folder / "new").mkdir()


def numbers(**columns):
    """A log of typed columns."""
    table = good().with_columns(pl.col("time").str.to_datetime(), pl.col("clicked").cast(pl.Int8))
    return frame("log.parquet", table.with_columns(**columns))


GOOD_ITEMS = "item,title,price\n" + "".join(f"i{i},Thing {i},{i}.5\n" for i in range(7))
PLAIN = f"{IMPORT} log.csv --out new"
BESIDE = f"{IMPORT} log.csv --items items.csv --out new"
TYPED = f"{IMPORT} log.parquet --out new"

CASES = [
    Case("interactions: no file", PLAIN, ("no file at log.csv", "name a file")),
    Case("interactions: empty file", PLAIN, ("log.csv is empty",), log(text=lambda _: "")),
    Case("interactions: header alone", PLAIN, ("log.csv has no rows",), log(text=lambda t: t.splitlines()[0] + "\n")),
    *(
        Case(
            f"interactions: no column of {role}",
            PLAIN,
            ("log.csv: no column is the " + role, f"--set log.{role}=NAME", "it has"),
            log(without=[role]),
        )
        for role in ("user", "item", "time")
    ),
    Case("interactions: two columns missing at once", PLAIN, ("no column is the user, nor the time",), log(without=["user", "time"])),
    Case("interactions: named column absent", f"{PLAIN} --set log.user=who", ("no column 'who' (log.user)", "it has user, item"), log()),
    Case("interactions: no value in a typed column of users", TYPED, ("log.parquet: user row 0: None is empty (60 rows do)", "--set incomplete=dropped"), frame("log.parquet", good().with_columns(user=pl.lit(None), time=pl.col("time").str.to_datetime()))),
    Case("interactions: nothing left when rows are dropped", f"{TYPED} --set incomplete=dropped", ("log.parquet has no rows with user, item and time",), frame("log.parquet", good().with_columns(user=pl.lit(None), time=pl.col("time").str.to_datetime()))),
    Case("interactions: times without a unit", PLAIN, ("log.csv: time row 0: '1709251200' is no time", "60 rows do", '"s" it is 2024-03-01'), log(time="1709251200")),
    Case("interactions: times in another unit", f"{PLAIN} --set time_unit=s", ("time row 0: 1709251200000 as s since 1970", '"ms" it is 2024-03-01'), log(time="1709251200000")),
    Case("interactions: one time is none", PLAIN, ("log.csv: time row 7: 'soon' is no time", "ISO 8601"), log(row=7, time="soon")),
    Case("interactions: times by day first", PLAIN, ("time row 0: '01.03.2024 10:00' is no time", "log.time_format"), log(time="01.03.2024 10:00")),
    Case("interactions: another format than said", f"{PLAIN} --set log.time_format=%d/%m/%Y", ("time row 0: '2024-03-01 00:00:00' is no time", "log.time_format is '%d/%m/%Y'"), log()),
    Case("interactions: a unit for texts", f"{PLAIN} --set time_unit=s", ("time row 0: '2024-03-01 00:00:00' is no number", "leave time_unit out"), log()),
    Case("interactions: a year far away", PLAIN, ("is outside the years 1990 to 2100",), log(row=2, time="2500-01-01 00:00:00")),
    Case("interactions: an unknown zone", f"{PLAIN} --set log.time_zone=Europe/Nowhere", ("'Europe/Nowhere' is no time zone", "such as"), log()),
    Case("interactions: an hour that clocks skip", f"{PLAIN} --set log.time_zone=Europe/Berlin", ("time row 5: '2024-03-31 02:30:00' is no time",), log(row=5, time="2024-03-31 02:30:00")),
    *(
        Case(
            f"interactions: {role} empty",
            PLAIN,
            (f"log.csv: {role} row 4:", "is empty", "--set incomplete=dropped"),
            log(row=4, **{role: None}),
        )
        for role in ("user", "item", "time")
    ),
    Case("interactions: empty rows dropped", f"{PLAIN} --set incomplete=dropped", ("1 rows of 60 have no user and are left out",), log(row=4, user=None), told=True),
    Case("interactions: an outcome that is neither", PLAIN, ("clicked row 9: 'maybe' is neither true nor false",), log(row=9, clicked="maybe")),
    Case("interactions: an outcome that is empty", PLAIN, ("log.csv: 1 rows have nothing in clicked (clicked): they count as false",), log(row=9, clicked=None), told=True),
    Case("interactions: ratings without a threshold", PLAIN, ("clicked row 0: '4' is neither true nor false", "60 rows do", "clicked_at_least=4"), log(clicked="4")),
    Case("interactions: a threshold of no number", f"{PLAIN} --set clicked_at_least=4", ("clicked row 2: 'five' is no number",), log(row=2, clicked="five")),
    Case("interactions: a purchase without a click", f"{PLAIN} --set log.purchased=bought", ("purchased", "is without a click"), log(further={"bought": ["1"] * 60})),
    Case("interactions: no click at all", PLAIN, ("is false in all", "train period"), log(clicked="0")),
    Case("interactions: a place that is no number", PLAIN, ("position row 1: 'top' is no whole number",), log(row=1, position="top")),
    Case("interactions: no header", PLAIN, ("the first line ('1, 2, 3", "looks like values", "log.names"), content("log.csv", b"1,2,3\n4,5,6\n", also_log=False)),
    Case("interactions: too few names", f'{PLAIN} --set log.names=["user","item"]', ("has 5 columns, 2 names are given",), log()),
    Case("interactions: a line with a field more", PLAIN, ("line 4 has 6 fields, the header has 5", "into quotes"), log(text=lambda t: "\n".join([*t.splitlines()[:3], t.splitlines()[3] + ",x", *t.splitlines()[4:]]))),
    Case("interactions: not UTF-8", PLAIN, ("log.csv: line 1 is no UTF-8 text", "--set log.encoding=latin-1"), content("log.csv", "user,item,time,größe\n".encode("latin-1"), also_log=False)),
    Case("interactions: damaged gzip", f"{IMPORT} log.csv.gz --out new", ("log.csv.gz cannot be read",), content("log.csv.gz", gzip.compress(b"user,item\n" * 999)[:60], also_log=False)),
    Case("interactions: no gzip at all", f"{IMPORT} log.csv.gz --out new", ("log.csv.gz cannot be read",), content("log.csv.gz", b"user,item,time\n", also_log=False)),
    Case("interactions: an unknown ending", f"{IMPORT} log.xml --out new", ("the ending '.xml' is not known", ".parquet"), content("log.xml", b"<a/>")),
    Case("interactions: a folder of two forms", f"{IMPORT} logs --out new", ("files of one form",), two_forms),
    Case("interactions: two headers", f"{IMPORT} logs --out new", ("b.csv begins with 'item,user", "one header"), two_headers),
    Case("interactions: an empty folder", f"{IMPORT} logs --out new", ("logs is a folder without files",), lambda folder: (folder / "logs").mkdir()),
    Case("interactions: no Parquet", TYPED, ("log.parquet cannot be read",), content("log.parquet", b"junk" * 50, also_log=False)),
    Case("interactions: broken JSON lines", f"{IMPORT} log.jsonl --out new", ("log.jsonl cannot be read",), content("log.jsonl", b'{"user": 1\n{]\n', also_log=False)),
    Case("interactions: DuckDB without its package", f"{IMPORT} log.duckdb:clicks --out new", ("pip install duckdb",), content("log.duckdb", b"x")),
    Case("interactions: Lance without its package", f"{IMPORT} log.lance --out new", ("pip install pylance",), lambda folder: (folder / "log.lance").mkdir()),
    Case("interactions: ids with fractions", TYPED, ("user row 0: 1.5 is no whole number",), numbers(user=pl.lit(1.5))),
    Case("interactions: ids that are lists", f"{TYPED} --set log.user=user", ("wanted an id",), numbers(user=pl.concat_list("user"))),
    Case("interactions: ids that are times", f"{TYPED} --set log.item=item", ("wanted an id",), numbers(item=pl.col("time"))),
    Case("interactions: outcomes of another type", TYPED, ("clicked row 0: 2 is neither 0 nor 1",), numbers(clicked=pl.lit(2))),
    Case("interactions: all at one moment", PLAIN, ("leave a period empty",), log(time="2024-03-01 00:00:00")),
    Case("interactions: cut_time alone", f"{PLAIN} --set cut_time=2024-03-01T12:00:00", ("both cut_time and test_time",), log()),
    Case("interactions: test before the cut", f"{PLAIN} --set cut_time=2024-03-02 --set test_time=2024-03-01", ("is not after cut_time",), log()),
    Case("interactions: shares that fall", f"{PLAIN} --set cut_share=0.9 --set test_share=0.8", ("wanted 0 < cut_share < test_share < 1",), log()),
    Case("interactions: a column kept that is not there", f'{PLAIN} --set log.keep=["device"]', ("no column 'device' left to keep",), log()),
    Case("interactions: a gap beside names of pages", f"{PLAIN} --set page_gap=60 --set log.request=position", ("page_gap", "leave it out"), log()),
    Case("interactions: shares of non-clicks beyond one", f"{PLAIN} --set non_clicks.popular_share=0.8 --set non_clicks.category_share=0.8", ("more than 1 together",), log()),
    Case("interactions: non-clicks for a log that has them", f"{PLAIN} --set non_clicks.num_negatives=9", ("non_clicks", "has outcomes"), log()),
    Case("interactions: a setting mistyped", f"{PLAIN} --set log.usr=user", ("usr", "did you mean"), log()),
    Case("interactions: a map that is no TOML", f"{PLAIN} --map map.toml", ("map.toml",), content("map.toml", b"[log\nuser")),
    Case("interactions: items without ids", BESIDE, ("items.csv has no column of ids", "--set items.item=NAME"), items("name,price\na,1\n")),
    Case("interactions: an item without its id", BESIDE, ("items.csv: item row 1 is empty",), items("item,title\ni1,a\n,b\n")),
    Case("interactions: a column of items absent", f"{BESIDE} --set items.title=headline", ("no column 'headline' (items.title)",), items(GOOD_ITEMS)),
    Case("interactions: a price with a comma", BESIDE, ("items.csv: price row 0: '1,5' is no number", "decimal point"), items('item,price\ni1,"1,5"\n')),
    Case("interactions: a negative price", BESIDE, ("price", "is negative"), items("item,price\ni1,-1\n")),
    Case("interactions: listed at no time", BESIDE, ("items.csv: listed_at row 0: 'spring' is no time",), items("item,listed_at\ni1,spring\n")),
    Case("interactions: items that repeat", BESIDE, ("1 rows repeat an id; its first row stands",), items(GOOD_ITEMS + "i1,again,3\n"), told=True),
    Case("interactions: items that the log does not know, and lacks", BESIDE, ("6 items of the log are not in the table of items",), items("item,title\ni1,a\ni99,b\n"), told=True),
    Case("interactions: pictures of no kind", f"{BESIDE} --pictures items.csv", ("--pictures items.csv is no folder, zip or tar",), items("item,image\ni1,a.png\n")),
    Case("interactions: a damaged archive", f"{BESIDE} --pictures pictures.zip", ("pictures.zip: a.png is damaged", "fetch the archive again"), damaged_zip),
    Case("interactions: no such pictures", f"{BESIDE} --pictures nowhere", ("nowhere is no folder, zip or tar",), items("item,image\ni1,a.png\n")),
    Case("interactions: a user without an id", f"{IMPORT} log.csv --users users.csv --out new", ("users.csv: user row 0 is empty",), content("users.csv", b"user,age\n,31\n")),
    Case("interactions: no place to write to named", f"{IMPORT} log.csv", ("--out is absent", "--guess"), log()),
    Case("interactions: the shop is there", PLAIN, ("new", "exists"), out_there),
    Case("interactions: the draft is there", f"{IMPORT} log.csv --guess map.toml", ("map.toml exists already",), content("map.toml", b"")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_door_for_interactions(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
