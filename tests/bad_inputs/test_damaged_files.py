"""Files that are not what they were: damaged, swapped, cut, edited, or another manifest beside them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from moon_rec.shop import Shop
from tests.bad_inputs.harness import Case, check

FILES = {table: f"shop/{table}.parquet" for table in ("items", "searches", "impressions")}
RENEW = "--renew"
NOT_RECORDED = "is not the file that manifest.json records"

COMMANDS = {
    "check": "moon_rec shop check shop",
    "describe": "moon_rec shop describe shop",
    "train": "ranking.train shop --out new",
    "handover": "ranking.handover.__main__ shop --to fuxictr --out new",
    "ways": "ranking.ways.__main__ shop --items items --queries queries --out new",
    "recall": "representation.recall shop --items items --queries queries",
    "look": "representation.look neighbours shop --items items --queries queries --out new.png",
    "curate": "representation.curate shop --items items --queries queries --out new",
    "pretrain": "representation.pretrain shop --out new --set steps=1",
    "posttrain": "representation.posttrain shop --out new --set steps=1",
    "study": "exchange_rate.study shop --out new",
}


def bytes_of(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Another content of a file of the workspace."""

    def damage(folder: Path) -> None:
        path = folder / file
        path.write_bytes(change(path.read_bytes()))

    return damage


def flipped(place: float) -> Callable[[bytes], bytes]:
    """One bit, at a share of the file's length."""

    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[int(place * (len(data) - 1))] ^= 4
        return bytes(changed)

    return change


