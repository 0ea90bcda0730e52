"""Embedding tables: damaged ones, those that do not go with a shop or with each other, and files of vectors that `bring` cannot take for what they are."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from moon_rec.embedding_table import EmbeddingTable
from tests.bad_inputs.harness import Case, check

Damage = Callable[[Path], None]
RECALL = "representation.recall shop --items items --queries queries"
FILE = "items/table.safetensors"


def _about(**changes) -> Damage:
    """Change fields of items/table.json; None takes one out."""

    def damage(folder: Path) -> None:
        path = folder / "items" / "table.json"
        values = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({name: one for name, one in values.items() if one is not None}))

    return damage


def _bytes(file: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda folder: (folder / file).write_bytes(change((folder / file).read_bytes())) and None


def _header(change: Callable[[dict], object]) -> Damage:
    """Change the header of items' file and leave its data."""

    def of_file(content: bytes) -> bytes:
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:end])
        text = json.dumps(change(header) or header).encode()
        return len(text).to_bytes(8, "little") + text + content[end:]

    return _bytes(FILE, of_file)


def _entry(name: str, **changes) -> Damage:
    return _header(lambda header: header[name].update(changes))


def _data(
    change: Callable[[dict], dict | None], precision: str = "float32", agree: bool = True
) -> Damage:
    """Write items anew in `precision` with changed tensors; `agree`: table.json and digest follow, as a writer without checks would leave them."""

    def damage(folder: Path) -> None:
        path = folder / "items"
        table = EmbeddingTable.open(path)
        EmbeddingTable.from_arrays(
            table.ids, table.take(np.arange(len(table))), precision=precision, shop=table.shop
        ).save(path, overwrite=True)
        tensors = {name: one.copy() for name, one in load_file(path / "table.safetensors").items()}
        tensors = change(tensors) or tensors
        save_file(
            {name: np.ascontiguousarray(one) for name, one in tensors.items()},
            path / "table.safetensors",
        )
        if not agree:
            return
        vectors = tensors["vectors"]
        state = hashlib.sha256(f"{vectors.dtype}{vectors.shape}".encode())
        for name in ("ids", "vectors", "scales"):
            state.update(tensors[name].tobytes() if name in tensors else b"")
        _about(items=len(vectors), digest=state.hexdigest()[:16])(folder)

    return damage


def _put(name: str, place, value) -> Callable[[dict], None]:
    def change(tensors: dict) -> None:
        tensors[name][place] = value

    return change


def _changed(**tensors) -> Callable[[dict], dict]:
    """Some tensors replaced by what a function makes of all of them."""
    return lambda old: old | {name: of(old) for name, of in tensors.items()}


def _both(*damages: Damage) -> Damage:
    def damage(folder: Path) -> None:
        for one in damages:
            one(folder)

    return damage


def _flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


def _swap_rows(tensors: dict) -> None:
    tensors["vectors"][[3, 60]] = tensors["vectors"][[60, 3]]


def _remove(file: str) -> Damage:
    return lambda folder: (folder / file).unlink()


def _to_folder(folder: Path) -> None:
    (folder / "items/table.json").unlink()
    (folder / "items/table.json").mkdir()


