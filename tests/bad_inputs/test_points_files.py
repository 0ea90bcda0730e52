"""Bad tables of points: `exchange_rate.report --points`."""

from pathlib import Path

import polars as pl
import pytest

from tests.bad_inputs.harness import Case, check

HEADER = "encoder,ranker,seed,recall,recall_error,auc,auc_error"
ROWS = [
    f"e{place},din,{seed},{recall},.01,{0.6 + place / 100 + seed / 1000},.002"
    for place, recall in enumerate((0.1, 0.2, 0.3, 0.4, 0.5))
    for seed in (0, 1)
]


def points(
    name: str, says: tuple[str, ...], *changes: tuple[str, str], options: str = "", told: bool = False
) -> Case:  # fmt: skip
    """A table in which each pair's first text is replaced by its second, once."""

    def damage(folder: Path) -> None:
        text = "\n".join([HEADER, *ROWS, ""])
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        (folder / "points.csv").write_text(text)

    words = f"exchange_rate.report --points points.csv --out new {options}".strip()
    return Case(f"points file: {name}", words, says, damage, told)


def file(name: str, says: tuple[str, ...], path: str, content: bytes) -> Case:
    def damage(folder: Path) -> None:
        (folder / path).write_bytes(content)

    return Case(f"points file: {name}", f"exchange_rate.report --points {path} --out new", says, damage)  # fmt: skip


def frame(name: str, says: tuple[str, ...], **columns: list) -> Case:
    def damage(folder: Path) -> None:
        pl.DataFrame(columns).write_parquet(folder / "p.parquet")

    return Case(f"points file: {name}", "exchange_rate.report --points p.parquet --out new", says, damage)  # fmt: skip