def rows_of(table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    """Other rows in a table, written as well as any."""

    def damage(folder: Path) -> None:
        path = folder / FILES[table]
        change(pl.read_parquet(path)).write_parquet(path)

    return damage


def swapped(one: str, other: str) -> Callable[[Path], None]:
    """Two files in each other's place."""

    def damage(folder: Path) -> None:
        shutil.move(folder / one, folder / "kept")
        shutil.move(folder / other, folder / one)
        shutil.move(folder / "kept", folder / other)

    return damage


def manifest(**values: object) -> Callable[[Path], None]:
    """Other entries of the shop's manifest; a dictionary is merged into the one there."""

    def damage(folder: Path) -> None:
        path = folder / "shop" / "manifest.json"
        about = json.loads(path.read_text())
        for name, value in values.items():
            merged = isinstance(value, dict) and isinstance(about[name], dict)
            about[name] = about[name] | value if merged else value
        path.write_text(json.dumps(about))

    return damage


def manifest_text(text: str) -> Callable[[Path], None]:
    return bytes_of("shop/manifest.json", lambda data: text.encode())


def header_fault(table: str) -> tuple[str, ...]:
    return (table, "cannot be read as Parquet")


BYTES = {
    "cut in half": (lambda data: data[: len(data) // 2], True),
    "without its last byte": (lambda data: data[:-1], True),
    "empty": (lambda data: b"", True),
    "of zeros": (lambda data: bytes(len(data)), True),
    "text": (lambda data: b"item_id,title\n1,cup\n", True),
    "with bytes behind it": (lambda data: data + b"\n", True),
    "with a bit of its first bytes flipped": (flipped(0.0), None),
    "with a bit of its pages flipped": (flipped(0.35), None),
    "with another bit of its pages flipped": (flipped(0.6), None),
}
"""Kind -> the change, and whether the header cannot be read then (None: whichever)."""

CASES = [
    Case(
        f"damage: {table} {kind}",
        list(COMMANDS.values())[number % len(COMMANDS)],
        header_fault(table) if unreadable else (table,),
        bytes_of(FILES[table], change),
    )
    for number, (table, (kind, (change, unreadable))) in enumerate(
        (table, each) for table in FILES for each in BYTES.items()
    )
]
CASES += [
    Case(
        f"damage: impressions with a value changed, {word}",
        command,
        ("impressions.parquet", NOT_RECORDED, RENEW),
        rows_of("impressions", lambda f: f.with_columns(dwell=pl.col("dwell") + 1)),
    )
    for word, command in COMMANDS.items()
]
CASES += [
    Case(
        f"damage: a bit of a price, {word}",
        command,
        ("items", NOT_RECORDED, RENEW),
        rows_of("items", lambda f: f.with_columns(price=pl.col("price") + 1)),
    )
    for word, command in COMMANDS.items()
    if word in ("check", "train", "study", "recall")
]
CASES += [
    Case(
        "damage: three rows lost",
        COMMANDS["train"],
        ("impressions.parquet", "5,397 rows, recorded 5,400", RENEW),
        rows_of("impressions", lambda f: f.head(-3)),
    ),
    Case(
        "damage: rows in another order",
        COMMANDS["check"],
        ("impressions.parquet", NOT_RECORDED),
        rows_of("impressions", lambda f: f.reverse()),
    ),
    Case(
        "damage: items and searches swapped",
        COMMANDS["recall"],
        ("items", "column is missing"),
        swapped(FILES["items"], FILES["searches"]),
    ),
    Case(
        "damage: searches gone",
        COMMANDS["curate"],
        ("searches", "is missing"),
        lambda folder: (folder / FILES["searches"]).unlink(),
    ),
    Case(
        "damage: a table that the manifest records is gone",
        COMMANDS["train"],
        ("users.parquet", "it is gone, recorded 40 rows"),
        manifest(rows={"users": 40}),
    ),
    Case(
        "damage: the same columns of another shop",
        lambda folder: Shop.open(folder / "shop").digest,
        ("searches.parquet", NOT_RECORDED, RENEW),
        rows_of("searches", lambda f: f.with_columns(query_text=pl.lit("other words"))),
    ),
    Case(
        "damage: renewed with a broken rule",
        "moon_rec shop check shop --renew",
        ("items.price", "is negative"),
        rows_of("items", lambda f: f.with_columns(price=pl.lit(-1.0))),
    ),
    Case(
        "damage: renewed with a file cut short",
        "moon_rec shop check shop --renew",
        header_fault("items"),
        bytes_of(FILES["items"], lambda data: data[:-9]),
    ),
    Case(
        "manifest: one row more than there is",
        COMMANDS["check"],
        ("impressions.parquet", "5,400 rows, recorded 5,401"),
        manifest(rows={"impressions": 5_401}),
    ),
    Case(
        "manifest: one row more, when opened",
        COMMANDS["train"],
        ("impressions.parquet", "5,400 rows, recorded 5,401"),
        manifest(rows={"impressions": 5_401}),
    ),
    Case(
        "manifest: another size",
        COMMANDS["describe"],
        ("items.parquet", "bytes, recorded 7"),
        manifest(sizes={"items": 7}),
    ),
    Case(
        "manifest: another digest",
        COMMANDS["handover"],
        ("searches.parquet", "SHA-256", "recorded 0123456789abcdef"),
        manifest(fingerprints={"searches": "0123456789abcdef"}),
    ),
    Case(
        "manifest: a count that is no number",
        COMMANDS["check"],
        ("manifest.json", "'items': 'many'", "wanted table -> int"),
        manifest(rows={"items": "many"}),
    ),
    Case(
        "manifest: a count that is true",
        COMMANDS["check"],
        ("manifest.json", "wanted table -> int"),
        manifest(rows={"items": True}),
    ),
    Case(
        "manifest: counts of an unknown table",
        COMMANDS["check"],
        ("manifest.json", "names a table 'clicks'"),
        manifest(rows={"clicks": 3}),
    ),
    Case(
        "manifest: counts in a list",
        COMMANDS["check"],
        ("manifest.json", "rows is [1, 2]"),
        manifest(rows=[1, 2]),
    ),
    Case(
        "manifest: a time beyond the calendar",
        COMMANDS["check"],
        ("manifest.json", "cut_time", "'0001-01-01T00:00:00+14:00' is not a time"),
        manifest(cut_time="0001-01-01T00:00:00+14:00"),
    ),
    Case(
        "manifest: a number as a time",
        COMMANDS["train"],
        ("manifest.json", "cut_time is 1767225600"),
        manifest(cut_time=1_767_225_600),
    ),
    Case(
        "manifest: cut short",
        COMMANDS["train"],
        ("manifest.json", "cannot be read as JSON"),
        bytes_of("shop/manifest.json", lambda data: data[:-20]),
    ),
    Case(
        "manifest: a bit flipped beyond UTF-8",
        COMMANDS["check"],
        ("manifest.json", "cannot be read as JSON"),
        bytes_of("shop/manifest.json", lambda data: data.replace(b"name", b"na\xffe", 1)),
    ),
    Case(
        "manifest: nested without end",
        COMMANDS["check"],
        ("manifest.json", "cannot be read as JSON"),
        manifest_text("[" * 100_000),
    ),
    Case(
        "manifest: null",
        COMMANDS["check"],
        ("manifest.json", "holds a NoneType, not an object"),
        manifest_text("null"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_damaged_file_is_named(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
