"""Tables and vectors for FuxiCTR 2.3: `feature_map.json`, npz data, a pretrained embedding, its configuration.

    OUT/config/{dataset_config,model_config}.yaml      for model_zoo/DIN: run_expid.py --config OUT/config
    OUT/shop/{train,valid,test}.npz, feature_map.json, feature_vocab.json, item_vectors.npz

Notable choices
- Ids as FuxiCTR numbers them: 0 is padding, the last is what is out of the vocabulary (row 0 here), so
  known values keep their row.
- Histories are padded at the left, oldest first, as its own preprocessing does; those of items,
  categories and brands share the target's embedding.
- Frozen vectors go in as one more feature of the item and of its history, over *all* items: a new item
  is unknown as an id, but its vector is there. An item without a vector has zeros, FuxiCTR's way.
- Request and user ids go along as `meta` columns, for GAUC (`group_id: user_id`).
- Where the shop keeps its user's own ids, vocabularies of items and users have these. Its arrays can hold numbers alone, so the `meta`
  columns and the keys of vectors are the shop's; `ids/` has which is which.
- Files are written column by column, block by block; a column is never held whole.
"""

import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.files import write_json
from moon_rec.outputs import OutputKind, atomic_folder, json_with
from moon_rec.progress import progress
from moon_rec.shop.own_ids import OwnNames
from ranking.features import Period, RankingTables
from ranking.handover.columns import Block, Sequence, blocks, scalar_names, sequence_names

DATASET = "shop"
FILES: dict[Period, str] = {"train": "train", "validation": "valid", "test": "test"}
LABEL = "label"
VECTORS = "item_vectors.npz"
FUXICTR = OutputKind(
    "a hand-over to FuxiCTR",
    f"{DATASET}/feature_map.json",
    json_with("dataset_id", "num_fields", "features"),
    (
        "config/*.yaml",
        f"{DATASET}/feature_vocab.json",
        f"{DATASET}/{VECTORS}",
        "ids/*.parquet",
        *(f"{DATASET}/{name}.npz" for name in FILES.values()),
    ),
)

Column = tuple[tuple[int, ...], np.dtype, Callable[[Block], np.ndarray]]


def write_fuxictr(
    tables: RankingTables,
    out: Path,
    items: EmbeddingTable | None = None,
    overwrite: bool = False,
    names: Mapping[str, OwnNames] | None = None,
) -> None:
    """Write the folder `out`, atomically.

    Args:
        items: frozen vectors by item_id, to go along.
        names: column -> the user's own ids, where the shop keeps them.

    Raises:
        MoonRecError: `out` exists, and is no such hand-over or `overwrite` is false.
    """
    with atomic_folder(out, FUXICTR, overwrite) as folder:
        data = folder / DATASET
        data.mkdir()
        (folder / "config").mkdir()
        features = _features(tables, items)
        width = sum(spec.get("max_len", 1) for spec in features.values())
        about = {
            "dataset_id": DATASET,
            "num_fields": sum(spec["type"] != "meta" for spec in features.values()),
            "total_features": sum(
                spec["vocab_size"]
                for spec in features.values()
                if "vocab_size" in spec and "share_embedding" not in spec
            ),
            "input_length": width,
            "labels": [LABEL],
            "features": [{name: spec} for name, spec in features.items()],
        }
        write_json(data / "feature_map.json", about)
        write_json(data / "feature_vocab.json", _vocabularies(tables, items, names or {}))
        for name, one in (names or {}).items():
            if one.mapping is not None and name in ("item_id", "user_id", "request_id"):
                (folder / "ids").mkdir(exist_ok=True)
                one.mapping.write_parquet(folder / "ids" / f"{one.kind}.parquet")
        if items is not None:
            vectors, present = items.lookup(tables.items.ids)
            np.savez(data / VECTORS, key=tables.items.ids[present], value=vectors[present])
        for period, name in FILES.items():
            _write_period(tables, period, features, data / f"{name}.npz")
        for name, text in _configuration(tables, out, items is not None).items():
            (folder / "config" / f"{name}.yaml").write_text(text, encoding="utf-8")


def _features(tables: RankingTables, items: EmbeddingTable | None) -> dict[str, dict[str, Any]]:
    """The feature map: name -> how FuxiCTR is to read it, in the columns' order."""
    lengths = {"past_query": tables.config.query_history_length}
    features: dict[str, dict[str, Any]] = {
        name: {"type": "meta", "source": ""} for name in ("request_id", "user_id")
    }
    for name in scalar_names(tables):
        features[name] = _categorical(tables.num_embeddings[name] - 1, _source(name))
    for number in range(tables.num_context):
        features[f"context_{number}"] = {"type": "numeric", "source": "context"}
    shared = dict(sequence_names(tables))
    if items is not None:
        frozen = {"pretrained_emb": VECTORS, "pretrain_dim": items.dim, "freeze_emb": True}
        own = _categorical(tables.items.ids.size, "item")
        features["item_vector"] = own | frozen | {"pretrain_usage": "init"}
        shared["history_vector"] = "item_vector"
    for name, of in shared.items():
        length = lengths.get(name, tables.config.history_length)
        features[name] = features[of] | {
            "type": "sequence",
            "source": "user",
            "max_len": length,
            "share_embedding": of,
            "feature_encoder": None,
        }
    return features