CASES = [
    Case("points file: none there", "exchange_rate.report --points nowhere.csv --out new", ("no file at nowhere.csv",)),
    file("an unknown ending", ("the ending '.xlsx' is not known", ".csv"), "points.xlsx", b"encoder,auc\n"),
    file("empty", ("points.csv is empty",), "points.csv", b""),
    file("a header alone", ("no rows", "one row a run"), "points.csv", f"{HEADER}\n".encode()),
    file("no UTF-8", ("line 2 is no UTF-8 text", "write it as UTF-8"), "points.csv", f"{HEADER}\n\xff\n".encode("latin-1")),
    file("values without a header", ("looks like values, not names",), "points.csv", b"1,2,3\n4,5,6\n"),
    points("a field too many", ("line 2 has 8 fields, the header has 7",), (ROWS[0], f"{ROWS[0]},9")),
    points("no encoder column", ("no column 'encoder'", "it has model, ranker"), ("encoder,", "model,")),
    points("no auc column", ("no column 'auc'", "name it so"), (",auc,", ",AUC,")),
    points("no metric", ("points.csv has no metric", "such as image_search_recall@10"), ("recall,recall_error", "path,note"), *((row.split(",", 4)[3] + ",.01", "a,b") for row in ROWS)),
    points("a name that is missing", ("encoder, row 0", "is no name"), ("e0,", ",")),
    points("AUC in percent", ("points.csv, row 0, auc of encoder 'e0': 60 lies outside 0 to 1", "not percent"), (",0.6,", ",60,")),
    points("AUC missing", ("row 0, auc", "is missing", "leave that run out"), (",0.6,", ",,")),
    points("AUC a word", ("points.csv, row 0, auc: 'high' is no number", "such as 0.41"), (",0.6,", ",high,")),
    points("AUC with a decimal comma", ("row 0, auc: '0,6' is no number",), (",0.6,", ',"0,6",')),
    points("AUC infinite", ("row 0, auc", "not finite"), (",0.6,", ",inf,")),
    points("recall in percent", ("recall of encoder 'e0': 10 lies outside 0 to 1", "0.41 for 41 %"), (",0.1,", ",10,")),
    points("recall negative", ("recall of encoder 'e0': -0.1 lies outside",), (",0.1,", ",-0.1,")),
    points("two recalls of one encoder", ("encoder 'e0' has metric 0.1 in row 0 and 0.15 in row 1",), (ROWS[1], ROWS[1].replace(",0.1,", ",0.15,"))),
    points("recall in some runs alone", ("encoder 'e0' has it in some runs and not in others", "write it in all"), (",0.1,", ",,")),
    points("a standard error of nothing", ("recall_error of encoder 'e0': 0 is no standard error",), (".01", "0")),
    points("a negative standard error", ("auc_error of encoder 'e0': -0.002 is no standard error",), (".002", "-.002")),
    points("an error of some encoders alone", ("recall of encoder 'e0': 0.1 has no error where others have one",), (",.01,", ",,"), (",.01,", ",,")),
    points("an error and an interval", ("recall_error and recall.low", "keep one"), ("auc_error", "recall.low")),
    points("half an interval", ("recall.low alone", "recall.high"), ("recall_error", "recall.low")),
    points("outside its interval", ("recall of encoder 'e0'", "outside its interval"), ("recall_error", "recall.low"), ("auc_error", "recall.high"), (".002", ".05")),
    points("a run twice", ("row 1: encoder 'e0' has the seed '0' before", "leave one out"), (ROWS[1], ROWS[0])),
    points("rankers mixed", ("2 rankers side by side, the headline is of tree", "--ranker names another"), ("din", "tree"), told=True),
    points("trained neither true nor false", ("points.csv, row 0, trained of encoder 'e0': 'perhaps'", "write true or false"), ("auc_error", "trained"), (".002", "perhaps"), *((".002", "true") for _ in ROWS[1:])),
    points("trained a number", ("row 0, trained of encoder 'e0': '1'", "write true or false"), ("auc_error", "trained"), *((".002", "1") for _ in ROWS)),
    points("trained left empty", ("row 0, trained of encoder 'e0': nothing", "leave the column out"), ("auc_error", "trained"), (",.002", ","), *((".002", "true") for _ in ROWS[1:])),
    points("one encoder trained and not", ("row 1: encoder 'e0' has trained False, and True before", "it is the encoder's"), ("auc_error", "trained"), (".002", "true"), (".002", "false"), *((".002", "true") for _ in ROWS[2:])),
    points("one encoder on two paths", ("row 1: encoder 'e0' has path 'b', and 'a' before",), ("auc_error", "path"), (".002", "a"), (".002", "b"), *((".002", "c") for _ in ROWS[2:])),
    points("no encoder trained", ("No exchange rate can be given",), ("auc_error", "trained"), *((".002", "false") for _ in ROWS), told=True),
    points("permuted AUC in percent", ("row 0, auc_permuted of encoder 'e0': 60 lies outside 0 to 1", "not percent"), ("auc_error", "auc_permuted"), (".002", "60")),
    points("a width of nothing", ("row 0, width of encoder 'e0': 0 is no width of the vectors", "above 0"), ("auc_error", "width"), (".002", "0"), *((".002", "64") for _ in ROWS[1:])),
    points("negatives a word", ("row 0, negatives: 'few' is no number",), ("auc_error", "negatives"), (".002", "few"), *((".002", "64") for _ in ROWS[1:])),
    points("two widths of one encoder", ("width: encoder 'e0' has", "it is the encoder's: write it so in all of its rows"), ("auc_error", "width"), (".002", "32"), *((".002", "64") for _ in ROWS[1:])),
    points("two lengths of one ranker", ("history_length: ranker 'din' has", "it is the ranker's"), ("auc_error", "history_length"), (".002", "10"), *((".002", "100") for _ in ROWS[1:])),
    points("compared with nothing there", ("--against nonsense: no file or folder there", "report.json"), options="--against nonsense"),
    points("compared with a folder that is no report", ("--against items: there is no report.json in it",), options="--against items"),
    points("compared with JSON that is no report", ("manifest.json has format_version", "wanted 3", "write that report again"), options="--against shop/manifest.json"),
    points("compared with what is no JSON", ("points.csv is not valid JSON",), options="--against points.csv"),
    points("a ranker that is not there", ("no ranker 'dnn'", "it has din"), options="--ranker dnn"),
    points("a metric that is not there", ("no metric 'hit'", "it has recall"), options="--metric hit"),
    points("a study named too", ("--study is of a study", "beside --points"), options="--study 1"),
    points("a store named too", ("--tracking is of a study",), options="--tracking sqlite:///x.db"),
    points("kept out of a store that is not asked for", ("--not-logged is of a study",), options="--not-logged"),
    Case("points file: a metric without points", "exchange_rate.report --metric recall --out new", ("--metric is of --points",)),
    frame("AUC as texts", ("auc: a column of String", "wanted numbers"), encoder=["a"], auc=["0.6"], recall=[0.1]),
    frame("encoders as fractions", ("encoder, row 0: 1.5 is a float",), encoder=[1.5], auc=[0.6], recall=[0.1]),
    frame("numbers of truth", ("p.parquet has no metric",), encoder=["a"], auc=[0.6], recall=[True]),
    points("one encoder", ("No exchange rate can be given for recall: 1 distinct encoder",), *((row, "") for row in ROWS[2:]), told=True),
    points("a column of words", ("left aside, no numbers: seed_note",), ("auc_error", "seed_note"), *((".002", "good") for _ in ROWS), told=True),
    points("one recall for all", ("every encoder has the same metric",), *((f",{one},", ",0.1,") for one in (0.2, 0.3, 0.4, 0.5) for _ in (0, 1)), told=True),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_points_files(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