JSON = "items/table.json"
MALFORMED: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "no table.json": (_remove(JSON), ("no embedding table at items", JSON)),
    "table.json is a folder": (_to_folder, ("no embedding table at items", JSON)),
    "table.json is empty": (_bytes(JSON, lambda _: b""), (JSON, "not valid JSON", "make the table again")),
    "table.json is no UTF-8": (_bytes(JSON, lambda _: b"\xff\xfe{}"), (JSON, "make the table again")),
    "table.json is a list": (_bytes(JSON, lambda _: b"[]"), (JSON, "is a list")),
    "table.json has no end": (_bytes(JSON, lambda _: b"[" * 100_000), (JSON, "make the table again")),
    "table.json holds a number too long": (_bytes(JSON, lambda _: b"1" * 5000), (JSON, "cannot be read")),
    "no format_version": (_about(format_version=None), (JSON, "format_version None, wanted 1")),
    "a later format_version": (_about(format_version=2), (JSON, "format_version 2, wanted 1")),
    "no digest": (_about(digest=None), (JSON, "has no 'digest'", "16 hexadecimal digits")),
    "digest too short": (_about(digest="abc"), (JSON, "digest is 'abc'")),
    "digest is a number": (_about(digest=7), (JSON, "digest is 7")),
    "widths empty": (_about(widths=[]), (JSON, "widths is []")),
    "widths fall": (_about(widths=[8, 4]), (JSON, "widths [8, 4] must rise and end at dim 8")),
    "widths end before dim": (_about(widths=[2, 4]), (JSON, "widths [2, 4]")),
    "widths are text": (_about(widths="8"), (JSON, "widths is '8'")),
    "widths hold a boolean": (_about(widths=[True, 8]), (JSON, "widths is [True, 8]")),
    "items count too many": (_about(items=118), (FILE, "'ids' is int64 (117,)", "(118,)")),
    "items negative": (_about(items=-1), (JSON, "items is -1")),
    "dim is not the vectors'": (_about(dim=9, widths=[9]), (FILE, "'vectors'", "(117, 8)", "(117, 9)")),
    "dim is zero": (_about(dim=0), (JSON, "dim is 0")),
    "precision unknown": (_about(precision="bfloat16"), (JSON, "precision is 'bfloat16'", "float16 or int8")),
    "precision is not the vectors'": (_about(precision="float16"), (FILE, "'vectors' is float32", "float16")),
    "shop is a number": (_about(shop=5), (JSON, "shop is 5")),
    "encoder is a list": (_about(encoder=["a"]), (JSON, "encoder is ['a']")),
    "grown_from is text": (_about(grown_from="abc"), (JSON, "grown_from is 'abc'")),
    "kind unknown": (_about(kind="users"), (JSON, "kind is 'users'", "items, queries")),
    "no file of vectors": (_remove(FILE), ("no embedding table at items", FILE)),
    "file empty": (_bytes(FILE, lambda _: b""), (FILE, "no safetensors file")),
    "file of four bytes": (_bytes(FILE, lambda old: old[:4]), (FILE, "no safetensors file")),
    "file cut short": (_bytes(FILE, lambda old: old[:-100]), (FILE, "cut short", "'vectors' ends at byte")),
    "file too long": (_bytes(FILE, lambda old: old + b"abc"), (FILE, "3 bytes after its last tensor")),
    "header longer than the file": (_bytes(FILE, lambda old: b"\xff" * 8 + old[8:]), (FILE, "cut short")),
    "header is no JSON": (_bytes(FILE, lambda old: old[:8] + b"x" + old[9:]), (FILE, "its header is no JSON")),
    "header is a list": (_header(lambda _: ["ids"]), (FILE, "the header is a list")),
    "header has no end": (
        _bytes(FILE, lambda _: (9000).to_bytes(8, "little") + b"[" * 9000),
        (FILE, "its header is no JSON"),
    ),
    "a tensor named twice": (
        _bytes(FILE, lambda old: old.replace(b'"vectors"', b'"ids"    ')),
        (FILE, "'ids' stands there twice"),
    ),
    "dtype unknown": (_entry("vectors", dtype="X9"), (FILE, "'vectors' has dtype 'X9'")),
    "dtype float64": (_entry("vectors", dtype="F64"), (FILE, "'vectors' has dtype 'F64'", "F32")),
    "dtype is a list": (_entry("vectors", dtype=["F32"]), (FILE, "'vectors' has dtype ['F32']")),
    "entry is a number": (_header(lambda old: old.update(ids=3)), (FILE, "'ids' is 3")),
    "shape negative": (_entry("vectors", shape=[-117, -8]), (FILE, "'vectors' has shape [-117, -8]")),
    "shape of fractions": (_entry("vectors", shape=[117.0, 8]), (FILE, "'vectors' has shape [117.0, 8]")),
    "shape larger than its bytes": (_entry("vectors", shape=[118, 8]), (FILE, "'vectors'", "takes 3,776")),
    "offsets fall": (_entry("vectors", data_offsets=[4680, 936]), (FILE, "data_offsets [4680, 936]")),
    "offsets reach into the header": (_entry("vectors", data_offsets=[-8, 3736]), (FILE, "[-8, 3736]")),
    "offsets overlap": (
        _entry("vectors", data_offsets=[928, 4672]), (FILE, "'vectors'", "overlaps tensor 'ids'")
    ),
    "offsets leave a gap": (
        _both(_bytes(FILE, lambda old: old + b"12345678"), _entry("vectors", data_offsets=[944, 4688])),
        (FILE, "'vectors'", "leaves 8 bytes after tensor 'ids'"),
    ),
    "offsets beyond the file": (
        _entry("vectors", data_offsets=[936_000, 939_744]), (FILE, "cut short", "'vectors'")
    ),
    "no ids": (_data(lambda old: {"vectors": old["vectors"]}, agree=False), (FILE, "has tensors vectors")),
    "no vectors": (_data(lambda old: {"ids": old["ids"]}, agree=False), (FILE, "has tensors ids")),
    "a tensor too many": (_data(_changed(more=lambda old: old["ids"]), agree=False), (FILE, "ids, more, vectors")),
    "int8 without scales": (_data(lambda old: {name: old[name] for name in ("ids", "vectors")}, "int8"), (FILE, "scales")),
    "float32 with scales": (_data(_changed(scales=lambda old: old["vectors"][:, 0])), (FILE, "scales")),
    "ids unsorted": (
        _data(_changed(ids=lambda old: old["ids"][[0, 2, 1, *range(3, 117)]])),
        (FILE, "ids row 2: id 28 follows 35", "ids ascend"),
    ),
    "ids fall": (_data(_changed(ids=lambda old: old["ids"][::-1])), (FILE, "ids row 1: id 826 follows 833")),
    "ids doubled": (_data(_put("ids", 5, 49)), (FILE, "id 49 stands there twice")),
    "ids as float32": (_data(_changed(ids=lambda old: old["ids"].astype(np.float32))), (FILE, "'ids' is float32", "int64")),
    "ids as int8": (_data(_changed(ids=lambda old: old["ids"].astype(np.int8))), (FILE, "'ids' is int8")),
    "ids in two dimensions": (_data(_changed(ids=lambda old: old["ids"][:, None])), (FILE, "'ids' is int64 (117, 1)")),
    "fewer ids than vectors": (_data(_changed(ids=lambda old: old["ids"][:-1])), (FILE, "'ids' is int64 (116,)")),
    "vectors in one dimension": (_data(_changed(vectors=lambda old: old["vectors"][:, 0])), (FILE, "'vectors' is float32 (117,)")),
    "vectors in three dimensions": (_data(_changed(vectors=lambda old: old["vectors"][..., None])), (FILE, "(117, 8, 1)")),
    "a NaN": (_data(_put("vectors", (4, 2), np.nan)), (FILE, "vectors row 4 (id 49) holds nan", "leave the id out")),
    "an infinity": (_data(_put("vectors", (0, 0), np.inf)), (FILE, "vectors row 0 (id 21) holds inf")),
    "an infinity below": (_data(_put("vectors", (116, 7), -np.inf)), (FILE, "vectors row 116 (id 833) holds -inf")),
    "NaN in float16": (_data(_put("vectors", (9, 0), np.nan), "float16"), (FILE, "vectors row 9 (id 84) holds nan")),
    "NaN under the old digest": (_data(_put("vectors", (4, 2), np.nan), agree=False), (FILE, "vectors row 4 (id 49)")),
    "a row of zeros": (_data(_put("vectors", 7, 0)), (FILE, "vectors row 7 (id 70) is all zeros")),
    "a row of negative zeros": (_data(_put("vectors", 7, -0.0)), (FILE, "vectors row 7 (id 70) is all zeros")),
    "a row of zeros in int8": (_data(_put("vectors", 7, 0), "int8"), (FILE, "vectors row 7 (id 70) is all zeros")),
    "a scale NaN": (_data(_put("scales", 3, np.nan), "int8"), (FILE, "scales row 3 (id 42) is nan")),
    "a scale of zero": (_data(_put("scales", 3, 0), "int8"), (FILE, "scales row 3 (id 42) is 0.0, wanted a number above 0")),
    "a scale below zero": (_data(_put("scales", 3, -1), "int8"), (FILE, "scales row 3 (id 42) is -1.0")),
    "rolled vectors, the old digest": (
        _data(_changed(vectors=lambda old: np.roll(old["vectors"], 1, axis=0)), agree=False),
        (FILE, "has digest", "table.json says", "make the table again"),
    ),
    "two rows swapped": (_data(_swap_rows, agree=False), (FILE, "has digest")),
    "ids shifted": (_data(_changed(ids=lambda old: old["ids"] + 7), agree=False), (FILE, "has digest")),
    "one bit flipped": (_bytes(FILE, _flip), (FILE, "has digest", "changed after it was written")),
    "another table's table.json": (_about(digest="0" * 16), (FILE, "table.json says 0000000000000000")),
}  # fmt: skip


