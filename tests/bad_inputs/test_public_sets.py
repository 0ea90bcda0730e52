"""The doors of public sets: a file that is not there, a column under another name, another separator; and what the importer's map language refuses."""

import json

import polars as pl
import pytest

from tests.bad_inputs.harness import Case, check
from tests.moon_rec.shop.readers.public import forms

TAKE = "take the publisher's file, or say which column is what with `shop import interactions`"


def form(name, damage=lambda folder: None):
    """The set's files in `data/`, broken by `damage`."""

    def write(folder):
        (folder / "data").mkdir()
        forms.FORMS[name](folder / "data")
        damage(folder / "data")

    return write


def command(name):
    """The import of that form."""
    return f"moon_rec shop import {forms.COMMANDS.get(name, name)} --data data --out new"


def gone(*files):
    """Files that are not there."""
    return lambda folder: [(folder / file).unlink() for file in files]


def text(file, old, new, count=-1):
    """A text file with something else in it."""

    def damage(folder):
        path = folder / file
        path.write_text(path.read_text().replace(old, new, count))

    return damage


def renamed(file, old, new):
    """A Parquet file with a column under another name."""
    return lambda folder: (
        pl.read_parquet(folder / file).rename({old: new}).write_parquet(folder / file)
    )


def json_lines(file, change):
    """JSON lines, each changed."""

    def damage(folder):
        path = folder / file
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(change(row)) + "\n" for row in rows))

    return damage


def without(key):
    """A JSON object without that key."""
    return lambda row: {name: value for name, value in row.items() if name != key}


def case(name, what, damage, *says, further=""):
    """A refusal of one form."""
    return Case(f"public sets: {name}: {what}", command(name) + further, says, form(name, damage))


LOG = "data/log_standard_4_08_to_4_21_pure.csv"
LOG_2 = "data/log_standard_4_22_to_5_08_pure.csv"
SHARD = "train/train-shard-000000.parquet"
LENS = "MicroLens_1M_x1"

