"""Every reader of a file that may come from elsewhere, with a good example of what it reads: what `benchmarks.fuzz` and tests/bad_inputs/test_fuzzed.py damage."""

import gzip
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from PIL import Image
from safetensors.numpy import save_file

from exchange_rate.verify import verify_study
from moon_rec.config import load_config
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import MoonRecError
from moon_rec.shop import Shop, ShopWriter, decode
from moon_rec.shop.manifest import Manifest
from moon_rec.shop.readers import (
    MovieLensConfig,
    OnlineRetailConfig,
    import_movielens,
    import_online_retail,
    import_tables,
)
from moon_rec.shop.readers.interactions import InteractionsConfig, import_interactions
from moon_rec.shop.readers.myntra import read_pictures, read_products
from ranking.config import RankerConfig
from ranking.features import FeatureConfig, RankingTables
from ranking.judging.paired_scores import paired_scores
from ranking.train import train_ranker
from ranking.trained import TrainedRanker
from ranking.training.checkpoint import Checkpoints, Position, load_state, read_position
from representation.curation.files import read_pairs, write_pairs
from representation.encoder import build_encoder, open_encoder
from representation.model.backbone import BackboneConfig
from representation.posttraining.pairs import COLUMNS
from representation.sets.published import read_set
from representation.storage.vector_files import open_vectors

START = datetime(2025, 1, 1)
WORDS = ("red", "blue", "mug", "lamp", "hat", "bag")
TINY = BackboneConfig(
    image_size=16, patch_size=4, vision_dim=16, vision_layers=1, vision_heads=1, vision_mlp_dim=16, text_dim=16, text_layers=1, text_heads=1, text_mlp_dim=16,
    vocabulary_size=300, widths=(8,),
)  # fmt: skip


LOG_MAP = """\
cut_share = 0.6
test_share = 0.8
[log]
user = "who"
item = "what"
time = "when"
"""


