"""Bring your own vectors: a file made by any model -> an embedding table that evaluation, the benchmark and the ranker read.

Notable choices
- Everything is checked before anything is written: NaN, infinity, all zeros (a direction that no search can compare), ids twice. The first fault is named
  with its row and id, and how many more there are; `leave_out` drops faulty vectors and counts them, ids twice are never guessed at.
- A file larger than memory is read in chunks, twice; rows in another order than their ids' are laid in a file beside the table first.
- Vectors need no unit length: searches compare directions. `normalise` stores unit vectors; integer input takes the `scale` that made it.
- With a shop, the table names it and says how many of its items (or searches) have a vector.
- Ids in the file are the user's own, those of the log that the shop was imported from (`moon_rec.shop.own_ids`). One that the shop does not know has no
  number, so its vector is left out, and that is said; where the shop's ids are the user's, it is kept.
- What was taken for the vectors, and what of the file was left out, is said.

    python -m representation.bring VECTORS.parquet --out TABLE --shop SHOP
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moon_rec.command import Parser, count, positive, run
from moon_rec.embedding_table import EmbeddingTable, Precision
from moon_rec.errors import TableError
from moon_rec.outputs import add_overwrite_option, check_output, check_room
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import Bar, progress, say
from moon_rec.shop import Shop
from moon_rec.shop.own_ids import OwnNames
from moon_rec.table_writer import table_bytes, write_table
from moon_rec.vector_checks import TABLE
from moon_rec.vector_pairs import add_precision
from representation.storage.row_ids import KIND, RowIds, Whose, read_row_ids
from representation.storage.shards import in_order
from representation.storage.vector_file import VectorFile
from representation.storage.vector_files import open_vectors

FLOAT16_MOST = 65504.0


@dataclass(frozen=True)
class Brought:
    """What `bring_vectors` made.

    Attributes:
        table: the embedding table.
        num_left_out: faulty vectors left out, with `leave_out`.
        num_unknown: vectors left out because the shop, which keeps own ids, knows no such id.
        shortest, longest: lengths of the vectors as they came.
        num_wanted, num_covered: items (or searches) of the shop, and those of them that have a vector; 0 without a shop.
    """

    table: EmbeddingTable
    num_left_out: int
    num_unknown: int
    shortest: float
    longest: float
    num_wanted: int
    num_covered: int


def bring_vectors(
    path: Path | str,
    out: Path | str,
    *,
    ids: Path | str | None = None,
    id_column: str | None = None,
    vector_columns: Sequence[str] = (),
    tensor: str = "vectors",
    scale: float | None = None,
    normalise: bool = False,
    precision: Precision = "float32",
    widths: Sequence[int] = (),
    encoder: str = "",
    shop: Shop | None = None,
    kind: Whose | None = None,
    leave_out: bool = False,
    overwrite: bool = False,
) -> Brought:
    """Make the embedding table `out` of a Parquet, npy, safetensors, CSV or TSV file; see `open_vectors` for what says where ids and vectors are.

    Args:
        normalise: divide each vector by its length.
        precision: of the stored vectors; int8 has a scale a row.
        widths: Matryoshka widths that the vectors were trained for; the last is their dim.
        encoder: a name or digest of what made them; tables of items and of queries that name two are not compared.
        kind: whose ids they are, items' or searches'; None: by the name of their column (item_id, search_id), else items' where there is a shop, else not said.
        leave_out: leave faulty vectors out, and count them, instead of refusing the file.

    Raises:
        TableError: a fault of the file, one line; nothing is then written.
    """
    out = Path(out)
    check_output(out, TABLE, overwrite, inputs=(path, ids, shop.path if shop else None))
    source = open_vectors(
        path,
        ids=ids,
        id_column=id_column,
        vector_columns=vector_columns,
        tensor=tensor,
        scale=scale,
    )
    _check_widths(widths, source.dim)
    say(f"{path}: the vectors are {source.taken}")
    named: dict[str, Whose] = {"item_id": "items", "search_id": "queries"}
    kind = kind or named.get(source.key) or ("items" if shop else None)
    rows = read_row_ids(path, source, shop, kind)
    check_room(out, table_bytes(len(rows.ids), source.dim, precision))
    is_good, shortest, longest = _checked(path, source, rows, precision, normalise, leave_out)
    kept = rows.ids[is_good]
    num_wanted, num_covered = (0, 0) if shop is None else _coverage(shop, kind or "items", kept)
    table = _write(
        source,
        out,
        rows.ids,
        is_good,
        normalise,
        precision=precision,
        widths=[*widths] or [source.dim],
        encoder=encoder,
        shop=shop.digest if shop else "",
        kind=kind or "",
        overwrite=overwrite,
    )
    num_unknown = int((~rows.is_known).sum())
    num_left_out = len(rows.ids) - num_unknown - len(kept)
    return Brought(table, num_left_out, num_unknown, shortest, longest, num_wanted, num_covered)


def _check_widths(widths: Sequence[int], dim: int) -> None:
    rising = list(widths) == sorted(set(widths))
    if widths and not (rising and widths[0] >= 1 and widths[-1] == dim):
        raise TableError(f"widths {tuple(widths)} must rise and end at the vectors' dim {dim}")


def _checked(
    path: Path | str,
    source: VectorFile,
    rows: RowIds,
    precision: Precision,
    normalise: bool,
    leave_out: bool,
) -> tuple[np.ndarray, float, float]:
    """Which rows are vectors of a known id `(rows,)`, and the shortest and longest length of these."""
    num_rows = len(rows.ids)
    if not num_rows:
        raise TableError(f"{path} holds no vectors")
    faults = np.empty(num_rows, dtype="U11")
    lengths = np.ones(num_rows)
    row = 0
    with progress("check vectors", num_rows) as bar:
        for chunk in source.chunks():
            part = slice(row, row + len(chunk))
            faults[part], lengths[part] = _faults(chunk, precision, normalise)
            row += len(chunk)
            bar.advance(len(chunk))
    faults[~rows.is_known] = ""  # of these nothing is kept
    is_good = (faults == "") & rows.is_known
    wrong = np.flatnonzero(faults != "")
    if wrong.size:
        what = f"row {wrong[0]} (id {rows.name(wrong[0])}) {_TOLD[str(faults[wrong[0]])]}"
        if not leave_out:
            raise TableError(
                f"{path} {what}; {len(wrong):,} of {num_rows:,} vectors are faulty: mend them, or leave them out with --leave-out"
            )
        if not is_good.any():
            raise TableError(f"{path} {what}, and no other vector is sound: nothing is left")
        counts = ", ".join(
            f"{int((faults == name).sum()):,} {name}" for name in np.unique(faults[wrong])
        )
        say(f"{path}: {len(wrong):,} vectors left out ({counts}), first {what}")
    return is_good, float(lengths[is_good].min()), float(lengths[is_good].max())


_TOLD = {
    "not finite": "holds NaN, null or a number beyond float32",
    "all zeros": "is all zeros, a direction that no search can compare",
    "too large": f"holds a value over {FLOAT16_MOST:,.0f}, the most of float16",
}


def _faults(
    chunk: np.ndarray, precision: Precision, normalise: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A fault's name or an empty string a row, and lengths."""
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = chunk.astype(np.float32)  # what is too large for it becomes infinity
        lengths = np.sqrt(np.einsum("id,id->i", chunk, chunk, dtype=np.float64))
    faults = np.full(len(chunk), "", dtype="U11")
    stored = vectors
    if precision == "float16" and not normalise:
        stored = vectors.clip(-FLOAT16_MOST, FLOAT16_MOST).astype(np.float16)
        faults[np.abs(vectors).max(axis=1) > FLOAT16_MOST] = "too large"
    faults[(stored == 0).all(axis=1)] = "all zeros"
    faults[~np.isfinite(vectors).all(axis=1)] = "not finite"
    return faults, lengths


