"""Folders and files from elsewhere: nothing is run, sizes are bounded before they are allocated, names are no paths and no markup."""

import gzip
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from moon_rec.config import load_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.shop import Shop, decode
from moon_rec.shop.manifest import Manifest
from moon_rec.shop.readers.sources import PictureSource, read_csv
from moon_rec.strict_json import parse_json
from ranking.config import RankerConfig
from ranking.features import FeatureConfig, RankingTables
from ranking.train import train_ranker
from ranking.trained import TrainedRanker
from ranking.training.checkpoint import Checkpoints, Position, read_position
from representation.curation.files import read_pairs, write_pairs
from representation.encoder import build_encoder, open_encoder
from representation.posttraining.pairs import COLUMNS
from representation.sets.published import read_set
from representation.storage.vector_files import open_vectors
from tests.bad_inputs.harness import Case, check, in_its_turn
from tests.representation.conftest import TINY

VERIFY = "moon_rec verify --quiet"


@pytest.fixture(scope="session")
def strange_workspace(good_workspace: Path, tmp_path_factory) -> Path:
    """Besides the shop and its vectors: an encoder, a ranker, curated pairs and a checkpoint."""
    folder = tmp_path_factory.mktemp("strange") / "good"
    shutil.copytree(good_workspace, folder)
    shop = Shop.open(folder / "shop")
    build_encoder(shop, folder / "encoder", TINY)
    features = FeatureConfig(history_length=5, query_history_length=3)
    config = RankerConfig(content="vector", tower=(8,), embedding_dim=4, attention_dim=4)
    items = EmbeddingTable.open(folder / "items")
    train_ranker(RankingTables.build(shop, features), config, items).save(folder / "ranker")
    Checkpoints(folder / "steps").save({"a": torch.zeros(3)}, Position("0" * 16, step=5))
    ones = pl.DataFrame({name: pl.Series([1], dtype=pl.Int64) for name in COLUMNS})
    about = {"shop": {"digest": shop.digest}, "config": {}, "pairs": {}}
    write_pairs(folder / "pairs", {"text": ones}, about)
    return folder


@pytest.fixture
def workspace(strange_workspace: Path, place: Path) -> Iterator[Path]:
    """A copy of its own."""
    with in_its_turn(strange_workspace, place) as folder:
        yield folder


def _json(file: str, change: Callable[[Any], Any], recorded: bool = False) -> Callable[[Path], None]:  # fmt: skip
    """Change what a JSON file says; its artifact forgets the digests of its files, as one of earlier days, unless they are `recorded`."""

    def damage(folder: Path) -> None:
        path = folder / file
        values = json.loads(path.read_text())
        path.write_text(json.dumps(change(values)))
        if not recorded:
            _forget(path.parent)

    return damage


def _forget(folder: Path) -> None:
    for name in ("moon_rec.json", "ranker.json", "curation.json"):
        if (folder / name).is_file():
            values = json.loads((folder / name).read_text())
            if isinstance(values, dict) and values.pop("files", None) is not None:
                (folder / name).write_text(json.dumps(values))


def _with(*names: str, **values: Any) -> Callable[[Any], Any]:
    """Values put into an object, below `names`."""

    def change(found: Any) -> Any:
        inner = found
        for name in names:
            inner = inner[name]
        inner.update(values)
        return found

    return change


def _write(file: str, data: bytes | str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data.encode() if isinstance(data, str) else data)

    return damage


