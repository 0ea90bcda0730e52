"""Memory and time of a large batch, at once and by chunks: `python -m benchmarks.large_batches --shop runs/demo/shop`.

One step of post-training at default settings (2.1 M parameters, picture against picture), for several batches, whole and with gradient caching. The claim: with
`chunk_size` the memory of a step hardly grows with the batch. Each step runs in a process of its own; counted is the highest resident memory during the step
beyond what was there before it, the batch's inputs included in that (Linux, glibc).
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from benchmarks.negatives import Trainer
from moon_rec.command import Parser, run
from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from moon_rec.progress import progress
from moon_rec.shop import Shop
from representation.encoder import untrained_encoder
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.preparation import prepare
from representation.training.optimisation import training_mode

MOST_GROWTH = 1.5


def measure(shop: Shop, batch_size: int, chunk_size: int | None) -> dict[str, Any]:
    """MiB and CPU seconds of one step."""
    config = PosttrainConfig(
        batch_size=batch_size, chunk_size=chunk_size, mixture={"image->image": 1.0}, num_threads=1
    )
    prepared = prepare(shop, config, untrained_encoder(shop, config.backbone, config.seed))
    trainer = Trainer(shop, prepared, config)
    batch = prepared.batches.make(0)
    with training_mode(trainer.encoder.module, config) as dtype:
        before = _start_peak()
        started = time.process_time()
        trainer.seconds(batch, 0, dtype, time.process_time)
        seconds = time.process_time() - started
        peak = _resident("VmHWM")
    return {
        "batch": len(batch),
        "chunk": chunk_size,
        "mib": round((peak - before) / 1024),
        "cpu_seconds": round(seconds, 2),
    }


def _start_peak() -> int:
    """Hand freed memory back, forget the highest resident memory so far, and give the present one, in KiB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = parsed(_parser(), argv)
    if given.cell:
        chunk = given.cell[1] or None
        print(json.dumps(measure(Shop.open(given.shop), given.cell[0], chunk)))
        return
    cells = [(batch, 0) for batch in given.whole] + [
        (batch, given.chunk) for batch in given.batches
    ]
    found = []
    with progress("steps", total=len(cells)) as bar:
        for batch, chunk in cells:
            words = [sys.executable, "-m", "benchmarks.large_batches", "--shop", str(given.shop)]
            words += ["--cell", str(batch), str(chunk)]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
            bar.advance()
    print(f"{'batch':>8}{'chunk':>8}{'MiB':>8}{'CPU s':>8}")
    for cell in found:
        chunk = cell["chunk"] or "whole"
        print(f"{cell['batch']:8,}{chunk:>8}{cell['mib']:8,}{cell['cpu_seconds']:8.1f}")
    if given.out:
        shop = Shop.open(given.shop)
        about = {
            **describe_machine(),
            "what": "highest resident memory of one post-training step beyond that before it",
            "shop": shop.manifest.name,
            "simulated": shop.manifest.is_simulated,
            "cells": found,
        }
        write_json(given.out, about)
    chunked = [cell["mib"] for cell in found if cell["chunk"]]
    if chunked[-1] > MOST_GROWTH * chunked[0]:
        raise MoonRecError(
            f"a batch of {given.batches[-1]:,} takes {chunked[-1]:,} MiB by chunks, {given.batches[0]:,} took {chunked[0]:,}: wanted at most {MOST_GROWTH} times"
        )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks.large_batches",
        description="Memory and time of one post-training step against its batch, whole and with gradient caching.",
        example="python -m benchmarks.large_batches --shop runs/demo/shop --out benchmarks/results/large-batches.json",
    )
    parser.add_argument("--shop", type=Path, required=True, help="a shop's folder")
    parser.add_argument("--chunk", type=int, default=64, help="rows embedded at a time")
    parser.add_argument("--whole", type=int, nargs="*", default=[64, 256], help="batches at once")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[128, 256, 1024], help="batches by chunks"
    )
    parser.add_argument("--cell", type=int, nargs=2, help="one of them, by itself; chunk 0: whole")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