def _write(
    source: VectorFile, out: Path, ids: np.ndarray, is_good: np.ndarray, normalise: bool, **options
) -> EmbeddingTable:
    kept = ids[is_good]
    with progress("write vectors", len(ids)) as bar:
        rows = _kept_rows(source, is_good, normalise, bar)
        if (kept[1:] > kept[:-1]).all():
            return write_table(out, kept, rows, source.dim, **options)
        order = np.argsort(kept)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent) as file:
            for chunk in rows:
                file.write(np.ascontiguousarray(chunk).data)
            file.flush()
            shape = (len(kept), source.dim)
            laid = np.memmap(file, dtype=np.float32, mode="r", shape=shape)
            chunks = in_order([laid], order, source.dim)
            return write_table(out, kept[order], chunks, source.dim, **options)


def _kept_rows(
    source: VectorFile, is_good: np.ndarray, normalise: bool, bar: Bar
) -> Iterator[np.ndarray]:
    row = 0
    for chunk in source.chunks():
        vectors = chunk[is_good[row : row + len(chunk)]]
        if normalise:
            wide = vectors.astype(np.float64)
            # first by the largest value: squares of tiny and of huge ones leave float64's range
            wide /= np.abs(wide).max(axis=1, keepdims=True)
            vectors = wide / np.linalg.norm(wide, axis=1, keepdims=True)
        yield vectors.astype(np.float32)
        row += len(chunk)
        bar.advance(len(chunk))


