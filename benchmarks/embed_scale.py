"""Embedding a catalogue of a million items: everything but the model, in bounded memory, killed in the middle and resumed.

A catalogue is made up (titles, attributes and small JPEGs; simulated through and through) and embedded by a stand-in that costs next to nothing, so that reading,
sharding, joining and writing are what is timed. Three runs, each in a process of its own that is watched from outside:

1. a quarter of the catalogue, for memory: a bound does not grow with the catalogue;
2. the whole: items a second and peak memory;
3. the whole again, killed with SIGKILL when half of its shards stand, then resumed: shards that stood keep their time of writing, and the table is the same.
"""

import argparse
import hashlib
import io
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
from PIL import Image

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, run
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from moon_rec.progress import progress
from moon_rec.seeds import generator
from moon_rec.shop import Shop, ShopWriter
from representation.embed import embed_shop
from representation.interface import Modality

DIM = 128
PIECE = 50_000
SHARD_SIZE = 4096
NUM_PICTURES = 500
SECONDS_BETWEEN_LOOKS = 0.05


class StandIn:
    """An encoder of no cost: a vector is made of a hash of the title and the picture's length."""

    modalities = frozenset({"text", "image"})
    dim, widths = DIM, (64, DIM)
    digest = hashlib.sha256(b"stand-in").hexdigest()[:16]

    def __init__(self) -> None:
        self._odd = generator(0, "stand-in").integers(0, 2**62, DIM, np.uint64) * 2 + 1

    def encode_items(
        self,
        frame: pl.DataFrame,
        modality: Modality = "both",
        batch_size: int = 256,
        progress: bool = True,
    ) -> np.ndarray:
        """Vectors of products."""
        return self._vectors(frame["title"], frame["image"])

    def encode_queries(
        self, frame: pl.DataFrame, batch_size: int = 256, progress: bool = True
    ) -> np.ndarray:
        """Vectors of queries."""
        return self._vectors(frame["query_text"], frame["query_image"])

    def _vectors(self, texts: pl.Series, pictures: pl.Series) -> np.ndarray:
        hashes = texts.hash(seed=1).to_numpy() + pictures.bin.size().fill_null(0).to_numpy()
        bits = (hashes[:, None] * self._odd[None, :]) >> np.uint64(40)
        vectors = bits.astype(np.float32) - 2.0**23
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = parsed(_parser(), argv)
    if given.child is not None:
        embed_shop(
            StandIn(),
            Shop.open(given.child),
            given.folder,
            precision="float16",
            shard_size=SHARD_SIZE,
        )
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="embed-scale-") as name:
        about = _measured(Path(name), given.items)
    if given.out:
        write_json(given.out, {**describe_machine(), **about})
        print(f"written to {given.out}")


