"""Score impressions of any number: `python -m ranking.score RANKER SHOP --out scores.parquet`.

Notable choices
- Impressions are those of a shop's period, or any Parquet files (`--impressions`), with or without labels. All
  rows are looked at before the first is scored, by the rules of the importer (`moon_rec.values`). They are read, scored and written in chunks of whole requests, so memory is bounded by the shop (its
  catalogue and events, and about a hundred bytes an impression of its log where the ranker reads counters) and the chunk, not by the impressions scored.
- **Histories are the shop's events** strictly before each request: what its users clicked and
  searched; counters are those of the shop's log before it (`features.counters`). To score requests to come, add the newest events to the shop (its times need not move: the
  ranker's own preparation is used, and nothing is learnt). It is another shop to the embedding tables then:
  embed it, or say `--accept other-shop`.
- Items, users and queries that training never saw have unknown ids; an item's vector is looked up in the table
  that is given, which may hold more items than at training.
- Ids are the user's own, in and out, where the shop keeps them (`moon_rec.shop.own_ids`): read exactly as they are written, and written so again.
  How many rows have an item or a user that the shop does not know is said; files of which it knows no item are refused.
- Rows stand in the order of the input. A repeated row is scored as often as it is there. Scores
  equal `TrainedRanker.predict` to 1e-6 whatever the chunks: the last bits of a matrix product depend on its shape.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from moon_rec.command import Parser, count, run
from moon_rec.errors import RankingError
from moon_rec.files import atomic_file
from moon_rec.outputs import add_overwrite_option, check_output
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import progress, say
from moon_rec.shop import Shop
from moon_rec.shop.integrity import UNREADABLE
from moon_rec.shop.own_ids import OwnNames, own_names
from moon_rec.vector_pairs import add_accept_option, open_pair
from ranking.features import PERIODS, Period, RankingTables
from ranking.features.counters import Counters, with_counters
from ranking.features.impressions import in_requests
from ranking.features.requests import RequestReader
from ranking.seed_folders import SCORES
from ranking.stream import OWN, ImpressionStream

if TYPE_CHECKING:
    from ranking.trained import TrainedRanker

CHUNK_ROWS = 65_536


def score_impressions(
    ranker: "TrainedRanker",
    shop: Shop,
    out: Path | str,
    impressions: Sequence[Path] = (),
    period: Period | None = None,
    chunk_rows: int = CHUNK_ROWS,
    batch_size: int | None = None,
) -> int:
    """Score impressions and write one Parquet file, atomically; returns how many.

    Args:
        ranker: any trained one.
        shop: items, searches and the events that histories are made of.
        out: file of columns `request_id, item_id, user_id, label (where there is one), score, is_cold`;
            the score is a click probability (float64), ids are the user's own where the shop keeps them.
        impressions: Parquet files to score, in order; none: the shop's own impressions.
        period: of the shop's two times, only its rows; None for all.
        chunk_rows: rows read at a time.
        batch_size: rows of a batch of the model; None: as `TrainedRanker.predict` chooses.

    Raises:
        RankingError: no row to score, or a file that `ImpressionStream` refuses.
    """
    files = list(impressions) or [shop.file("impressions")]
    own = _own_of(files, shop) if impressions else {}
    stream = ImpressionStream(files, ranker.features, shop, period, own)
    scorer = _Scorer(ranker, shop, batch_size)
    num_rows, total = 0, stream.num_rows if period is None else None
    with atomic_file(out) as temporary, progress("score", total) as bar:
        writer: pq.ParquetWriter | None = None
        try:
            for frame in stream.chunks(chunk_rows):
                table = scorer.score(frame).to_arrow(compat_level=pl.CompatLevel.oldest())
                writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
                writer.write_table(table)
                num_rows += table.num_rows
                bar.advance(table.num_rows)
        finally:
            if writer is not None:
                writer.close()
        if num_rows == 0:
            where = f"the {period} period of {shop.path}" if period else "all files"
            raise RankingError(f"no impression to score in {where}: {', '.join(map(str, files))}")
        _tell_unknown(stream, num_rows)
    return num_rows


def _own_of(files: Sequence[Path], shop: Shop) -> dict[str, OwnNames]:
    """Column -> the user's names of its ids, of the files' columns that hold these.

    Requests are looked up nowhere. Where the shop keeps own ids but numbered its requests itself, texts are taken as their ids.
    """
    own = own_names(shop.path)
    if own and "request_id" not in own and any(_has_texts(file) for file in files):
        nothing = pl.DataFrame(schema={"id": pl.Int64, "own": pl.String})
        own["request_id"] = OwnNames("request", shop.path, nothing)
    return own


def _has_texts(file: Path) -> bool:
    try:
        return pl.read_parquet_schema(file).get("request_id") == pl.String
    except UNREADABLE:  # which the stream tells
        return False


def _tell_unknown(stream: ImpressionStream, num_rows: int) -> None:
    """Say how many rows have an item or a user that the shop does not know.

    Raises:
        RankingError: all items are unknown.
    """
    for name, names in stream.own.items():
        found = stream.unknown[name]
        if not found.rows or name not in ("item_id", "user_id"):
            continue
        where = f"{stream.files[0]}: {name} of {found.rows:,} of {num_rows:,} rows"
        if name == "item_id" and found.rows == num_rows:
            raise RankingError(
                f"{where} is none of the shop's (first {found.first}; the shop has such as {names.first}); give the ids of the "
                "log that it was imported from, as they are written there"
            )
        say(f"{where} is not known to the shop, such as {found.first}: scored as new")


class _Scorer:
    """What all chunks are scored with."""

    def __init__(self, ranker: "TrainedRanker", shop: Shop, batch_size: int | None):
        self.ranker, self.batch_size = ranker, batch_size
        self.reader = RequestReader.of(shop, ranker.preparation)
        self.counters = Counters.of(shop, ranker.features)
        self.tables = RankingTables.of(shop, self.reader, {})
        self.content = ranker.content(self.tables)
        self.names = own_names(shop.path)

    def score(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Scores of a chunk, in its order."""
        from ranking.trained import predict, threads

        label = self.ranker.features.label
        ordered = with_counters(self.counters, in_requests(frame.with_row_index("row")))
        requests = self.reader.read(ordered)
        tables = replace(self.tables, periods={"test": requests})
        loader = self.ranker.loader(tables, "test", self.batch_size, self.content)
        with threads(self.ranker.config.num_threads):
            found = predict(self.ranker.model, loader)
        place = np.empty(frame.height, dtype=np.int64)
        place[ordered["row"].to_numpy()] = np.arange(frame.height)
        labels = [frame[label].alias("label")] if label in frame.columns else []
        ids = [self._own(frame, name) for name in ("request_id", "item_id", "user_id")]
        return pl.DataFrame(ids).with_columns(
            *labels,
            pl.Series("score", found[place]),
            pl.Series("is_cold", requests.is_cold[place]),
        )

    def _own(self, frame: pl.DataFrame, name: str) -> pl.Series:
        """A column of ids as the user writes them."""
        if OWN.format(name) in frame.columns:
            return frame[OWN.format(name)].alias(name)
        return self.names[name].own(frame[name]) if name in self.names else frame[name]


