"""Embedding tables: damaged ones, those that do not go with a shop or with each other, and files of vectors that `bring` cannot take for what they are."""

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

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
        (
            "items",
            ": the items table was made from shop aaaa",
            "this shop is",
            "--accept other-shop",
        ),
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
        (
            "all ids of the items table are search_ids of the shop",
            "are --items and --queries swapped?",
        ),
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

BRING = "representation.bring mine.{} --out new"
IDS = np.arange(20) * 7
VECTORS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
NUMBERED = {f"v{number}": VECTORS[:, number] for number in range(4)}


def _frame(**columns) -> Damage:
    """mine.parquet of `item_id` and these columns; None leaves one out."""
    made = {name: one for name, one in ({"item_id": IDS} | columns).items() if one is not None}
    return lambda folder: pl.DataFrame(made).write_parquet(folder / "mine.parquet")


def _arrow(column: pa.Array, name: str = "vector") -> Damage:
    return lambda folder: pq.write_table(
        pa.table([pa.array(IDS), column], ["item_id", name]), folder / "mine.parquet"
    )


def _npy(vectors: np.ndarray = VECTORS, ids: np.ndarray = IDS) -> Damage:
    def damage(folder: Path) -> None:
        np.save(folder / "mine.npy", vectors, allow_pickle=True)
        np.save(folder / "ids.npy", ids, allow_pickle=True)

    return damage


def _tensors(**tensors) -> Damage:
    def damage(folder: Path) -> None:
        save_torch(
            {name: torch.as_tensor(one).contiguous() for name, one in tensors.items()},
            folder / "mine.safetensors",
        )

    return damage


def _npz(folder: Path) -> None:
    with open(folder / "mine.npy", "wb") as file:
        np.savez(file, vectors=VECTORS)
    np.save(folder / "ids.npy", IDS)


def _cut_npy(folder: Path) -> None:
    _npy()(folder)
    _bytes("mine.npy", lambda old: old[:-40])(folder)


def _bring(
    name: str,
    ending: str,
    damage: Damage,
    says: tuple[str, ...],
    more: str = "",
    told: bool = False,
) -> Case:
    ids = " --ids ids.npy" if ending == "npy" else ""
    return Case(f"vectors brought: {name}", BRING.format(ending) + ids + more, says, damage, told)


HEADER, LINES = "item_id,v0,v1", ("1,.5,1.5", "2,.25,1", "3,1,.75")


def _text(*changes: tuple[str, str], ending: str = "csv") -> Damage:
    """mine.csv of three vectors in which each pair's first text is replaced by its second, once."""

    def damage(folder: Path) -> None:
        text = "\n".join([HEADER, *LINES, ""])
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        (folder / f"mine.{ending}").write_text(text)

    return damage


def _lists(*vectors: str) -> Damage:
    lines = "".join(f"{place}\t{one}\n" for place, one in enumerate(vectors))
    return lambda folder: (folder / "mine.tsv").write_text(f"item_id\tvector\n{lines}")