def _save(place: str, change: Callable, **options) -> Damage:
    """Write the table at `place` anew by `change(ids, vectors)`; `options` over encoder, shop and kind."""

    def damage(folder: Path) -> None:
        table = EmbeddingTable.open(folder / place)
        named = {"encoder": table.encoder, "shop": table.shop, "kind": table.kind} | options
        ids, vectors = change(table.ids, table.take(np.arange(len(table))))
        EmbeddingTable.from_arrays(ids, vectors, **named).save(folder / place, overwrite=True)

    return damage


def _as_it_is(ids: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return ids, vectors


def _swap(folder: Path) -> None:
    (folder / "items").rename(folder / "other")
    (folder / "queries").rename(folder / "items")
    (folder / "other").rename(folder / "queries")


def _swap_with_kinds(folder: Path) -> None:
    for name in ("items", "queries"):
        _save(name, _as_it_is, kind=name)(folder)
    _swap(folder)


def _same_twice(folder: Path) -> None:
    shutil.rmtree(folder / "queries")
    shutil.copytree(folder / "items", folder / "queries")


TABLES = "--items items --queries queries"
READERS = {
    "train": f"ranking.train shop {TABLES} --out new",
    "ways": f"ranking.ways.comparison shop {TABLES} --out new",
    "evaluate": f"ranking.evaluate ranker shop {TABLES} --out new",
    "score": f"ranking.score ranker shop {TABLES} --out new.parquet",
    "recall": f"representation.recall shop {TABLES} --out new.json",
    "look": f"representation.look neighbours shop {TABLES} --out new.png",
    "curate": f"representation.curate shop {TABLES} --out new",
    "benchmark": "representation.benchmark shop --tables mine=items,queries --out new",
    "handover": "ranking.handover.__main__ shop --items items --out new --to fuxictr",
}
MISPAIRED: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "items of another shop": (
        _save("items", _as_it_is, shop="a" * 16),
        ("the items table was made from shop aaaa", "this shop is", "--accept other-shop"),
    ),
    "queries of another shop": (
        _save("queries", _as_it_is, shop="b" * 16),
        ("the queries table was made from shop bbbb", "--accept other-shop"),
    ),
    "queries of another encoder": (
        _save("queries", _as_it_is, encoder="other"),
        ("items come from encoder planted encoder and queries from other",),
    ),
    "queries of another width": (
        _save("queries", lambda ids, vectors: (ids, vectors[:, :5])),
        ("items have dim 8 and queries 5",),
    ),
    "the two swapped": (
        _swap,
        ("every id of the items table is a search_id", "are --items and --queries swapped?"),
    ),
    "the two swapped, by what they say": (
        _swap_with_kinds,
        ("the items table", "holds vectors of queries", "are --items and --queries swapped?"),
    ),
    "items given twice": (_same_twice, ("items and queries are the same table",)),
    "no item of the shop": (
        _save("items", lambda ids, vectors: (ids + 10_000, vectors)),
        ("none of the shop's 120 items (first 0) is in the items table of 117 ids (first 10021)",),
    ),
    "no search of the shop": (
        _save("queries", lambda ids, vectors: (ids + 10_000, vectors)),
        ("none of the shop's 600 searches", "in the queries table of 595 ids"),
    ),
    "1 of 120 items": (
        _save("items", lambda ids, vectors: (ids[:1], vectors[:1])),
        ("items: 1 of 120 (0.8%) items", "--accept low-coverage"),
    ),
    "no item at all": (
        _save("items", lambda ids, vectors: (ids[:0], vectors[:0])),
        ("none of the shop's 120 items", "table of 0 ids"),
    ),
}
PAIRED = [
    Case(f"vectors: {reader}, {name}", action, says, damage)
    for name, (damage, says) in MISPAIRED.items()
    for reader, action in READERS.items()
    if reader != "handover" or name.startswith(("items of", "the two", "no item", "1 of"))
]