def _categorical(num_known: int, source: str) -> dict[str, Any]:
    return {
        "source": source,
        "type": "categorical",
        "padding_idx": 0,
        "oov_idx": num_known + 1,
        "vocab_size": num_known + 2,
    }


def _source(name: str) -> str:
    return "user" if name in ("user", "query") else "item"


def _vocabularies(
    tables: RankingTables, items: EmbeddingTable | None, names: Mapping[str, OwnNames]
) -> dict[str, dict[str, int]]:
    def own(name: str) -> Iterable[object]:
        known = tables.vocabularies[name].values
        return names[f"{name}_id"].own(known) if f"{name}_id" in names else known

    values = {
        name: [str(value) for value in own(name)]
        for name in scalar_names(tables)
        if name in tables.vocabularies
    }
    if items is not None:
        values["item_vector"] = [str(value) for value in tables.items.ids]
    return {
        name: {"__PAD__": 0}
        | {value: number for number, value in enumerate(known, 1)}
        | {"__OOV__": len(known) + 1}
        for name, known in values.items()
    }


def _write_period(
    tables: RankingTables, period: Period, features: dict[str, dict[str, Any]], path: Path
) -> None:
    """One array a feature, and the labels."""
    num_rows = tables.periods[period].num_rows
    columns: dict[str, Column] = {
        name: _column(tables, name, spec) for name, spec in features.items()
    }
    columns[LABEL] = ((), np.dtype(np.float32), lambda block: block.labels)
    with (
        zipfile.ZipFile(path, "w", allowZip64=True) as archive,
        progress(f"write {path.name}", total=len(columns) * num_rows) as bar,
    ):
        for name, (shape, dtype, read) in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                header = {
                    "descr": np.lib.format.dtype_to_descr(dtype),
                    "fortran_order": False,
                    "shape": (num_rows, *shape),
                }
                np.lib.format.write_array_header_1_0(file, header)
                for block in blocks(tables, period):
                    values = np.ascontiguousarray(read(block), dtype=dtype)
                    file.write(values.tobytes())
                    bar.advance(len(values))


def _column(tables: RankingTables, name: str, spec: dict[str, Any]) -> Column:
    """Shape of a row, dtype, and how the column is read of a block."""
    if spec["type"] == "meta":
        attribute = "request_ids" if name == "request_id" else "user_ids"
        return (), np.dtype(np.int64), lambda block: getattr(block, attribute)
    if spec["type"] == "numeric":
        number = int(name.removeprefix("context_"))
        return (), np.dtype(np.float32), lambda block: block.context[:, number]
    unknown, ids = spec["oov_idx"], np.dtype(np.int32)
    if spec["type"] == "categorical":
        if name == "item_vector":
            return (), ids, lambda block: block.item_rows + 1
        return (), ids, lambda block: _numbered(block.scalars[name], unknown)
    length = spec["max_len"]

    def sequence(block: Block) -> np.ndarray:
        if name == "history_vector":
            found = Sequence(block.history_rows.values + 1, block.history_rows.sizes)
        else:
            known = block.sequences[name]
            found = Sequence(_numbered(known.values, unknown), known.sizes)
        return found.padded(length, fill=0)

    return (length,), ids, sequence


def _numbered(rows: np.ndarray, unknown: int) -> np.ndarray:
    """Rows as FuxiCTR numbers them: its padding has the 0 that is our unknown."""
    return np.where(rows == 0, unknown, rows)


def _configuration(tables: RankingTables, out: Path, has_vectors: bool) -> dict[str, str]:
    """What its `run_expid.py` reads, to be changed at will."""
    names = [name for name in ("item", "category", "brand") if name in scalar_names(tables)]
    targets = [*names, *(["item_vector"] if has_vectors else [])]
    sequences = [*(f"history_{name}" for name in names), *["history_vector"] * has_vectors]
    data = out.resolve() / DATASET
    dataset = f"""{DATASET}:
    data_root: {out.resolve()}
    data_format: npz
    train_data: {data}/train.npz
    valid_data: {data}/valid.npz
    test_data: {data}/test.npz
"""
    model = f"""Base:
    model_root: ./checkpoints/
    num_workers: 1
    verbose: 1
    early_stop_patience: 2
    pickle_feature_encoder: False
    save_best_only: True
    eval_steps: null
    debug_mode: False
    group_id: null
    use_features: null
    feature_specs: null
    feature_config: null

DIN_{DATASET}:
    model: DIN
    dataset_id: {DATASET}
    loss: binary_crossentropy
    metrics: [logloss, AUC]
    task: binary_classification
    optimizer: adam
    learning_rate: 1.0e-3
    embedding_regularizer: 0
    net_regularizer: 0
    batch_size: 1024
    embedding_dim: 16
    dnn_hidden_units: [256, 128, 64]
    dnn_activations: relu
    attention_hidden_units: [64]
    attention_hidden_activations: Dice
    attention_output_activation: null
    attention_dropout: 0
    din_target_field: [!!python/tuple [{", ".join(targets)}]]
    din_sequence_field: [!!python/tuple [{", ".join(sequences)}]]
    din_use_softmax: False
    net_dropout: 0
    batch_norm: False
    epochs: 1
    shuffle: True
    seed: 0
    monitor: AUC
    monitor_mode: max
"""
    return {"dataset_config": dataset, "model_config": model}