TEXTS = pl.Series([str(list(map(float, row))) for row in VECTORS])
NOT_A_VECTOR = np.array([{}] * 20, dtype=object)
BROUGHT = [
    _bring("a price beside numbered columns", "parquet", _frame(price=VECTORS[:, 0], **NUMBERED),
           ("20 vectors, 4 wide", "columns v0 ... v3 (4); left out: price"), told=True),
    _bring("a price beside a list", "parquet", _frame(price=VECTORS[:, 0], vector=VECTORS.tolist()),
           ("20 vectors, 4 wide", "column vector; left out: price"), told=True),
    _bring("numbered columns out of order", "parquet", _frame(**dict(reversed(NUMBERED.items()))),
           ("columns v0 ... v3 (4)",), told=True),
    _bring("two families", "parquet", _frame(price1=VECTORS[:, 0], price2=VECTORS[:, 1], **NUMBERED),
           ("mine.parquet", "price1 ... price2 (2) or v0 ... v3 (4)", "--columns")),
    _bring("floats without a number", "parquet", _frame(a=VECTORS[:, 0], b=VECTORS[:, 1]),
           ("mine.parquet: which column holds the vectors?", "it has item_id, a, b", "--columns")),
    _bring("a price alone", "parquet", _frame(price=VECTORS[:, 0]), ("which column holds the vectors", "--columns")),
    _bring("a hole in the numbers", "parquet", _frame(**NUMBERED | {"v2": None}), ("v0 ... v3", "v2 is not there")),
    _bring("one number is an integer", "parquet", _frame(**NUMBERED | {"v2": IDS}), ("v0 ... v3", "v2 is int64")),
    _bring("one number is text", "parquet", _frame(**NUMBERED | {"v2": TEXTS}), ("v0 ... v3", "v2 is large_string")),
    _bring("one number twice", "parquet", _frame(v01=VECTORS[:, 0], **NUMBERED), ("have one number", "--columns")),
    _bring("written as text", "parquet", _frame(vector=TEXTS), ("column 'vector' holds vectors written as text", "json_decode")),
    _bring("written as text, named", "parquet", _frame(vector=TEXTS), ("written as text",), " --columns vector"),
    _bring("written as text with blanks", "parquet", _frame(v=pl.Series(["0.1 0.2 -0.3"] * 20)), ("written as text, such as '0.1 0.2 -0.3'",)),
    _bring("no column but text", "parquet", _frame(title=pl.Series(["red mug"] * 20)), ("which column holds the vectors",)),
    _bring("a named column of titles", "parquet", _frame(title=pl.Series(["red mug"] * 20)), ("'title' is large_string",), " --columns title"),
    _bring("bytes", "parquet", _frame(vector=pl.Series([b"1234"] * 20)), ("'vector' is large_binary", "lists of numbers"), " --columns vector"),
    _bring("booleans", "parquet", _frame(vector=pl.Series([True] * 20)), ("'vector' is bool",), " --columns vector"),
    _bring("lists of texts", "parquet", _frame(vector=[["0.1", "0.2"]] * 20), ("'vector' is large_list",), " --columns vector"),
    _bring("lists of lists", "parquet", _frame(vector=[[[0.1], [0.2]]] * 20), ("'vector' is large_list",), " --columns vector"),
    _bring("structs", "parquet", _frame(vector=[{"x": 0.1}] * 20), ("'vector' is struct",), " --columns vector"),
    _bring("decimals", "parquet", _arrow(pa.array([1] * 20, pa.int64()).cast(pa.decimal128(20, 1))), ("'vector' is decimal128",), " --columns vector"),
    _bring("two columns of lists", "parquet", _frame(a=VECTORS.tolist(), b=VECTORS.tolist()), ("a or b", "--columns")),
    _bring("a list and a float named", "parquet", _frame(a=VECTORS.tolist(), b=VECTORS[:, 0]), ("'a' of b, a is a column of lists",), " --columns b a"),
    _bring("floats and whole numbers named", "parquet", _frame(a=VECTORS[:, 0], b=IDS), ("some of a, b are whole numbers",), " --columns a b"),
    _bring("a column named twice", "parquet", _frame(**NUMBERED), ("column 'v0' is there twice",), " --columns v0 v0"),
    _bring("the ids named as vectors", "parquet", _frame(**NUMBERED), ("'item_id' holds the ids",), " --columns item_id"),
    _bring("--tensor of Parquet", "parquet", _frame(**NUMBERED), ("--tensor x", "leave it out"), " --tensor x"),
    _bring("ids with a fraction", "parquet", _frame(item_id=IDS + 0.5, **NUMBERED), ("mine.parquet: item_id row 0: 0.5 is no whole number",)),
    _bring("ids beyond 2^53 as floats", "parquet", _frame(item_id=IDS + 2.0**53, **NUMBERED), ("item_id row 0", "lost its last digits")),
    _bring("ids as texts", "parquet", _frame(item_id=pl.Series(list(map(str, IDS))), **NUMBERED), ("item_id row 0: '0' is String",)),
    _bring("ids with NaN", "parquet", _frame(item_id=[np.nan, *IDS[1:]], **NUMBERED), ("item_id row 0: nan",)),
    _bring("ids that are whole floats", "parquet", _frame(item_id=IDS * 1.0, **NUMBERED), ("20 vectors, 4 wide",), told=True),
    _bring("CSV: as it should be", "csv", _text(), ("3 vectors, 2 wide", "columns v0 ... v1 (2)"), told=True),
    _bring("CSV: a price beside", "csv", _text((HEADER, HEADER.replace("item_id", "item_id,price")), *((one, one.replace(",", ",9.5,", 1)) for one in LINES)), ("3 vectors, 2 wide", "left out: price"), told=True),
    _bring("CSV: a number missing", "csv", _text((".25", "")), ("mine.csv row 1 (id 2) holds NaN, null", "1 of 3 vectors", "--leave-out")),
    _bring("CSV: NaN", "csv", _text((".25", "nan")), ("mine.csv row 1 (id 2) holds NaN",)),
    _bring("CSV: infinity", "csv", _text((".25", "inf")), ("mine.csv row 1 (id 2) holds NaN",)),
    _bring("CSV: all zeros", "csv", _text((".25,1", "0,0")), ("row 1 (id 2) is all zeros",)),
    _bring("CSV: a word in a column", "csv", _text((".25", "soft")), ("mine.csv: v0 row 1: 'soft' is no number", "decimal point")),
    _bring("CSV: a decimal comma", "csv", _text((".25,1", '"0,25",1')), ("v0 row 1: '0,25' is no number",)),
    _bring("CSV: a row too long", "csv", _text(("2,.25,1", "2,.25,1,7")), ("line 3 has 4 fields, the header has 3",)),
    _bring("CSV: a row too short", "csv", _text(("2,.25,1", "2,.25")), ("mine.csv row 1 (id 2) holds NaN, null",)),
    _bring("CSV: an id twice", "csv", _text(("2,.25", "1,.25")), ("mine.csv: id 1 is in rows 0 and 1", "give each id one vector")),
    _bring("CSV: an id missing", "csv", _text(("2,.25", ",.25")), ("item_id row 1: None is null", "give every row a value")),
    _bring("CSV: an id of letters", "csv", _text(("2,.25", "b,.25")), ("item_id row 1: 'b' is no whole number",)),
    _bring("CSV: an id with a fraction", "csv", _text(("2,.25", "2.5,.25")), ("item_id row 1: '2.5' is no whole number",)),
    _bring("CSV: no ids", "csv", _text(("item_id", "sku")), ("mine.csv has no column item_id or search_id or id", "--id-column")),
    _bring("CSV: no header", "csv", _text((f"{HEADER}\n", "")), ("looks like values, not names", "item_id,v0,v1")),
    _bring("CSV: a header alone", "csv", _text(*((f"{one}\n", "") for one in LINES)), ("which column holds the vectors",)),
    _bring("CSV: empty", "csv", _text((HEADER, ""), *((one, "") for one in LINES), ("\n\n\n\n", "")), ("mine.csv is empty",)),
    _bring("CSV: no text", "csv", lambda folder: (folder / "mine.csv").write_bytes(b"item_id,v0,v1\n\xff,1,2\n"), ("line 2 is no UTF-8 text",)),
    _bring("CSV: whole numbers", "csv", _text((".5,1.5", "5,15"), (".25", "25"), (".75", "75")), ("holds whole numbers", "--scale")),
    _bring("CSV: a hole in the numbers", "csv", _text(("v1", "v2")), ("v0 ... v2", "v1 is not there")),
    _bring("CSV: one column of numbers", "csv", _text(("v1", "price")), ("which column holds the vectors", "--columns")),
    _bring("CSV: --tensor", "csv", _text(), ("--tensor x", "is no safetensors file"), " --tensor x"),
    _bring("CSV: packed and cut", "csv.gz", lambda folder: (folder / "mine.csv.gz").write_bytes(gzip.compress(b"item_id,v0,v1\n" + b"1,.5,1.5\n" * 999)[:40]), ("mine.csv.gz",)),
    _bring("TSV: ragged lists", "tsv", _lists("[.5, 1]", "[.25]", "[1, 1.5]"), ("mine.tsv row 1: a vector of 1 numbers, the others have 2",)),
    _bring("TSV: a list with a word", "tsv", _lists("[.5, 1]", "[.25, soft]"), ("mine.tsv: vector row 1: 'soft' is no number",)),
    _bring("TSV: a list with nothing in it", "tsv", _lists("[.5, 1]", "[.25, NA]"), ("mine.tsv row 1 (id 1) holds NaN",)),
    _bring("TSV: a list left empty", "tsv", _lists("[.5, 1]", "[]"), ("mine.tsv row 1 (id 1) holds NaN",)),
    _bring("TSV: as numpy prints a long one", "tsv", _lists("[.5 ... 1.]", "[.25 ... 1.]"), ("vector row 0: '...' is no number",)),
    _bring("npy: an archive", "npy", _npz, ("mine.npy is an archive of arrays",)),
    _bring("npy: cut short", "npy", _cut_npy, ("mine.npy cannot be read as an array of numbers", "np.save")),
    _bring("npy: objects", "npy", _npy(NOT_A_VECTOR), ("mine.npy cannot be read as an array of numbers", "np.save")),
    _bring("npy: a record array", "npy", _npy(np.zeros((20, 1), [("a", "f4")])), ("mine.npy: vectors must be numbers",)),
    _bring("npy: complex numbers", "npy", _npy(VECTORS + 1j), ("mine.npy: vectors must be numbers, got complex64",)),
    _bring("npy: booleans", "npy", _npy(VECTORS > 0), ("vectors must be numbers, got bool",)),
    _bring("npy: texts", "npy", _npy(VECTORS.astype(str)), ("vectors must be numbers, got <U",)),
    _bring("npy: times", "npy", _npy(VECTORS.astype("M8[s]")), ("vectors must be numbers, got datetime64",)),
    _bring("npy: one number", "npy", _npy(np.array(1.5)), ("must be (rows, dim), got ()",)),
    _bring("npy: no row", "npy", _npy(VECTORS[:0], IDS[:0]), ("mine.npy holds no vectors",)),
    _bring("npy: no column", "npy", _npy(VECTORS[:, :0]), ("must be (rows, dim), got (20, 0)",)),
    _bring("npy: three dimensions", "npy", _npy(VECTORS[:, None]), ("must be (rows, dim), got (20, 1, 4)",)),
    _bring("npy: ids with a fraction", "npy", _npy(ids=IDS + 0.5), ("ids.npy: ids row 0: 0.5 is no whole number",)),
    _bring("npy: ids of objects", "npy", _npy(ids=IDS.astype(object)), ("ids.npy cannot be read", "np.save")),
    _bring("npy: ids of records", "npy", _npy(ids=np.zeros(20, [("a", "i8")])), ("ids.npy: ids are [('a', '<i8')]",)),
    _bring("npy: ids of texts", "npy", _npy(ids=IDS.astype(str)), ("ids.npy: ids row 0: '0' is String, wanted whole numbers", "name the shop whose own ids they are with --shop")),
    _bring("npy: ids of booleans", "npy", _npy(ids=IDS > 5), ("ids.npy: ids row 0", "wanted whole numbers")),
    _bring("npy: ids in a matrix", "npy", _npy(ids=IDS[:, None]), ("ids.npy: ids must have one dimension, got shape (20, 1)",)),
    _bring("npy: one id", "npy", _npy(ids=np.array(3)), ("ids must have one dimension, got shape ()",)),
    _bring("npy: fewer ids", "npy", _npy(ids=IDS[:-1]), ("20 vectors and there are 19 ids",)),
    _bring("npy: --columns", "npy", _npy(), ("--columns v0", "is no Parquet file"), " --columns v0"),
    _bring("npy: --id-column", "npy", _npy(), ("--id-column sku", "leave it out"), " --id-column sku"),
    _bring("safetensors: booleans", "safetensors", _tensors(ids=IDS, vectors=VECTORS > 0), ("tensor 'vectors' is BOOL",)),
    _bring("safetensors: complex numbers", "safetensors", _tensors(ids=IDS, vectors=VECTORS + 1j), ("tensor 'vectors' is C64",)),
    _bring("safetensors: ids in bfloat16", "safetensors", _tensors(ids=torch.zeros(20, dtype=torch.bfloat16), vectors=VECTORS), ("tensor 'ids' is BF16",)),
    _bring("safetensors: ids with a fraction", "safetensors", _tensors(ids=IDS + 0.5, vectors=VECTORS), ("ids row 0: 0.5",)),
    _bring("safetensors: another tensor beside", "safetensors", _tensors(ids=IDS, vectors=VECTORS, price=VECTORS[:, :1]), ("tensor vectors; left out: price",), told=True),
    _bring("another shop's ids", "parquet", _frame(item_id=IDS + 10_000, **NUMBERED), ("none of the 20 ids (first 10000)", "item_id of shop planted"), " --shop shop"),
]  # fmt: skip
CASES = [
    *(Case(f"vectors: {name}", RECALL, says, damage) for name, (damage, says) in MALFORMED.items()),
    *PAIRED,
    *TOLD,
    *BROUGHT,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_table_of_vectors(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