@dataclass(frozen=True)
class Reader:
    """A door.

    Attributes:
        name: of the door.
        files: below the folder, those that are damaged, one at a time.
        read: the folder -> anything; raises MoonRecError where it refuses.
        good: makes the folder, from that of the shop, encoder, table and ranker that all share.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Path], object]
    good: Callable[[Path, Path], None]


def make_shared(folder: Path) -> None:
    """What several readers start from: `shop`, `items`, `encoder`, `ranker`, `pairs`, `checkpoint`, and two plain checkpoints."""
    shop = _shop(folder / "shop")
    ids = shop.items.select("item_id").collect()["item_id"].to_numpy()
    vectors = np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32)
    EmbeddingTable.from_arrays(ids, vectors, encoder="a", kind="items").save(folder / "items")
    build_encoder(shop, folder / "encoder", TINY)
    _forget(folder / "encoder" / "moon_rec.json")
    tables = RankingTables.build(shop, FeatureConfig(history_length=4, query_history_length=2))
    config = RankerConfig(content="vector", tower=(4,), embedding_dim=4, attention_dim=4)
    train_ranker(tables, config, EmbeddingTable.open(folder / "items")).save(folder / "ranker")
    _forget(folder / "ranker" / "ranker.json")
    ones = {name: pl.Series([1], dtype=pl.Int64) for name in COLUMNS}
    about = {"shop": {"digest": shop.digest}, "config": {}, "pairs": {}}
    write_pairs(folder / "pairs", {"text": pl.DataFrame(ones)}, about)
    _forget(folder / "pairs" / "curation.json")
    position = Position("0" * 16, step=3)
    saved = Checkpoints(folder / "steps").save({"a": torch.zeros(3, 2)}, position)
    shutil.move(saved, folder / "checkpoint")
    _plain_checkpoints(folder)


def readers() -> list[Reader]:
    """All of them."""
    shop = ("shop/items.parquet", "shop/searches.parquet", "shop/impressions.parquet")
    return [
        Reader("manifest", ("shop/manifest.json",), lambda at: Manifest.read(at / "shop"), _take("shop")),
        Reader("shop, its tables", shop, _read_shop, _hand_written),
        Reader("shop import tables", shop, _import, _hand_written),
        Reader("embedding table", ("items/table.json", "items/table.safetensors"), lambda at: EmbeddingTable.open(at / "items"), _take("items")),
        Reader("encoder", _files("encoder", "moon_rec.json", "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"), lambda at: _encode(at / "encoder"), _take("encoder")),
        Reader("text encoder", _files("bert", "config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "sentence_bert_config.json", "model.safetensors"), lambda at: _encode(at / "bert"), _take("bert")),
        Reader("dual encoder", _files("clip", "config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors"), lambda at: _encode(at / "clip"), _take("clip")),
        Reader("ranker", _files("ranker", "ranker.json", "weights.safetensors", "items_sample.safetensors", "preparation/preparation.json", "preparation/items.parquet"), _load_ranker, _take("ranker", "items")),
        Reader("checkpoint of a ranker", _files("checkpoint", "position.json", "*.safetensors"), _load_checkpoint, _take("checkpoint")),
        Reader("curation", _files("pairs", "curation.json", "text.parquet"), lambda at: read_pairs(at / "pairs", Shop.open(at / "shop")), _take("pairs", "shop")),
        Reader("scores", ("a/scores.parquet",), lambda at: paired_scores(at / "a", at / "b"), _scores),
        Reader("settings in TOML", ("settings.toml",), lambda at: load_config(RankerConfig, at / "settings.toml"), _toml),
        Reader("pictures", ("a.png", "b.jpg", "c.gif", "d.webp", "e.bmp", "f.jpg"), lambda at: [decode(file.read_bytes()).size for file in sorted(at.iterdir())], _pictures),
        Reader("vectors: npy", ("v.npy", "i.npy"), lambda at: _vectors(at / "v.npy", at / "i.npy"), _vector_files),
        Reader("vectors: Parquet", ("v.parquet",), lambda at: _vectors(at / "v.parquet"), _vector_files),
        Reader("vectors: safetensors", ("v.safetensors",), lambda at: _vectors(at / "v.safetensors"), _vector_files),
        Reader("MovieLens", ("ratings.csv", "movies.csv", "posters.zip"), lambda at: _made(at, lambda out: import_movielens(at, out, config=MovieLensConfig(cut_share=0.6, test_share=0.8))), _movielens),
        *(Reader(f"shop import interactions: {form}", (f"log.{form}", "map.toml"), lambda at, form=form: _import_log(at, form), _log) for form in ("csv", "jsonl", "parquet")),
        Reader("Online Retail", ("online_retail.csv",), lambda at: _made(at, lambda out: import_online_retail(at, out, OnlineRetailConfig(num_negatives=1, cut_share=0.6, test_share=0.8))), _online_retail),
        Reader("Myntra", ("products.csv.gz", "images.zip"), lambda at: list(read_pictures(at, read_products(at)["product_id"].to_list())), _myntra),
        Reader("Myntra as published", ("styles.csv",), read_products, _myntra_published),
        Reader("published set: MBE", ("MBE_test.jsonl", "images/1.jpg", "layout.toml"), lambda at: read_set("mbe", at), _mbe),
        Reader("published set: in Parquet", ("rows.parquet", "layout.toml"), lambda at: read_set("mbe", at), _mbe_parquet),
        Reader("tracking store", ("mlflow.db",), _study, _database),
    ]  # fmt: skip


def _files(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


def _take(*names: str) -> Callable[[Path, Path], None]:
    def take(shared: Path, folder: Path) -> None:
        for name in names:
            shutil.copytree(shared / name, folder / name)

    return take


def _forget(about: Path) -> None:
    """Recorded digests away, as of an artifact of earlier days: else no damage would come past them."""
    values = json.loads(about.read_text())
    values.pop("files")
    about.write_text(json.dumps(values))


def _png(seed: int, kind: str = "PNG", **more: object) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind, **more)
    return file.getvalue()


def _shop(out: Path) -> Shop:
    titles = [f"{WORDS[number % 2]} {WORDS[2 + number % 4]}" for number in range(12)]
    items = pl.DataFrame(
        {
            "item_id": range(12), "spu_id": range(12), "title": titles, "category": [f"Things/{word.split()[1]}" for word in titles],
            "brand": [None, "Maker"] * 6, "attributes": [[{"name": "colour", "value": word.split()[0]}] for word in titles], "description": [None] * 12,
            "price": [float(number) for number in range(12)], "image": [_png(number) for number in range(12)], "listed_at": [START] * 12,
        },
        schema_overrides={"description": pl.String, "item_id": pl.Int64, "spu_id": pl.Int64},
    )  # fmt: skip
    rows = [
        (request, request % 3, (request * 5 + place) % 12, START + timedelta(hours=request), place, place == request % 4)
        for request in range(60)
        for place in range(4)
    ]  # fmt: skip
    names = ["request_id", "user_id", "item_id", "time", "position", "clicked"]
    shown = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        pl.col("position").cast(pl.Int32),
        search_id=pl.when(pl.col("request_id") < 20).then(pl.col("request_id")),
        carted=False,
        purchased=pl.col("clicked"),
    )
    searches = pl.DataFrame(
        {
            "search_id": range(20), "user_id": [number % 3 for number in range(20)],
            "time": [START + timedelta(hours=number) for number in range(20)],
            "query_text": [WORDS[number % 6] for number in range(20)], "query_image": [None, _png(99)] * 10,
        },
        schema_overrides={"search_id": pl.Int64, "user_id": pl.Int64},
    )  # fmt: skip
    cut, test = START + timedelta(hours=36), START + timedelta(hours=48)
    with ShopWriter(
        out, name="tiny", source="made", is_simulated=True, cut_time=cut, test_time=test
    ) as writer:
        writer.write("items", items)
        writer.write("searches", searches)
        writer.write("impressions", shown)
    return Shop.open(out)


def _hand_written(shared: Path, folder: Path) -> None:
    _take("shop")(shared, folder)
    manifest = folder / "shop" / "manifest.json"
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**values, "rows": {}, "sizes": {}, "fingerprints": {}}))


def _read_shop(at: Path) -> object:
    shop = Shop.open(at / "shop")
    shop.validate()
    return [shop.table(name).collect().height for name in ("items", "searches", "impressions")]


def _made(at: Path, make: Callable[[Path], object]) -> object:
    """Import into a folder beside, which goes again."""
    out = at.with_name("made")
    shutil.rmtree(out, ignore_errors=True)
    try:
        return repr(type(make(out)))
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _import(at: Path) -> object:
    return _made(at, lambda out: import_tables(at / "shop", out))


def _plain_checkpoints(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertModel,
        CLIPConfig,
        CLIPModel,
        PreTrainedTokenizerFast,
    )

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    engine = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, "[UNK]"))
    engine.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    engine.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=engine, pad_token="[PAD]", unk_token="[UNK]", eos_token="[SEP]"
    )
    small: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}  # fmt: skip
    torch.manual_seed(0)
    bert = BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=32, **small))
    text = {**small, "vocab_size": len(words), "max_position_embeddings": 16, "eos_token_id": 3}
    vision = {**small, "image_size": 16, "patch_size": 8}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    for name, model in (("bert", bert), ("clip", clip)):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]  # fmt: skip
    (folder / "bert" / "modules.json").write_text(json.dumps(modules))
    (folder / "bert" / "1_Pooling").mkdir()
    pooling = json.dumps({"pooling_mode": "mean"})
    (folder / "bert" / "1_Pooling" / "config.json").write_text(pooling)
    (folder / "bert" / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16}))
    side = {"height": 16, "width": 16}
    pictures = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 16}, "crop_size": side}  # fmt: skip
    (folder / "clip" / "preprocessor_config.json").write_text(json.dumps(pictures))


def _encode(folder: Path) -> object:
    encoder = open_encoder(folder, "cpu")
    frame = pl.DataFrame({"title": ["red mug"], "query_text": ["a hat"]})
    vectors = encoder.encode_items(frame, "text", progress=False)
    return vectors.shape, encoder.encode_queries(frame, progress=False).shape


def _load_ranker(at: Path) -> object:
    return TrainedRanker.load(at / "ranker", EmbeddingTable.open(at / "items")).sizes


def _load_checkpoint(at: Path) -> object:
    load_state(at / "checkpoint", {"a": torch.zeros(3, 2)})
    return read_position(at / "checkpoint")


def _scores(shared: Path, folder: Path) -> None:
    shown = pl.read_parquet(shared / "shop" / "impressions.parquet")
    table = shown.select("request_id", "item_id", "user_id", label="clicked").with_columns(
        score=pl.col("item_id") / 12, is_cold=False
    )
    for side in ("a", "b"):
        (folder / side).mkdir()
        table.write_parquet(folder / side / "scores.parquet")


def _toml(shared: Path, folder: Path) -> None:
    lines = (
        'content = "simtier+vector"\nepochs = 2\nlearning_rate = 1e-3\ntower = [8, 4]\nseed = 1\n'
    )
    (folder / "settings.toml").write_text(lines)


def _pictures(shared: Path, folder: Path) -> None:
    for name, kind in (("a.png", "PNG"), ("b.jpg", "JPEG"), ("c.gif", "GIF"), ("d.webp", "WEBP"), ("e.bmp", "BMP")):  # fmt: skip
        (folder / name).write_bytes(_png(3, kind))
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "f.jpg").write_bytes(_png(4, "JPEG", exif=exif, progressive=True))


def _vector_files(shared: Path, folder: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    ids = np.arange(6)
    np.save(folder / "v.npy", vectors)
    np.save(folder / "i.npy", ids)
    frame = pl.DataFrame({"item_id": ids, "vector": vectors.tolist()})
    frame.write_parquet(folder / "v.parquet")
    save_file({"ids": ids, "vectors": vectors}, folder / "v.safetensors")


def _vectors(path: Path, ids: Path | None = None) -> object:
    found = open_vectors(path, ids=ids)
    return found.written_ids().shape, [chunk.shape for chunk in found.chunks()]


def _movielens(shared: Path, folder: Path) -> None:
    ratings = "".join(
        f"{row % 4},{row % 5},{1 + row % 5}.0,{10**9 + 60 * row}\n" for row in range(40)
    )
    movies = "".join(f'{row},"Film {row}, The (199{row})",Drama|War\n' for row in range(5))
    (folder / "ratings.csv").write_text(f"userId,movieId,rating,timestamp\n{ratings}")
    (folder / "movies.csv").write_text(f"movieId,title,genres\n{movies}")
    with zipfile.ZipFile(folder / "posters.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", _png(1, "JPEG"))


def _online_retail(shared: Path, folder: Path) -> None:
    rows = "".join(
        f"MUG {row % 6},3,2011-01-{1 + row % 20:02d} 09:00:00,1.5,{1 + row % 3},France\n"
        for row in range(60)
    )
    head = "Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    (folder / "online_retail.csv").write_text(head + rows)


def _log(shared: Path, folder: Path) -> None:
    """One log in three forms, with what its columns mean."""
    rows = [
        {"who": f"u{row % 5}", "what": f"sku-{row % 9}", "when": f"2025-01-{1 + row // 4:02d} {row % 24:02d}:00:00", "done": ("view", "buy")[row % 3 == 0]}
        for row in range(40)
    ]  # fmt: skip
    frame = pl.DataFrame(rows)
    frame.write_csv(folder / "log.csv")
    frame.write_ndjson(folder / "log.jsonl")
    frame.write_parquet(folder / "log.parquet")
    (folder / "map.toml").write_text(LOG_MAP)


def _import_log(at: Path, form: str) -> object:
    config = load_config(InteractionsConfig, at / "map.toml")
    return _made(at, lambda out: import_interactions([at / f"log.{form}"], out, config=config))


def _myntra(shared: Path, folder: Path) -> None:
    text = "product_id,title,master_category,sub_category,article_type,base_colour,usage\n7,Nike,Accessories,Headwear,Caps,Blue,Sports\n"
    (folder / "products.csv.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(folder / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("7.jpg", _png(7, "JPEG"))


def _myntra_published(shared: Path, folder: Path) -> None:
    text = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName\n7,Men,Accessories,Headwear,Caps,Blue,Fall,2011,Sports,Nike, Cap\n"
    (folder / "styles.csv").write_text(text)
    (folder / "images").mkdir()
    (folder / "images" / "7.jpg").write_bytes(_png(7, "JPEG"))


def _mbe_rows() -> list[dict[str, object]]:
    return [
        {"id": f"a{row}", "query_text": "shoes", "query_image": None, "doc_title": f"product {row}", "doc_image": "1.jpg", "doc_industry_name": "Things",
         "doc_cate1_name": "Shoes", "doc_cate2_name": None, "doc_cate3_name": None, "doc_cate4_name": "", "doc_attributes": "colour:red,,size:9"}
        for row in range(3)
    ]  # fmt: skip


def _mbe(shared: Path, folder: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in _mbe_rows())
    (folder / "MBE_test.jsonl").write_text(lines)
    (folder / "images").mkdir()
    (folder / "images" / "1.jpg").write_bytes(_png(1, "JPEG"))
    (folder / "layout.toml").write_text('pictures = "images"\nlongest_side = 4\n')


def _mbe_parquet(shared: Path, folder: Path) -> None:
    frame = pl.DataFrame([{**row, "doc_image": _png(1, "JPEG")} for row in _mbe_rows()])
    frame.write_parquet(folder / "rows.parquet")
    (folder / "layout.toml").write_text('files = "rows.parquet"\n')


def _study(at: Path) -> object:
    found = verify_study(at)
    for one in found.seen:
        if one.fault:
            raise MoonRecError(one.fault)
    return found


def _database(shared: Path, folder: Path) -> None:
    import contextlib
    import sqlite3

    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as base:
        base.execute("create table experiments (name text)")
        base.execute("create table runs (name text)")
        base.commit()