def _files(given: Sequence[Path]) -> list[Path]:
    """The files given, those of a folder by name."""
    found = []
    for path in given:
        inside = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not inside:
            raise RankingError(f"{path} holds no .parquet file; name the files to score")
        found += inside
    return found


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("ranking.score")
    parser = Parser(
        prog="python -m ranking.score",
        description="Score impressions with a trained ranker, in bounded memory: a shop's period, or Parquet "
        "files with request_id, user_id, item_id, time (and search_id and context columns where the ranker "
        "reads them), labelled or not; ids as your log writes them. Histories are the shop's events before each request.",
        example="python -m ranking.score demo/cube demo/shop --items demo/encoder/items "
        "--queries demo/encoder/queries --out demo/scores.parquet",
    )
    parser.add_argument("ranker", type=Path, help="folder of the ranker")
    parser.add_argument("shop", type=Path, help="folder of the shop: items, searches, past events")
    parser.add_argument(
        "--impressions",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="Parquet files (or folders of them) to score in place of the shop's impressions",
    )
    parser.add_argument(
        "--period",
        choices=(*PERIODS, "all"),
        help="which rows (default: test of a shop, all of --impressions)",
    )
    parser.add_argument("--items", type=Path, help="embedding table of the items")
    parser.add_argument("--queries", type=Path, help="embedding table of the searches")
    add_accept_option(parser)
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    add_overwrite_option(parser, "the scores")
    parser.add_argument("--chunk-rows", type=count, default=CHUNK_ROWS, help="rows held at a time")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--batch-size", type=count, help="rows a batch (default: 4,096, fewer with long histories)"
    )
    given = parser.parse_args(argv)
    reads = (given.ranker, given.shop, given.items, given.queries, *given.impressions)
    check_output(given.out, SCORES, given.overwrite, inputs=reads)
    period = given.period or ("all" if given.impressions else "test")
    shop = Shop.open(given.shop)
    items, queries, coverage = open_pair(shop, given.items, given.queries, given.accept)
    import torch  # this and TorchRec, after what can be refused without

    from ranking.trained import TrainedRanker

    ranker = TrainedRanker.load(given.ranker, items, queries)
    if given.device == "cuda" and not torch.cuda.is_available():
        raise RankingError("--device cuda, but torch finds no GPU; leave it out")
    ranker.model.to(given.device)
    number = score_impressions(
        ranker,
        shop,
        given.out,
        _files(given.impressions),
        None if period == "all" else period,
        given.chunk_rows,
        given.batch_size,
    )
    say(
        f"{given.out}: {number:,} impressions scored"
        + (f"; {coverage}" if items is not None else "")
    )


if __name__ == "__main__":
    sys.exit(run(main))