def _coverage(shop: Shop, kind: Whose, ids: np.ndarray) -> tuple[int, int]:
    """Ids of the shop, and those of them that have a vector; what the shop does not know is told."""
    table, key = {"items": ("items", "item_id"), "queries": ("searches", "search_id")}[kind]
    wanted = shop.table(table).select(key).collect()[key].to_numpy()
    names = OwnNames.of(shop.path, KIND[kind])
    is_covered = np.isin(wanted, ids)
    if len(wanted) and not is_covered.any():
        raise TableError(
            f"none of the {len(ids):,} ids (first {names.name(int(ids[0]))}) is among the {key} of shop {shop.name} (first {names.name(int(wanted[0]))}); bring that shop's ids"
        )
    missing = wanted[~is_covered]
    if missing.size:
        first = ", ".join(names.name(int(one)) for one in missing[:3])
        say(
            f"{missing.size:,} of {len(wanted):,} {table} of the shop have no vector, such as {first}"
        )
    num_unknown = int((~np.isin(ids, wanted)).sum())
    if num_unknown:
        say(f"{num_unknown:,} ids are not in the shop's {table}: kept in the table")
    return len(wanted), int(is_covered.sum())


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("representation.bring")
    chosen = _parser().parse_args(argv)
    check_output(chosen.out, TABLE, chosen.overwrite, inputs=(chosen.path, chosen.ids))
    shop = Shop.open(chosen.shop) if chosen.shop else None
    brought = bring_vectors(**vars(chosen) | {"shop": shop})
    table = brought.table
    print(f"{len(table):,} vectors, {table.dim} wide, {table.vectors.dtype}, at {chosen.out}")
    lengths = f"lengths as brought: {brought.shortest:.4g} to {brought.longest:.4g}"
    print(lengths + (", stored at 1" if chosen.normalise else ""))
    if shop:
        share = brought.num_covered / max(brought.num_wanted, 1)
        counts = f"{brought.num_covered:,} of {brought.num_wanted:,}"
        print(f"coverage of {shop.name}: {counts} {table.kind} ({share:.1%})")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m representation.bring",
        description="Make an embedding table of vectors that another model made: Parquet, npy, safetensors, CSV or TSV.",
        example="python -m representation.bring mine.parquet --columns vector --shop demo/shop --out demo/mine/items",
    )
    about = (
        "a .parquet, .npy, .safetensors, .csv or .tsv file, the last two packed (.gz, .zst) or not"
    )
    parser.add_argument("path", type=Path, metavar="vectors", help=about)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the table's folder")
    about = "the rows' ids: .npy, .parquet or .csv; `rows`: row n of an .npy is that of id n"
    parser.add_argument("--ids", type=Path, metavar="FILE", help=about)
    about = "column of the ids; item_id, search_id or id"
    parser.add_argument("--id-column", metavar="NAME", help=about)
    about = "column of lists, or the columns of numbers; default: found by name if unambiguous, such as v0 ... v63"
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="NAME", dest="vector_columns", help=about
    )
    parser.add_argument("--tensor", default="vectors", help="the vectors' name in safetensors")
    about = "factor for whole numbers, such as 0.00787 (1/127)"
    parser.add_argument("--scale", type=positive, help=about)
    parser.add_argument("--normalise", action="store_true", help="store unit vectors")
    add_precision(parser, "precision of the stored vectors; int8 has one scale per row")
    about = "Matryoshka widths, rising, the full width last"
    parser.add_argument("--widths", type=count, nargs="+", default=[], metavar="N", help=about)
    parser.add_argument("--encoder", default="", metavar="NAME", help="what made the vectors")
    parser.add_argument("--shop", type=Path, help="the shop that they are for")
    about = "whose ids these are; by their column's name (item_id, search_id) where not given"
    parser.add_argument("--kind", choices=("items", "queries"), help=about)
    about = "leave out faulty vectors, and count them"
    parser.add_argument("--leave-out", action="store_true", help=about)
    add_overwrite_option(parser, "the table")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
