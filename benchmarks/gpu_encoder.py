"""Post-training and embedding on a GPU beside the CPU: `python -m benchmarks.gpu_encoder SHOP --work DIR`.

The same short refinement training (hard negatives, queue, momentum encoder, circle loss) on both, by the commands users run: losses must agree within 1e-2 of their
size in float32 and 5e-2 in bfloat16 over the first steps, before rounding has grown. Then vectors of one encoder on both, within 1e-3, and an exact search by the GPU's
faiss index where there is one, which must rank as the CPU's. `--device cpu` runs the CPU against itself, to try the script. A check that fails ends it with code 2.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chain import describe_device, describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, run
from moon_rec.errors import MoonRecError
from moon_rec.files import read_json, write_json
from moon_rec.progress import say
from moon_rec.shop import Shop
from representation.encoder import ProductEncoder
from representation.search.exact import top_rows

TOLERANCES = {"float32": 1e-2, "bfloat16": 5e-2}
NUM_COMPARED = 10
"""First steps whose losses are compared."""
MOST_APART = 1e-3
"""Of a vector's entries on the two devices."""
NUM_ENCODED = 512


def trained(shop: Path, out: Path, device: str, precision: str, options: Any) -> dict[str, Any]:
    """Losses by step and seconds of a training on a device, encoder at `out`."""
    words = [sys.executable, "-m", "representation.posttrain", str(shop), "--out", str(out)]
    words += ["--preset", "refinement", "--set", f"steps={options.steps}", "--set", "log_every=1"]
    words += ["--set", f"precision={precision}", "--set", f"batch_size={options.batch_size}"]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    started = time.perf_counter()
    if subprocess.run(words, check=False, env={**os.environ, **hidden}).returncode:
        raise MoonRecError(f"the training on {device} in {precision} failed; its message is above")
    seconds = time.perf_counter() - started
    losses = [entry["loss"] for entry in read_json(out / "posttraining_log.json")["log"]]
    return {"losses": losses, "seconds": round(seconds, 1)}


def apart(wanted: list[float], found: list[float]) -> float:
    """Largest difference of the first losses, as a share of the wanted one."""
    pairs = list(zip(wanted, found, strict=True))[:NUM_COMPARED]
    return max(abs(one - other) / abs(one) for one, other in pairs)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.gpu_encoder",
        description="Check post-training, embedding and exact search on a GPU against the CPU.",
        example="python -m benchmarks.gpu_encoder runs/demo/shop --work runs/gpu --out benchmarks/results/gpu-encoder.json",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--work", type=Path, required=True, help="folder for the encoders")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parsed(parser, argv)
    about = describe_machine() | describe_device(options.device)
    base = trained(options.shop, options.work / "cpu", "cpu", "float32", options)
    found: dict[str, Any] = {"cpu, float32": base}
    for precision, most in TOLERANCES.items():
        name = f"{options.device}, {precision}"
        ours = trained(
            options.shop, options.work / f"here-{precision}", options.device, precision, options
        )
        ours["apart"] = apart(base["losses"], ours["losses"])
        found[name] = ours
        say(f"{name}: {ours['seconds']} s, losses apart by {ours['apart']:.2g} of their size")
        if not ours["apart"] <= most:
            raise MoonRecError(f"{name}: losses apart by {ours['apart']:.2g}, wanted {most:g}")
    found["vectors_apart"] = compare_vectors(options)
    if options.out:
        write_json(options.out, about | {"found": found})
        say(f"written to {options.out}")


def compare_vectors(options: Any) -> float:
    """Largest difference of the vectors of some items on the two devices; where faiss sees a GPU, both rankings, too."""
    items = Shop.open(options.shop).items.head(NUM_ENCODED).collect()
    vectors = [
        ProductEncoder.from_pretrained(options.work / "cpu", device=device).encode_items(items)
        for device in ("cpu", options.device)
    ]
    gap = float(np.abs(vectors[0] - vectors[1]).max())
    say(f"vectors of {len(items)} items: entries apart by {gap:.2g} at most")
    if not gap <= MOST_APART:
        raise MoonRecError(f"vectors on {options.device} are {gap:.2g} off, wanted {MOST_APART:g}")
    ranked = top_rows(vectors[0], vectors[0], 10)
    literal = np.argsort(-(vectors[0].astype(np.float64) @ vectors[0].T), axis=1, kind="stable")
    if not (ranked == literal[:, :10]).all():
        raise MoonRecError("exact search on this machine ranks otherwise than a sort by score")
    return gap


if __name__ == "__main__":
    sys.exit(run(main))