CASES = [
    Case(
        "public sets: criteo", "moon_rec shop import criteo --data shop --out new",
        ("name no user, no item and no time, so no shop can be made", "Attribution", "shop import interactions"),
    ),
    Case("public sets: no folder", "moon_rec shop import mind --data nowhere --out new", ("nowhere is not a folder: --data names the folder of behaviors.tsv",)),
    Case("public sets: out is there", "moon_rec shop import rechorus --data data --out shop", ("shop", "--overwrite"), form("rechorus")),
    Case("public sets: a setting that is none", f"{command('rechorus')} --set log.usr=x", ("has no setting 'log.usr'; did you mean 'user'",), form("rechorus")),
    case("recbole", "no log", gone("toy.inter"), "data has no *.inter", "NAME.inter"),
    case("recbole", "no times", text("toy.inter", "timestamp:float", "order:float", 1), "toy.inter: no column is the time"),
    case("recbole", "spaces for tabs", text("toy.inter", "\t", " "), "no column is the user, nor the item, nor the time"),
    case("mmrec", "no users", text("baby.inter", "userID", "who", 1), "no column is the user"),
    case("rechorus", "no log", gone("train.csv"), "data has no train.csv: --data names the folder of train.csv (tabs between"),
    case("rechorus", "a column renamed", text("train.csv", "user_id", "uid", 1), "has no column user_id: it has uid, item_id, time", TAKE),
    case("rechorus", "spaces for tabs", text("train.csv", "\t", " "), "has no column user_id, item_id, time: it has user_id item_id time"),
    case("rechorus", "a time that is none", text("train.csv", "\t17092", "\tx17092", 1), "time row 0: 'x17092", "is no number"),
    case("mind", "no news", gone("MINDsmall_train/news.tsv", "MINDsmall_dev/news.tsv"), "data has no news.tsv or *train*/news.tsv"),
    case("mind", "a header", text("MINDsmall_train/behaviors.tsv", "1\t", "impression_id\tuser_id\ttime\thistory\timpressions\n1\t", 1), "time row 0: 'time' is no time", "log.time_format"),
    case("mind", "a column less", text("MINDsmall_train/behaviors.tsv", "\tN1 N2\t", "\t"), "has 4 columns, 5 names are given"),
    case("mind", "spaces for tabs", text("MINDsmall_train/news.tsv", "\t", " "), "has 1 columns, 8 names are given"),
    case("mind", "a day first", text("MINDsmall_train/behaviors.tsv", "\t3/1/2024", "\t31/1/2024"), "time row 0: '31/1/2024", "is no time"),
    case("eb-nerd", "no articles", gone("articles.parquet"), "data has no articles.parquet or */articles.parquet"),
    case("eb-nerd", "a column renamed", renamed("articles.parquet", "category_str", "section"), "articles.parquet has no column category_str: it has article_id", TAKE),
    case("eb-nerd", "the test period", renamed("train/behaviors.parquet", "article_ids_clicked", "article_ids"), "behaviors.parquet"),
    case("eb-nerd", "no Parquet", lambda folder: (folder / "articles.parquet").write_bytes(b"PAR1"), "articles.parquet cannot be read"),
    case("amazon csv", "a column renamed", lambda folder: [text(f"All_Beauty.{part}.csv", "parent_asin", "asin", 1)(folder) for part in ("train", "valid", "test")], "has no column parent_asin: it has user_id, asin", TAKE),
    case("amazon csv", "seconds for milliseconds", lambda folder: [text(f"All_Beauty.{part}.csv", "000,\n", ",\n")(folder) for part in ("train", "valid", "test")], "as ms since 1970 is outside the years", '"s" it is 2024-03-01'),
    case("amazon csv", "meta without ids", json_lines("meta_All_Beauty.jsonl", without("parent_asin")), "meta_All_Beauty.jsonl has no column parent_asin: it has average_rating", TAKE),
    case("amazon csv", "meta that is no JSON", lambda folder: (folder / "meta_All_Beauty.jsonl").write_text("parent_asin,title\n"), "meta_All_Beauty.jsonl"),
    case("amazon reviews", "no reviews", gone("All_Beauty.jsonl.gz"), "data has no *.train.csv", "nor [!m]*.jsonl"),
    case("h-and-m", "no articles", gone("articles.csv"), "data has no articles.csv: --data names the folder of articles.csv, customers.csv"),
    case("h-and-m", "a column renamed", text("articles.csv", "prod_name", "name", 1), "articles.csv has no column prod_name: it has article_id", TAKE),
    case("h-and-m", "semicolons in prose", text("transactions_train.csv", ",", " "), "has no column t_dat, customer_id, article_id"),
    case("h-and-m", "a day that is none", text("transactions_train.csv", "2024-03-01", "2024-13-01", 1), "t_dat row 0: '2024-13-01' is no time"),
    case("kuairand", "no videos", gone("data/video_features_basic_pure.csv"), "data has no video_features_basic_*.csv"),
    case("kuairand", "a column renamed", lambda folder: [text(file, "is_click", "clicked", 1)(folder) for file in (LOG, LOG_2)], "has no column is_click: it has user_id", TAKE),
    case("kuairand", "two headers", text(LOG_2, "is_click", "clicked", 1), "files of one table have one header"),
    case("kuairand", "a click that is neither", text(LOG, "000,1,0,0,0,0,0,0,900,", "000,2,0,0,0,0,0,0,900,", 1), "is_click row", "'2' is neither true nor false"),
    case("kuaivideo-x1", "no test file", gone("train.csv", "test.csv"), "data has no train.csv test.csv or KuaiVideo_x1/train.csv"),
    Case("public sets: kuaivideo-x1: no unit of times", "moon_rec shop import kuaivideo-x1 --data data --out new", ("timestamp row 0:", "is no time", '"s" it is 2024-03-01'), form("kuaivideo-x1")),
    case("kuaivideo-x1", "a column renamed", lambda folder: [text(file, "is_click", "label", 1)(folder) for file in ("train.csv", "test.csv")], "has no column is_click"),
    case("microlens-mmctr", "no labels to test with", gone(f"{LENS}/valid.parquet"), "data has no valid.parquet or MicroLens_1M_x1/valid.parquet: without times its test files are the test period"),
    case("microlens-mmctr", "a column renamed", renamed(f"{LENS}/train.parquet", "label", "click"), "valid.parquet has columns", "take files of one release"),
    case("microlens-mmctr", "items renamed", renamed(f"{LENS}/item_info.parquet", "item_id", "id"), "item_info.parquet has no column item_id: it has id", TAKE),
    case("taobao-mm", "no shards", gone(SHARD), "data has no train/*.parquet or train-shard-*.parquet"),
    case("taobao-mm", "labels that are no lists", lambda folder: [pl.read_parquet(folder / file).with_columns(pl.col("label_0").list.get(1)).write_parquet(folder / file) for file in (SHARD, "test/test-shard-000000.parquet")], "has no column 'label_0[1]' (log.clicked)"),
    case("taobao-mm", "a column renamed", lambda folder: [renamed(file, "205", "item")(folder) for file in (SHARD, "test/test-shard-000000.parquet")], "has no column 205: it has label_0", TAKE),
    case("tencentgr", "no sequences", gone("seq/part-00000.parquet", "seq/part-00001.parquet"), "data has no seq/*.parquet"),
    case("tencentgr", "a column renamed", lambda folder: [renamed(f"seq/part-0000{n}.parquet", "seq", "events")(folder) for n in (0, 1)], "has no column seq: it has user_id, events", TAKE),
    case("tencentgr", "sequences that are no lists", lambda folder: [pl.read_parquet(folder / f"seq/part-0000{n}.parquet").with_columns(seq=pl.lit(1)).write_parquet(folder / f"seq/part-0000{n}.parquet") for n in (0, 1)], "'seq' (log.unfold) is no column of lists: it is Int32"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_doors_of_public_sets(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)


def lists(**columns):
    """A log in Parquet with those columns of lists, a row a user."""
    frame = pl.DataFrame({"user": ["a", "b"], **columns})
    return lambda folder: frame.write_parquet(folder / "log.parquet")


def doubled(folder):
    """Fields between two characters, Latin-1."""
    rows = [f"u{n % 3}::caf\xe9 {n % 5}::2024-03-{n % 28 + 1:02d}" for n in range(60)]
    (folder / "log.txt").write_bytes("\n".join(["user::item::time", *rows]).encode("latin-1"))


def short_line(folder):
    """The same with a line of two fields behind it."""
    doubled(folder)
    path = folder / "log.txt"
    path.write_bytes(path.read_bytes() + b"\nu1::x")


IMPORT = "moon_rec shop import interactions"
TIMES = [["2024-03-01", "2024-03-02"], ["2024-03-03"]]
MAP = [
    Case("map: lists of several lengths", f"{IMPORT} log.parquet --out new --set log.unfold=['item','time']", ("log.parquet: item and time row 1: lists of different lengths (item 2, time 1)",), lists(item=[["x", "y"], ["z", "x"]], time=TIMES)),
    Case("map: no list to unfold", f"{IMPORT} log.parquet --out new --set log.unfold=['user']", ("'user' (log.unfold) is no column of lists: it is String",), lists(item=[["x", "y"], ["z"]], time=TIMES)),
    Case("map: a time in a list", f"{IMPORT} log.parquet --out new --set log.unfold=['item','time']", ("log.parquet: time row 1: 'soon' is no time",), lists(item=[["x", "y"], ["z"]], time=[TIMES[0], ["soon"]])),
    Case("map: a way that leads nowhere", f"{IMPORT} log.parquet --out new --set log.item=item[0].id", ("has no column 'item[0].id' (log.item)",), lists(item=[["x", "y"], ["z"]], time=["2024-03-01", "2024-03-02"])),
    Case("map: a separator of Parquet", f"{IMPORT} log.parquet --out new --set log.separator=::", ("separator = '::' changes nothing: log.parquet is Parquet",), lists(item=["x", "y"], time=["2024-03-01", "2024-03-02"])),
    Case("map: not UTF-8", f"{IMPORT} log.txt --out new --set log.separator=::", ("log.txt: line 2 is no UTF-8 text",), doubled),
    Case("map: another encoding", f"{IMPORT} log.txt --out new --set log.separator=:: --set log.encoding=utf-16", ("log.txt",), doubled),
    Case("map: no encoding", f"{IMPORT} log.txt --out new --set log.encoding=klingon", ("'klingon' is no encoding; name one such as 'latin-1'",), doubled),
    Case("map: a line too short", f"{IMPORT} log.txt --out new --set log.separator=:: --set log.encoding=latin-1", ("log.txt: line 62 has 2 fields, 3 wanted: 'u1::x'",), short_line),
    Case("map: a column to keep that is none", f"{IMPORT} log.txt --items items.csv --out new --set log.separator=:: --set log.encoding=latin-1 --set items.keep=['size']", ("items.csv has no column 'size' left to keep (items.keep): it has colour",), lambda folder: (doubled(folder), (folder / "items.csv").write_text("item,colour\nx,red\n"))),
    Case("map: rows of Parquet vectors", "representation.bring tables/items.parquet --ids rows --out new", ("--ids rows: tables/items.parquet is no npy file",)),
]  # fmt: skip


@pytest.mark.parametrize("case", MAP, ids=lambda case: case.name)
def test_what_the_map_language_refuses(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