def _told(name: str, reader: str, more: str, says: tuple[str, ...], *damages: Damage) -> Case:
    return Case(f"vectors: {name}", READERS[reader] + more, says, _both(*damages), told=True)


TOLD = [
    _told(
        "another shop's, accepted", "handover", " --accept other-shop",
        ("items was made from shop aaaa", "coverage: 117 of 120 (97.5%) items"),
        MISPAIRED["items of another shop"][0],
    ),
    _told(
        "1 of 120 items, accepted", "handover", " --accept low-coverage",
        ("MIND: 1 of 120 (0.8%) items", "coverage: 1 of 120 (0.8%) items"),
        MISPAIRED["1 of 120 items"][0],
    ),
    _told(
        "half of the searches", "recall", " --ks 1",
        ("MIND: 200 of 600 (33.3%) searches", "coverage: 117 of 120 (97.5%) items, 200 of 600 (33.3%) searches"),
        _save("queries", lambda ids, vectors: (ids[:200], vectors[:200])),
    ),
    _told(
        "no name of shop or encoder", "recall", " --ks 1",
        ("the items table names no shop and no encoder", "the queries table names no shop"),
        _save("items", _as_it_is, shop="", encoder=""), _save("queries", _as_it_is, shop=""),
    ),
    _told(
        "a table made before tables said their kind", "recall", " --ks 1",
        ("coverage: 117 of 120 (97.5%) items",),
        _about(kind=None, grown_from=None),
    ),
]  # fmt: skip
CASES = [
    *(Case(f"vectors: {name}", RECALL, says, damage) for name, (damage, says) in MALFORMED.items()),
    *PAIRED,
    *TOLD,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_table_of_vectors(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
