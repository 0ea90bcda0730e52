"""Peak memory of what could grow with the shop or with the square of the batch: `python -m benchmarks.peaks --out FILE`.

Each piece of work runs in a process of its own with the allocator's default settings; counted is its highest resident memory (`VmHWM`, Linux; `ru_maxrss` begins at the parent's), all of Python and its
libraries included, for a small and a large case. `--source` runs the same work with the sources of another checkout, such as those of before a change. The shop is
of random bytes (`heavy_shop.py`): pictures of 96 KiB, which outweigh all else.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.chain import describe_machine
from benchmarks.heavy_shop import heavy_shop
from moon_rec.command import Parser, run
from moon_rec.files import write_json
from moon_rec.progress import progress

PICTURE_BYTES = 96 * 1024
MEASURED = """
import os, sys, tempfile
from pathlib import Path
size = int(sys.argv[1])
{work}
lines = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024)
"""
LOSS = """
from functools import partial
import torch
from representation.losses import by_blocks, infonce, matryoshka
torch.set_num_threads(1)
queries, items = torch.nn.functional.normalize(torch.randn(2, size, 64), dim=2)
queries, items = queries.requires_grad_(), items.requires_grad_()
temperature = torch.tensor(0.07, requires_grad=True)
loss = by_blocks(partial(infonce, temperature=temperature), 64)
matryoshka(loss, queries, items, (32, 64)).backward()
"""
STEP = """
import torch
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.mixture import KINDS
from representation.posttraining.pair_batch import PairBatch
from representation.posttraining.step import ContrastiveStep
torch.set_num_threads(1)
config = PosttrainConfig(batch_size=size, chunk_size=64, num_negatives={num_negatives})
ids, own = torch.arange(size), slice(0, size)
blocked = torch.zeros(size, size, dtype=torch.bool)
batch = PairBatch(KINDS["image->image"], None, None, blocked, None, ids, ids, ids, own)
vectors = torch.nn.functional.normalize(torch.randn(2, size, 64), dim=2).requires_grad_()
loss, outcome = ContrastiveStep(config, (64,), None, torch.device("cpu")).loss(batch, 0, list(vectors))
loss.backward()
float(outcome.right)
"""
QUEUES = """
import torch
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.past_negatives import PastNegatives
config = PosttrainConfig(num_negatives=size, queue_length=size, mixture={"image->image": 1.0})
PastNegatives(config, None, 256, torch.device("cpu"))
"""
SHOP = """
from moon_rec.shop import Shop
shop = Shop.open(os.environ["SHOPS"] + "/" + str(size))
"""
TRAIN = (
    SHOP
    + """
from representation.{package} import {config}, {train}
backbone = dict(image_size=16, patch_size=4, vision_dim=32, vision_layers=2, vision_heads=2, vision_mlp_dim=48,
    deepstack_layers=(0,), text_dim=32, text_layers=2, text_heads=2, text_mlp_dim=48, vocabulary_size=400, widths=(8, 16))
config = {config}.model_validate(dict(steps=2, batch_size=16, num_threads=1, backbone=backbone, {values}))
with tempfile.TemporaryDirectory() as folder:
    {train}(shop, Path(folder) / "out", config)
"""
)
POST = {"package": "posttraining", "config": "PosttrainConfig", "train": "posttrain"}
PRE = {"package": "pretraining", "config": "PretrainConfig", "train": "pretrain"}


class Work(NamedTuple):
    """A program that is given its size, a small one and a large one."""

    program: str
    sizes: tuple[int, int]
    unit: str


WORK = {
    "loss by blocks": Work(LOSS, (2048, 16384), "pairs"),
    "loss of a step": Work(STEP.format(num_negatives=None), (1024, 4096), "pairs"),
    "loss of a step, some negatives": Work(STEP.format(num_negatives=100), (1024, 4096), "pairs"),
    "queues of one form": Work(QUEUES, (2048, 131072), "entries"),
    "post-training by text": Work(
        TRAIN.format(values='mixture={"text->richer-text": 1.0}', **POST), (512, 4096), "products"
    ),
    "post-training by picture": Work(
        TRAIN.format(values='mixture={"image->image": 1.0}', **POST), (512, 4096), "products"
    ),
    "pretraining": Work(TRAIN.format(values="", **PRE), (512, 4096), "products"),
    "shop describe": Work(
        SHOP + "from moon_rec.shop.description import describe; describe(shop)",
        (512, 4096),
        "products",
    ),
    "shop validate": Work(SHOP + "shop.validate()", (512, 4096), "products"),
    "shop check, copies": Work(
        SHOP
        + "from moon_rec.shop.leaks.copies import catalogue_copies, query_copies\n"
        + "list(catalogue_copies(shop)), list(query_copies(shop))",
        (512, 4096),
        "products",
    ),
    "gallery of a recall": Work(
        SHOP
        + "import numpy as np\nfrom moon_rec.embedding_table import EmbeddingTable\n"
        + "from representation.sets.search_cases import gallery_of\n"
        + "ids = np.arange(size)\n"
        + 'gallery_of(shop, EmbeddingTable.from_arrays(ids, np.ones((size, 1), np.float32)), "test")',
        (512, 4096),
        "products",
    ),
}


def peak(work: Work, size: int, source: Path, shops: Path) -> int:
    """MiB of a process that does the work with the sources at `source`."""
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    about = {"PYTHONPATH": str(source), "SHOPS": str(shops), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", MEASURED.format(work=work.program), str(size)]
    where = {"cwd": source, "env": environment | about, "stdout": subprocess.PIPE}
    done = subprocess.run(words, check=True, text=True, stderr=subprocess.DEVNULL, **where)  # type: ignore[call-overload]
    return int(done.stdout.split()[-1])


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = _parser().parse_args(argv)
    chosen = given.only or list(WORK)
    sources = {"here": Path.cwd()} | ({"before": given.source.resolve()} if given.source else {})
    found = []
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="peaks-") as folder:
        shops = Path(folder)
        for size in {size for name in chosen for size in WORK[name].sizes if WORK[name].unit == "products"}:  # fmt: skip
            heavy_shop(shops / str(size), size, PICTURE_BYTES)
        with progress("peaks", len(chosen)) as bar:
            for name in chosen:
                for size in WORK[name].sizes:
                    mib = {of: peak(WORK[name], size, path, shops) for of, path in sources.items()}
                    found.append({"work": name, "size": size, "unit": WORK[name].unit, "mib": mib})
                    print(f"{name:32}{size:10,} {WORK[name].unit:10}{json.dumps(mib)}", flush=True)
                bar.advance()
    if given.out:
        about = {
            **describe_machine(),
            "command": "python -m benchmarks.peaks " + " ".join(argv or sys.argv[1:]),
            "what": "highest resident memory of a process, MiB",
            "picture_bytes": PICTURE_BYTES,
        }
        write_json(given.out, about | {"peaks": found})


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks.peaks",
        description="Peak memory of trainings and of what reads a shop, small and large, on a shop that is made for it and deleted after.",
        example="python -m benchmarks.peaks --out benchmarks/results/peaks.json",
    )
    parser.add_argument("--only", nargs="+", choices=list(WORK), help="of the pieces of work")
    parser.add_argument(
        "--source", type=Path, help="another checkout, whose sources are measured too"
    )
    parser.add_argument("--folder", type=Path, help="where the shops lie while they are needed")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