def _both(*damages: Callable[[Path], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for one in damages:
            one(folder)

    return damage


def _flipped(file: str, at: int = -8) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = bytearray((folder / file).read_bytes())
        data[at] ^= 0xFF
        (folder / file).write_bytes(data)

    return damage


def _header(file: str, change: Callable[[dict], Any]) -> Callable[[Path], None]:
    """Another header of a safetensors file."""

    def damage(folder: Path) -> None:
        path = folder / file
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        text = json.dumps(change(json.loads(data[8 : 8 + length]))).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
        _forget(path.parent)

    return damage


def _sharded(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "encoder" / "model.safetensors").unlink()
        index = {"metadata": {}, "weight_map": {"lm_head.weight": name}}
        _write("encoder/model.safetensors.index.json", json.dumps(index))(folder)
        _forget(folder / "encoder")

    return damage


def _pickled(folder: Path) -> None:
    (folder / "encoder" / "model.safetensors").rename(folder / "encoder" / "pytorch_model.bin")
    _forget(folder / "encoder")


def _gone(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def _bomb(file: str, rows: int = 3_000_000) -> Callable[[Path], None]:
    """A hundred kilobytes of Parquet that would be terabytes of text."""

    def damage(folder: Path) -> None:
        places = pa.array(np.zeros(rows, np.int32))
        column = pa.DictionaryArray.from_arrays(places, pa.array(["x" * (1 << 20)]))
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        ids = pa.array(np.zeros(rows, np.int64))
        pq.write_table(pa.table({"item_id": ids, "vector": column, "title": column}), folder / file)
        _forget((folder / file).parent)

    return damage


def _open_encoder(folder: Path) -> object:
    return open_encoder(folder / "encoder", "cpu")


def _load_ranker(folder: Path) -> object:
    return TrainedRanker.load(folder / "ranker", EmbeddingTable.open(folder / "items"))


def _pairs(folder: Path) -> object:
    return read_pairs(folder / "pairs", Shop.open(folder / "shop"))


def _link(file: str, to: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder.parent / "outside").write_text("theirs")
        os.symlink(to, folder / file)

    return damage


def _zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../7.jpg", b"\0" * (80 << 20))


def _mbe(layout: str) -> Callable[[Path], None]:
    return _both(
        _write("set/MBE_test.jsonl", json.dumps({"id": "a"}) + "\n"),
        _write("set/layout.toml", layout),
    )


def _wide_png() -> bytes:
    """A few bytes that ask for four thousand million pixels."""
    import io
    import zlib

    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = (65_535).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


CONFIG, ABOUT, RANKER = "encoder/config.json", "encoder/moon_rec.json", "ranker/ranker.json"
ENCODERS = {
    "text_config {}": (_json(CONFIG, lambda found: {**found, "text_config": {}}), ("config.json", "do not belong together")),
    "vision_config {}": (_json(CONFIG, lambda found: {**found, "vision_config": {}}), ("config.json", "do not belong together")),
    "no text_config at all": (_json(CONFIG, lambda found: {"model_type": found["model_type"]}), ("do not belong together",)),
    "a vocabulary of a thousand million": (_json(CONFIG, _with("text_config", vocab_size=10**9)), ("text_config.vocab_size is 1000000000", "at most 10,000,000")),
    "a million layers": (_json(CONFIG, _with("text_config", num_hidden_layers=10**6)), ("num_hidden_layers is 1000000",)),
    "a thousand layers": (_json(CONFIG, _with("text_config", num_hidden_layers=1_000)), ("num_hidden_layers is 1,000", "tensors")),
    "a width beyond all": (_json(CONFIG, _with("text_config", hidden_size=2**40)), ("text_config.hidden_size is",)),
    "another width": (_json(CONFIG, _with("text_config", intermediate_size=4_096)), ("has shape", "by config.json it is")),
    "a width of nothing": (_json(CONFIG, _with("text_config", hidden_size=0)), ("hidden_size is 0, wanted at least 1",)),
    "a patch of nothing": (_json(CONFIG, _with("vision_config", patch_size=0)), ("patch_size is 0",)),
    "a number of 5,000 digits": (_both(_write(CONFIG, '{"model_type": "qwen3_vl", "x": ' + "9" * 5_000 + "}"), lambda folder: _forget(folder / "encoder")), ("no encoder at", "digits")),
    "a nest without end": (_both(_write(CONFIG, '{"model_type": "qwen3_vl", "x": ' + "[" * 200_000), lambda folder: _forget(folder / "encoder")), ("no encoder at", "nested too deep")),
    "a name twice": (_both(_write(CONFIG, '{"model_type": "bert", "model_type": "qwen3_vl"}'), lambda folder: _forget(folder / "encoder")), ("'model_type' stands there twice",)),
    "NaN in its config": (_both(_write(CONFIG, '{"model_type": "qwen3_vl", "x": NaN}'), lambda folder: _forget(folder / "encoder")), ("NaN is no number of JSON",)),
    "a model_type that is a list": (_json(CONFIG, lambda found: {**found, "model_type": ["qwen3_vl"]}), ("names a model_type",)),
    "weights named elsewhere": (_json(CONFIG, _with(transformers_weights="../../other.safetensors")), ("transformers_weights", "not followed")),
    "a library to be run": (_json(CONFIG, _with(quantization_config={"quant_method": "bitsandbytes"})), ("quantization_config", "not followed")),
    "a pickle alone": (_pickled, ("pytorch_model.bin, which can run code", "save them as safetensors")),
    "an adapter that names its model": (_both(_write("encoder/adapter_config.json", '{"base_model_name_or_path": "/etc"}'), lambda folder: _forget(folder / "encoder")), ("holds an adapter",)),
    "a shard two folders up": (_sharded("../../other.safetensors"), ("weight_map", "no plain name")),
    "a shard that is a pickle": (_sharded("pytorch_model.bin"), ("wanted", ".safetensors")),
    "a shard that is absent": (_sharded("model-00001-of-00002.safetensors"), ("has no model-00001-of-00002.safetensors",)),
    "a header of 2^60 bytes": (_both(_write("encoder/model.safetensors", (2**60).to_bytes(8, "little") + b"{}"), lambda folder: _forget(folder / "encoder")), ("is no safetensors file",)),
    "tensors that overlap": (_header("encoder/model.safetensors", lambda found: {**found, "x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}), ("overlaps",)),
    "a tensor as large as no file": (_header("encoder/model.safetensors", lambda found: {**found, "x": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}), ("larger than any file",)),
    "weights of an unknown dtype": (_header("encoder/model.safetensors", lambda found: {name: {**one, "dtype": "F4"} if name != "__metadata__" else one for name, one in found.items()}), ("has dtype 'F4'",)),
    "weights changed after it was saved": (_flipped("encoder/model.safetensors"), ("model.safetensors has SHA-256", "moon_rec.json records", "it was changed after it was saved")),
    "a tokenizer changed after it was saved": (_write("encoder/tokenizer_config.json", "{}"), ("tokenizer_config.json has SHA-256",)),
    "weights beside its weights": (_write("encoder/model.safetensors.index.json", "{}"), ("was not there when the rest was saved", "remove it")),
    "a file recorded two folders up": (_json(ABOUT, _with("files", **{"../../x": "0" * 16}), recorded=True), ("moon_rec.json: files", "no plain name")),
    "files that are a list": (_json(ABOUT, lambda found: {**found, "files": []}, recorded=True), ("files is []",)),
    "a settings list": (_json(ABOUT, lambda found: {**found, "config": []}), ("config is []",)),
    "a family that is none": (_json(ABOUT, lambda found: {**found, "family": "[red]x"}), ("family '[red]x'",)),
    "widths of another": (_json(ABOUT, _with("config", widths=[8, 16, 999])), ("end at 999",)),
    "a tokenizer that is a list": (_both(_write("encoder/tokenizer.json", "[]"), lambda folder: _forget(folder / "encoder")), ("tokenizer.json is a list",)),
    "tokens that the model has not": (_json("encoder/tokenizer.json", _with("model", "vocab", **{"zzzz": 10**6})), ("a token 1,000,000", "do not belong together")),
}  # fmt: skip
RANKERS = {
    "a table of two thousand million rows": (_json(RANKER, _with("sizes", "num_embeddings", item=2**31 - 1)), ("has shape", "by ranker.json it is")),
    "more rows than a machine counts": (_json(RANKER, _with("sizes", "num_embeddings", item=2**40)), ("num_embeddings.item is",)),
    "a width of another": (_json(RANKER, _with("config", embedding_dim=60_000)), ("do not belong together",)),
    "rows that are a text": (_json(RANKER, _with("sizes", "num_embeddings", item="120")), ("num_embeddings.item is '120'",)),
    "a feature that is none": (_json(RANKER, _with("sizes", "num_embeddings", **{"__class__": 3})), ("num_embeddings is",)),
    "levels without end": (_json(RANKER, _with("sizes", num_code_levels=10**9)), ("num_code_levels is 1000000000",)),
    "sizes that lack one": (_json(RANKER, lambda found: {**found, "sizes": {}}), ("sizes has",)),
    "vectors of a third kind": (_json(RANKER, _with("vectors", **{"../x": {"digest": "a", "encoder": "b"}})), ("vectors.../x is",)),
    "a list": (_write(RANKER, "[]"), ("is a list, wanted names and values",)),
    "weights changed after it was saved": (_flipped("ranker/weights.safetensors"), ("weights.safetensors has SHA-256", "ranker.json records")),
    "another's weights": (_both(_header("ranker/weights.safetensors", lambda found: {f"{name}x" if name != "__metadata__" else name: one for name, one in found.items()})), ("do not belong together",)),
    "a sample that is no sample": (_both(_header("ranker/items_sample.safetensors", lambda found: {"ids" if name == "vectors" else "vectors" if name == "ids" else name: one for name, one in found.items()})), ("wanted up to 256 ids",)),
    "a preparation of another type": (_json("ranker/preparation/preparation.json", lambda found: {**found, "context": 5}), ("preparation",)),
    "a vocabulary that is a bomb": (_both(_bomb("ranker/preparation/items.parquet"), lambda folder: _forget(folder / "ranker")), ("items.parquet", "would be")),
}  # fmt: skip
CASES = [
    *(Case(f"strangers: encoder, {name}", _open_encoder, says, damage) for name, (damage, says) in ENCODERS.items()),
    *(Case(f"strangers: ranker, {name}", _load_ranker, says, damage) for name, (damage, says) in RANKERS.items()),
    Case("strangers: pairs of a shop that is a list", _pairs, ("names no shop",), _json("pairs/curation.json", lambda found: {**found, "shop": []})),
    Case("strangers: pairs that were changed", _pairs, ("text.parquet has SHA-256",), _write("pairs/text.parquet", b"PAR1")),
    Case("strangers: pairs that are a bomb", _pairs, ("would be texts of more than",), _bomb("pairs/text.parquet")),
    Case("strangers: vectors that are a bomb", lambda folder: open_vectors(folder / "v.parquet"), ("would be texts of more than",), _bomb("v.parquet")),
    Case("strangers: a table to import that is a bomb", "moon_rec shop import tables --data tables --out new", ("would be texts of more than",), _bomb("tables/items.parquet")),
    Case("strangers: impressions to score that are a bomb", "ranking.score ranker shop --impressions v.parquet --items items --out new.parquet", ("would be texts of more than",), _bomb("v.parquet")),
    Case("strangers: a manifest of a thousand nests", lambda folder: Manifest.read(folder / "shop"), ("nested too deep",), _write("shop/manifest.json", "[" * 100_000)),
    Case("strangers: a manifest with a name twice", lambda folder: Manifest.read(folder / "shop"), ("stands there twice",), _write("shop/manifest.json", '{"name": "a", "name": "b"}')),
    Case("strangers: settings of five megabytes", lambda folder: load_config(RankerConfig, folder / "s.toml"), ("at most 4,194,304 are read",), _write("s.toml", "#" * (5 << 20))),
    Case("strangers: a position of negative steps", lambda folder: read_position(folder / "steps" / "step-000000005"), ("says no position",), _json("steps/step-000000005/position.json", _with(step=-1))),
    Case("strangers: a picture of four thousand million pixels", lambda folder: decode(_wide_png(), "picture of item 7"), ("65535x65535 is over",)),
    Case("strangers: a zipped picture of eighty megabytes", lambda folder: PictureSource(folder / "bomb.zip").read("7"), ("83,886,080 bytes",), _zip),
    Case("strangers: gzip of nothing but zeros", lambda folder: read_csv(folder / "a.csv.gz", {"a": pl.Int64()}), ("unpack to more than",), _write("a.csv.gz", gzip.compress(b"\0" * (1 << 20), 9) * 1_100)),
    Case("strangers: a CSV packed by zstd", lambda folder: read_csv(folder / "a.csv", {"a": pl.Int64()}), ("packed by zstd",), _write("a.csv", b"\x28\xb5\x2f\xfd" + b"\0" * 20)),
    Case("strangers: a set's pictures two folders up", lambda folder: read_set("mbe", folder / "set"), ("layout.toml: pictures", "leads out of"), _mbe('pictures = "../../x"')),
    Case("strangers: a set's files from the root", lambda folder: read_set("mbe", folder / "set"), ("layout.toml: files", "leads out of"), _mbe('files = "/etc/*"')),
    Case("strangers: verify, whole and as recorded", "moon_rec verify encoder ranker items queries shop pairs steps", ("5 as recorded", "computed anew", "embedding table of its"), told=True),
    Case("strangers: verify, an encoder of earlier days", "moon_rec verify encoder", ("not recorded", "computed anew"), lambda folder: _forget(folder / "encoder"), told=True),
    Case("strangers: verify, an encoder that says another digest", f"{VERIFY} encoder", ("says digest 0000000000000000", "save the encoder again"), _json(ABOUT, _with(digest="0" * 16))),
    Case("strangers: verify, weights changed since days without record", f"{VERIFY} encoder", ("have ",), _both(lambda folder: _forget(folder / "encoder"), _flipped("encoder/model.safetensors", -5))),
    Case("strangers: verify, weights changed", f"{VERIFY} encoder", ("has SHA-256",), _flipped("encoder/model.safetensors")),
    Case("strangers: verify, a link out of the folder", f"{VERIFY} encoder", ("is a link to", "out of the folder"), _link("encoder/notes", "/etc/hostname")),
    Case("strangers: verify, a pickle by its first bytes", f"{VERIFY} shop", ("is a pickle", "can run code"), _write("shop/notes.txt", b"\x80\x04\x95rest")),
    Case("strangers: verify, a pickle by its name", f"{VERIFY} shop", ("ends in .pt",), _write("shop/model.pt", b"PK")),
    Case("strangers: verify, a pipe that would be waited for", f"{VERIFY} shop", ("is no plain file",), lambda folder: os.mkfifo(folder / "shop" / "pipe")),
    Case("strangers: verify, a name that hides its end", f"{VERIFY} shop", ("not seen",), _write("shop/a\u202egnp.exe", b"x")),
    Case("strangers: verify, a table with other vectors", f"{VERIFY} items", ("table.safetensors has digest",), _flipped("items/table.safetensors", -5)),
    Case("strangers: verify, a shop with other rows", f"{VERIFY} shop", ("is not the file that manifest.json records",), _flipped("shop/items.parquet", 200)),
    Case("strangers: verify, a ranker with another's preparation", f"{VERIFY} ranker", ("preparation",), _json(RANKER, _with(preparation="0" * 16))),
    Case("strangers: verify, a study that is no database", f"{VERIFY} study", ("no SQLite database",), _write("study/mlflow.db", b"SQLite format 3\0" + b"x" * 200)),
    Case("strangers: verify, a report that says nothing", f"{VERIFY} report", ("that of no report",), _write("report/report.json", "{}")),
    Case("strangers: verify, nothing that is known", f"{VERIFY} empty", ("holds nothing that is known",), _write("empty/a.txt", b"x")),
    Case("strangers: verify, no folder", f"{VERIFY} absent", ("absent is no folder",)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_strangers_file_is_refused(case, workspace, capsys, monkeypatch):
    if case.name.endswith("waited for"):
        case.damage(workspace)  # a pipe cannot be read by the harness
        monkeypatch.chdir(workspace)
        from moon_rec.__main__ import main

        assert main(case.action.split()[1:]) == 2
        assert "is no plain file" in capsys.readouterr().err
        return
    check(case, workspace, capsys, monkeypatch)


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": 2}', "NaN", "[Infinity]", "[" * 10**5, "1" * 5_000, b"\xff", "", '{"a": }'],
    ids=repr,
)
def test_json_with_two_meanings_is_none(text):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_json(text)


def test_code_beside_a_checkpoint_is_not_run(workspace, monkeypatch):
    """`auto_map` in config and tokenizer, and the module that it names: never imported, and nobody is asked."""
    marker = workspace / "ran"
    code = f"open({str(marker)!r}, 'w').write('ran')\n"
    for name in ("modeling_x.py", "tokenization_x.py"):
        _write(f"encoder/{name}", code)(workspace)
    _json(CONFIG, _with(auto_map={"AutoConfig": "modeling_x.C", "AutoModel": "modeling_x.M"}))(
        workspace
    )
    named = {"AutoTokenizer": [None, "tokenization_x.T"]}
    _json("encoder/tokenizer_config.json", _with(auto_map=named))(workspace)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run code"))
    open_encoder(workspace / "encoder", "cpu")
    assert not marker.exists()


def test_a_tokenizer_that_makes_no_token_is_one_line():
    """As a damaged tokenizer.json leaves it: rows of no tokens at all."""
    from types import SimpleNamespace

    import torch

    from moon_rec.errors import EncoderError
    from representation.encoder import ProductEncoder

    nothing = SimpleNamespace(token_ids=torch.zeros(3, 0, dtype=torch.long))
    with pytest.raises(EncoderError, match="makes no token"):
        ProductEncoder._embedded(SimpleNamespace(), nothing)  # type: ignore[arg-type]
