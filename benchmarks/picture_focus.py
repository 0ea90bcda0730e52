"""NoteLLM-2's remedies on a simulated shop: does the vector use the picture, and what does each remedy find? And encoders of several seeds merged.

    python -m benchmarks.picture_focus --out FOLDER [--steps 150] [--seeds 2]

- A small random encoder is made once and post-trained from there in four ways (plain, late fusion, compression tokens, both), each with several seeds, on a simulated shop.
- Each is put through the benchmark's collapse check on the test period: products seeking products by text, by picture, by both, and with others' pictures; recall of searches by picture.
- The plain ones of all seeds, which started from one encoder, are merged: average, and task arithmetic at .7.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, count, run
from moon_rec.estimate import Estimate
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.simulate import simulate_shop
from moon_rec.shop.simulate.config import SimulationConfig
from representation.encoder import build_encoder, open_encoder
from representation.merging import merge_encoders
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.collapse import check_collapse
from representation.metrics.retrieval import retrieve_all
from representation.model.backbone import BackboneConfig
from representation.picture_focus import CompressionConfig, LateFusionConfig
from representation.posttraining import PosttrainConfig, posttrain
from representation.sets.contestant import EncoderContestant
from representation.sets.sampling import sample
from representation.sets.shop_set import shop_benchmark_set

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "late fusion": {"late_fusion": LateFusionConfig()},
    "compression tokens": {"compression_tokens": CompressionConfig()},
    "both": {"late_fusion": LateFusionConfig(), "compression_tokens": CompressionConfig()},
}
MEASURED = BenchmarkConfig(num_queries=500, headline_k=10)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.picture_focus",
        description="Late fusion, compression tokens and merged seeds on a simulated shop.",
        example="python -m benchmarks.picture_focus --out runs/picture_focus",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for shop and encoders")
    parser.add_argument("--steps", type=count, default=150, help="of each training")
    parser.add_argument("--seeds", type=count, default=2, help="trainings of each way")
    parser.add_argument("--items", type=count, default=800, help="products of the shop")
    chosen = parsed(parser, argv)
    chosen.out.mkdir(parents=True, exist_ok=True)
    config = SimulationConfig(
        num_items=chosen.items, num_users=500, num_requests=4000, image_size=48, share_browse=0.2
    )
    shop = simulate_shop(config, chosen.out / "shop")
    shop = Shop.open(chosen.out / "shop")
    backbone = BackboneConfig.preset("demo").model_copy(update={"image_size": 32, "patch_size": 8})
    start = build_encoder(shop, chosen.out / "start", backbone)
    rows, places = [], []
    for name, settings in WAYS.items():
        for seed in range(chosen.seeds):
            place = chosen.out / f"{name.replace(' ', '_')}-{seed}"
            training = PosttrainConfig(
                steps=chosen.steps, batch_size=32, learning_rate=2e-3, engagement="clicked", seed=seed, num_threads=1, **settings
            )  # fmt: skip
            began = time.process_time()
            posttrain(shop, place, training, start)
            spent = time.process_time() - began
            rows.append({"way": name, "seed": seed, "seconds": spent, **figures(shop, place, chosen.out)})  # fmt: skip
            places += [place] * (name == "plain")
            write(chosen.out, rows, shop)
    merged = merge_encoders(places, chosen.out / "average")
    rows.append({"way": "average of the plain ones", **figures(shop, merged, chosen.out)})
    summed = merge_encoders(places, chosen.out / "sum", base=start, scale=0.7)
    rows.append({"way": "task arithmetic, .7", **figures(shop, summed, chosen.out)})
    rows.append({"way": "start", **figures(shop, start, chosen.out)})
    print(write(chosen.out, rows, shop))


def figures(shop: Shop, encoder: Path, out: Path) -> dict[str, Any]:
    """The collapse check's figures of an encoder, and recall of searches by picture and by words."""
    bench = sample(shop_benchmark_set(shop, engagement="clicked"), MEASURED.num_queries)
    contestant = EncoderContestant(encoder.name, open_encoder(encoder, "cpu"), bench, out / "kept")
    grid = retrieve_all(contestant, bench, MEASURED)
    found = check_collapse(contestant, bench, grid, {}, MEASURED)
    rows = {row.name: {way: plain(one) for way, one in row.values.items()} for row in found.rows}
    say(f"{encoder.name}: {found.verdict}")
    shares = {way: one.as_dict() for way, one in found.shares.items()}
    worth = None if found.worth is None else found.worth.as_dict()
    return {"rows": rows, "shares": shares, "worth": worth, "verdict": found.verdict}


def plain(one: Any) -> Any:
    """For JSON."""
    return one.as_dict() if isinstance(one, Estimate) else str(one)


def write(out: Path, rows: list[dict[str, Any]], shop: Shop) -> Path:
    """All figures so far, with what made them."""
    machine = describe_machine()
    about = {
        "command": "python -m benchmarks.picture_focus " + " ".join(sys.argv[1:]),
        "commit": machine["commit"],
        "hardware": machine,
        "shop": {"source": shop.source, "digest": shop.digest, "is_simulated": shop.is_simulated},
        "figures": rows,
    }
    file = out / "picture_focus.json"
    file.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return file


if __name__ == "__main__":
    sys.exit(run(main))
