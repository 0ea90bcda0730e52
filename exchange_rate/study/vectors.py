"""How the encoder of a cell comes to its tables: embedded, brought along, narrowed or mixed. Whatever it is, the cell then has `vectors/items` and, where searches have any, `vectors/queries`.

A mixture of encoders with weights w puts their unit vectors side by side, each times the root of its share w / sum(w): the cosine of two such rows is the weighted mean of
the parts' cosines. Rows that a part lacks have none; searches are there only where every part has them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from exchange_rate.study.cell_files import CellSpec
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import StudyError
from moon_rec.files import digest_of
from moon_rec.shop import Shop

Tables = tuple[EmbeddingTable, EmbeddingTable | None]
ITEMS, QUERIES = "vectors/items", "vectors/queries"


def make_tables(spec: CellSpec, shop: Shop, cells: Path, folder: Path) -> tuple[Tables, str]:
    """The tables of an encoder cell, saved in its folder, and the digest of the encoder; empty where none made them here."""
    return _MAKE[spec.settings["source"]](spec, shop, cells, folder)


def _embedded(spec: CellSpec, shop: Shop, cells: Path, folder: Path) -> tuple[Tables, str]:
    """Of a training of the plan, a folder, or a name on the hub."""
    from representation import open_encoder
    from representation.embed import embed_shop

    if spec.settings["source"] == "hub":
        path: Path | str = hub_folder(*spec.outside["encoder"])
    else:
        path = spec.input("encoder", cells)
    encoder = open_encoder(path)
    items, queries = embed_shop(encoder, shop, folder / "vectors")
    return (items, queries if len(queries) else None), encoder.digest


def hub_folder(name: str, commit: str) -> str:
    """The local copy of a commit on the hub; fetched where it is not there yet."""
    from huggingface_hub import snapshot_download

    from representation.encoders.checkpoint import READ

    wanted = [*READ, "*.safetensors", "*.jinja", "2_Normalize/*"]
    try:
        return snapshot_download(name, revision=commit, local_files_only=True)
    except OSError:
        return snapshot_download(name, revision=commit, allow_patterns=wanted)


def _brought(spec: CellSpec, shop: Shop, cells: Path, folder: Path) -> tuple[Tables, str]:
    from representation.bring import bring_vectors

    name = f"brought {digest_of([digest for _, digest in spec.outside.values()])}"
    found: dict[str, EmbeddingTable] = {}
    for setting, out in (("items", ITEMS), ("searches", QUERIES)):
        if setting not in spec.outside:
            continue
        path = Path(spec.outside[setting][0])
        if path.is_dir():
            EmbeddingTable.open(path).of_shop(shop.digest).save(folder / out)
            found[setting] = EmbeddingTable.open(folder / out)
            continue
        widths = spec.settings["widths"]
        found[setting] = bring_vectors(
            path,
            folder / out,
            ids=spec.settings[f"{setting}_ids"],
            widths=[*widths, _dim(path, spec.settings[f"{setting}_ids"])] if widths else (),
            encoder=name,
            shop=shop,
            kind="items" if setting == "items" else "queries",
        ).table
    return (found["items"], found.get("searches")), ""


def _dim(path: Path, ids: str | None) -> int:
    from representation.storage.vector_files import open_vectors

    return open_vectors(path, ids=ids).dim


def _narrowed(spec: CellSpec, shop: Shop, cells: Path, folder: Path) -> tuple[Tables, str]:
    """The first so many numbers of another cell's vectors."""
    items, queries = _read(spec, cells)
    width = spec.settings["prefix"]
    return _saved(
        folder, narrow(items, width), None if queries is None else narrow(queries, width)
    ), ""


def _mixed(spec: CellSpec, shop: Shop, cells: Path, folder: Path) -> tuple[Tables, str]:
    weights = spec.settings["weights"]
    parts = [_read(spec, cells, str(place)) for place in range(len(weights))]
    name = f"mixture {digest_of([weights, [items.digest for items, _ in parts]])}"
    queries = [two for _, two in parts if two is not None]
    mixed = None if len(queries) < len(parts) else mixture(queries, weights, name, shop.digest)
    return _saved(folder, mixture([one for one, _ in parts], weights, name, shop.digest), mixed), ""


_MAKE: dict[str, Callable[[CellSpec, Shop, Path, Path], tuple[Tables, str]]] = {
    **dict.fromkeys(("random", "training", "folder", "hub"), _embedded),
    "brought": _brought,
    "width": _narrowed,
    "mixture": _mixed,
}


def mixture(
    tables: Sequence[EmbeddingTable], weights: Sequence[float], encoder: str, shop: str
) -> EmbeddingTable:
    """Tables side by side, `(rows that all have, sum of dims)` at unit length; the module's docstring says how.

    Raises:
        StudyError: no row is in all of them.
    """
    ids = tables[0].ids
    for one in tables[1:]:
        ids = np.intersect1d(ids, one.ids)
    if not len(ids):
        raise StudyError(
            "a mixture of tables without a row in common; mix encoders of the same items"
        )
    parts = []
    for one, weight in zip(tables, weights, strict=True):
        vectors = one.lookup(ids)[0].astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        parts.append(vectors * np.sqrt(weight / sum(weights)))
    vectors = np.concatenate(parts, axis=1).astype(np.float32)
    return EmbeddingTable.from_arrays(ids, vectors, encoder=encoder, shop=shop, kind=tables[0].kind)


def narrow(table: EmbeddingTable, width: int | None) -> EmbeddingTable:
    """The table at a Matryoshka width; None: as it is.

    Raises:
        StudyError: a width that the encoders were not trained at.
    """
    if width is None or width == table.dim:
        return table
    if width not in table.widths:
        known = ", ".join(map(str, table.widths))
        raise StudyError(f"width = {width}: the encoders' vectors have widths {known}")
    return table.narrow(width)


def no_queries(items: EmbeddingTable) -> EmbeddingTable:
    """A table of no search, beside items whose encoder has none: what rests on searches is then not measured."""
    return EmbeddingTable.from_arrays(
        np.empty(0, dtype=np.int64),
        np.empty((0, items.dim), dtype=np.float32),
        encoder=items.encoder,
        shop=items.shop,
    )


def _read(spec: CellSpec, cells: Path, part: str = "") -> Tables:
    """Another cell's tables."""
    items = EmbeddingTable.open(spec.input(f"items{part}", cells))
    name = f"queries{part}"
    return items, EmbeddingTable.open(spec.input(name, cells)) if name in spec.inputs else None


def _saved(folder: Path, items: EmbeddingTable, queries: EmbeddingTable | None) -> Tables:
    items.save(folder / ITEMS)
    if queries is not None:
        queries.save(folder / QUERIES)
    return items, queries
