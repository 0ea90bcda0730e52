"""Tables and vectors for TorchEasyRec: Parquet with encoded ids and sequence columns, and a sample configuration.

    OUT/{train,validation,test}.parquet, multi_tower_din.config

As its documents describe the formats (docs/source/feature/{data,feature}.md, models/din.md of
alibaba/TorchEasyRec); no release of it was at hand to read these files back.

Notable choices
- `fg_mode: FG_NONE`: ids are encoded already, each column is named as its feature; known values keep
  their row, unknown is 0; `num_buckets` is the size of our table.
- A history is a group of sequence columns, `history__item` and so on, newest first: what a
  `sequence_length` cuts off is then the oldest. They share the target's table by `embedding_name`.
- The target's frozen vector is a raw feature (`item_vector`, zeros where there is none); the history's,
  `history__vector`, is large and is written only when asked for.
- `request_id` and `user_id` are no features, and go along for GAUC. Where the shop keeps its user's own ids they are these, and so is a further column `item_id`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.outputs import OutputKind, atomic_folder, begins_with
from moon_rec.progress import progress
from moon_rec.shop.own_ids import OwnNames
from ranking.features import PERIODS, Period, RankingTables
from ranking.handover.columns import Block, Sequence, blocks, scalar_names, sequence_names

LABEL = "label"
SAMPLE = "multi_tower_din.config"
TORCHEASYREC = OutputKind(
    "a hand-over to TorchEasyRec",
    SAMPLE,
    begins_with(b'train_input_path: "'),
    tuple(f"{period}.parquet" for period in PERIODS),
)
EMBEDDING_DIM = 16
VECTOR_BLOCK_ROWS = 4096


def write_torcheasyrec(
    tables: RankingTables,
    out: Path,
    items: EmbeddingTable | None = None,
    history_vectors: bool = False,
    overwrite: bool = False,
    names: Mapping[str, OwnNames] | None = None,
) -> None:
    """Write the folder `out`, atomically.

    Args:
        items: frozen vectors by item_id, to go along.
        history_vectors: whether those of the history go along too.
        names: column -> the user's own ids, where the shop keeps them.

    Raises:
        MoonRecError: `out` exists, and is no such hand-over or `overwrite` is false.
    """
    with atomic_folder(out, TORCHEASYREC, overwrite) as folder:
        for period in PERIODS:
            _write_period(
                tables, period, folder / f"{period}.parquet", items, history_vectors, names or {}
            )
        text = _configuration(tables, out, items, history_vectors)
        (folder / SAMPLE).write_text(text, encoding="utf-8")


def column_name(sequence: str) -> str:
    """`history_item` -> `history__item`: TorchEasyRec joins group and feature by two underscores."""
    return sequence.replace("_", "__", 1)


def _write_period(
    tables: RankingTables,
    period: Period,
    path: Path,
    items: EmbeddingTable | None,
    history_vectors: bool,
    names: Mapping[str, OwnNames],
) -> None:
    step = {"num_rows": VECTOR_BLOCK_ROWS} if items is not None else {}
    writer = None
    with progress(f"write {path.name}", total=tables.periods[period].num_rows) as bar:
        for block in blocks(tables, period, **step):
            table = _table(tables, block, items, history_vectors, names)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            bar.advance(table.num_rows)
    if writer is not None:
        writer.close()


def _table(
    tables: RankingTables,
    block: Block,
    items: EmbeddingTable | None,
    history_vectors: bool,
    names: Mapping[str, OwnNames],
) -> pa.Table:
    ids = {"request_id": block.request_ids, "user_id": block.user_ids}
    if "item_id" in names:
        ids["item_id"] = tables.items.ids[block.item_rows]
    columns: dict[str, pa.Array] = {
        name: pa.array(names[name].own(pl.Series(name, each)).to_list() if name in names else each)
        for name, each in ids.items()
    }
    columns |= {
        LABEL: pa.array(block.labels.astype(np.int64)),
    }
    columns |= {name: pa.array(rows) for name, rows in block.scalars.items()}
    columns |= {
        f"context_{number}": pa.array(block.context[:, number])
        for number in range(tables.num_context)
    }
    for name, sequence in block.sequences.items():
        columns[column_name(name)] = _lists(sequence, pa.array(_newest_first(sequence)))
    if items is not None:
        columns["item_vector"] = _vectors(tables, items, block.item_rows)
        if history_vectors:
            of = block.history_rows
            vectors = _vectors(tables, items, _newest_first(of))
            columns["history__vector"] = _lists(of, vectors)
    return pa.table(columns)


def _newest_first(sequence: Sequence) -> np.ndarray:
    ends = np.cumsum(sequence.sizes)
    before = ends - sequence.sizes
    return sequence.values[
        np.repeat(ends - 1 + before, sequence.sizes) - np.arange(sequence.values.size)
    ]


def _lists(sequence: Sequence, values: pa.Array) -> pa.ListArray:
    offsets = np.append(0, np.cumsum(sequence.sizes)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _vectors(tables: RankingTables, items: EmbeddingTable, rows: np.ndarray) -> pa.ListArray:
    """A list of `dim` numbers each, zeros where an item has no vector."""
    ids = np.append(tables.items.ids, -1)[rows]
    vectors, _ = items.lookup(ids)
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * items.dim
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.reshape(-1)))


def _configuration(
    tables: RankingTables, out: Path, items: EmbeddingTable | None, history_vectors: bool
) -> str:
    """A sample: the tables' features in its MultiTowerDIN."""
    scalars, sequences = scalar_names(tables), sequence_names(tables)
    features = [_id_feature(tables, name) for name in scalars]
    features += [_feature("raw_feature", f"context_{n}") for n in range(tables.num_context)]
    deep = [*scalars, *(f"context_{number}" for number in range(tables.num_context))]
    if items is not None:
        features.append(_feature("raw_feature", "item_vector", f"value_dim: {items.dim}"))
        deep.append("item_vector")
    groups: dict[str, list[str]] = {}
    for name, of in sequences.items():
        group, feature = column_name(name).split("__")
        groups.setdefault(group, []).append(_id_feature(tables, of, feature))
    attended = [*(of for name, of in sequences.items() if name.startswith("history_"))]
    attended += [column_name(name) for name in sequences if name.startswith("history_")]
    if items is not None and history_vectors:
        inner = _feature("raw_feature", "vector", f"value_dim: {items.dim}")
        groups["history"].append(inner)
    lengths = {
        "history": tables.config.history_length,
        "past": tables.config.query_history_length,
    }
    features += [_sequence_feature(name, lengths[name], own) for name, own in groups.items()]
    configs = "\n".join(f"feature_configs {{\n{text}\n}}" for text in features)
    return f"""train_input_path: "{out.resolve()}/train.parquet"
eval_input_path: "{out.resolve()}/validation.parquet"
model_dir: "{out.resolve()}/multi_tower_din"
train_config {{
    sparse_optimizer {{ adagrad_optimizer {{ lr: 0.01 }} constant_learning_rate {{ }} }}
    dense_optimizer {{ adam_optimizer {{ lr: 0.001 }} constant_learning_rate {{ }} }}
    num_epochs: 1
}}
eval_config {{ }}
data_config {{
    batch_size: 1024
    dataset_type: ParquetDataset
    fg_mode: FG_NONE
    label_fields: "{LABEL}"
    num_workers: 1
}}
{configs}
model_config {{
    feature_groups {{
        group_name: "deep"
{_names(deep)}
        group_type: DEEP
    }}
    feature_groups {{
        group_name: "seq"
{_names(attended)}
        group_type: SEQUENCE
    }}
    multi_tower_din {{
        towers {{ input: "deep" mlp {{ hidden_units: [256, 128] }} }}
        din_towers {{ input: "seq" attn_mlp {{ hidden_units: [64] }} }}
        final {{ hidden_units: [64] }}
    }}
    metrics {{ auc {{ }} }}
    losses {{ binary_cross_entropy {{ }} }}
}}
"""


def _names(names: list[str]) -> str:
    return "\n".join(f'        feature_names: "{name}"' for name in names)


def _id_feature(tables: RankingTables, name: str, feature: str | None = None) -> str:
    """An id feature; in a sequence `feature` is its name there and the table is still that of `name`."""
    return _feature(
        "id_feature",
        feature or name,
        f"num_buckets: {tables.num_embeddings[name]}",
        f"embedding_dim: {EMBEDDING_DIM}",
        f'embedding_name: "{name}"',
    )


def _feature(kind: str, name: str, *settings: str) -> str:
    side = "user" if name in ("user", "query") else "item"
    lines = [f'feature_name: "{name}"', f'expression: "{side}:{name}"', *settings]
    return "\n".join([f"    {kind} {{", *(f"        {line}" for line in lines), "    }"])


def _sequence_feature(name: str, length: int, features: list[str]) -> str:
    inner = "\n".join(f"    features {{\n    {text}\n    }}" for text in features)
    return (
        f'    sequence_feature {{\n    sequence_name: "{name}"\n    sequence_length: {length}\n'
        f'    sequence_delim: ";"\n{inner}\n    }}'
    )