def _measured(folder: Path, items: int) -> dict[str, Any]:
    quarter = make_shop(folder / "quarter", items // 4)
    whole = make_shop(folder / "whole", items)
    about: dict[str, Any] = {
        "items": items,
        "dim": DIM,
        "shard_size": SHARD_SIZE,
        "catalogue_mib": round((whole / "items.parquet").stat().st_size / 2**20),
        "data": "made up",
    }
    for name, shop, count in (("quarter", quarter, items // 4), ("whole", whole, items)):
        seconds, peak = _watch(_start(shop, folder / f"{name} tables"))
        about[name] = {
            "seconds": seconds,
            "items_per_second": count / seconds,
            "peak_rss_mib": peak,
        }
        print(f"{name}: {count:,} items, {count / seconds:,.0f} a second, at most {peak:,} MiB")
    about["killed"] = _killed(whole, folder / "killed tables", folder / "whole tables")
    return about


def _killed(shop: Path, out: Path, unbroken: Path) -> dict[str, Any]:
    """Kill a run when half of its shards stand, resume it, and see which shards were written again."""
    num_shards = -(-Shop.open(shop).items.select(pl.len()).collect().item() // SHARD_SIZE)
    process = _start(shop, out)
    while len(list(out.glob(".items-shards-*/0*.safetensors"))) < num_shards // 2:
        if process.poll() is not None:
            raise MoonRecError("the run ended before it could be killed; take more items")
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    standing = {
        path: path.stat().st_mtime_ns for path in out.glob(".items-shards-*/[0-9]*.safetensors")
    }
    again = _start(shop, out)
    kept = dict.fromkeys(standing, 0)
    while again.poll() is None:  # the shards go away when the table stands
        for path in standing:
            try:
                kept[path] = path.stat().st_mtime_ns
            except FileNotFoundError:
                break
        time.sleep(0.02)
    redone = sum(kept[path] not in (0, stamp) for path, stamp in standing.items())
    same = all(
        EmbeddingTable.open(out / name).digest == EmbeddingTable.open(unbroken / name).digest
        for name in ("items", "queries")
    )
    print(
        f"killed with {len(standing)} of {num_shards} shards: {redone} of them written again, same table: {same}"
    )
    if redone or not same or again.returncode:
        raise MoonRecError("a killed run did not resume as it should")
    return {
        "shards": num_shards,
        "standing_when_killed": len(standing),
        "standing_written_again": redone,
        "begun_and_lost": 1,
        "same_table": same,
    }


def _start(shop: Path, out: Path) -> subprocess.Popen:
    words = ["-m", "benchmarks.embed_scale", "--child", str(shop), "--folder", str(out)]
    return subprocess.Popen([sys.executable, *words])


def _watch(process: subprocess.Popen) -> tuple[float, int]:
    """Seconds until it ends, and the most MiB of it that were resident and its own (pages of mapped files are the system's)."""
    start, peak, seen = time.perf_counter(), 0, psutil.Process(process.pid)
    while process.poll() is None:
        try:
            memory = seen.memory_info()
            peak = max(peak, memory.rss - memory.shared)
        except psutil.Error:
            break
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if process.wait():
        raise MoonRecError("embedding failed")
    return time.perf_counter() - start, round(peak / 2**20)


def make_shop(out: Path, items: int) -> Path:
    """A shop of `items` made-up products and a thousand searches."""
    cut, test = datetime(2026, 1, 1), datetime(2026, 1, 2)
    about = {"name": "made up", "source": "made up for a benchmark", "is_simulated": True}
    with ShopWriter(out, **about, cut_time=cut, test_time=test) as writer:
        writer.write("items", _items(items, cut))
        numbers = np.arange(1000)
        words = [f"thing {number}" for number in numbers]
        searches = pl.DataFrame({"search_id": numbers, "query_text": words})
        writer.write("searches", searches.with_columns(user_id=pl.lit(1), time=pl.lit(cut)))
        shown = pl.DataFrame({"request_id": numbers, "search_id": numbers, "item_id": numbers})
        labels = [pl.lit(False).alias(name) for name in ("clicked", "carted", "purchased")]
        place = pl.lit(1, pl.Int32).alias("position")
        writer.write(
            "impressions",
            shown.with_columns(
                pl.lit(1).alias("user_id"), pl.lit(cut).alias("time"), place, *labels
            ),
        )
    return out


def _items(count: int, listed: datetime) -> Iterator[pl.DataFrame]:
    pictures = pl.Series(_pictures(), dtype=pl.Binary)
    pair = pl.struct(name=pl.lit("colour"), value=pl.lit("red"))
    with progress("make a catalogue", count) as bar:
        for start in range(0, count, PIECE):
            ids = np.arange(start, min(start + PIECE, count))
            frame = pl.DataFrame({"item_id": ids, "spu_id": ids // 3})
            yield frame.with_columns(
                title=pl.format("thing number {} of many", "item_id"),
                category=pl.format("Things/Kind {}", pl.col("item_id") % 100),
                attributes=pl.concat_list(pair),
                price=pl.col("item_id") * 1.0,
                image=pictures.gather(ids * 7 % NUM_PICTURES),
                listed_at=pl.lit(listed),
            )
            bar.advance(len(ids))


def _pictures() -> list[bytes]:
    """Photos of noise, 64 x 64, about 2.5 kB each as JPEG."""
    random = generator(0, "pictures of the benchmark")
    made = []
    for _ in range(NUM_PICTURES):
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8)).save(
            file, "JPEG", quality=50
        )
        made.append(file.getvalue())
    return made


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks.embed_scale",
        description="Embed a made-up catalogue with a stand-in for the model: items a second, peak memory, a kill in the middle.",
        example="python -m benchmarks.embed_scale --folder DIR --out benchmarks/results/embed-scale.json",
    )
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="for all that is made"
    )
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
