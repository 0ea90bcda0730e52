"""Real products: the three stages on all of Myntra's catalogue under simulated shoppers, each step timed and its memory measured.

Promised: at most 60 minutes on 2 cores and under 8 GiB at peak. The last step, own-photo recall beside HOG and colours, is a comparison and not one of
the three stages; its time is listed apart.
"""

import sys
from pathlib import Path

from benchmarks.chain import Step, add_chain_options, module_step, ranker_steps, run_chain
from moon_rec.command import Parser, run

SEEDS = (0, 1, 2)
SHOPPERS = (
    *("num_users=5000", "num_requests=75000", "request_size=6", "days=60"),
    *("share_browse=.2", "share_image=.6", "share_text=.25", "share_both=.15"),
)
"""Settings of the simulation: about 60,000 searches, of which 45,000 with a photo, and 450,000 impressions."""


def steps(data: Path, out: Path, posttraining_steps: int) -> list[Step]:
    """Import, pretrain, post-train, embed, recall, rankers, own photos."""
    shop, pretrained, encoder = out / "shop", out / "pretrained", out / "encoder"
    vectors, photos = out / "vectors", out / "own_photos.json"
    tables = ["--items", str(vectors / "items"), "--queries", str(vectors / "queries")]
    recall = ["--out", out / "recall.json", "--picture", out / "recall.png"]
    train = ["--start", pretrained, "--out", encoder, "--set", f"steps={posttraining_steps}"]
    settings = [word for setting in SHOPPERS for word in ("--set", setting)]
    bring = ("import", "myntra", "--data", data, "--out", shop, *settings)
    return [
        module_step("moon_rec", shop, "shop", *bring, name="import Myntra, simulate shoppers"),
        module_step("representation.pretrain", pretrained, shop, "--out", pretrained),
        module_step("representation.posttrain", encoder, shop, *train),
        module_step(
            "representation.embed", vectors / "items", shop, "--encoder", encoder, "--out", vectors
        ),
        module_step("representation.recall", out / "recall.json", shop, *tables, *recall),
        *ranker_steps(shop, out, SEEDS, tables),
        module_step(
            "benchmarks.own_photo_recall",
            photos,
            *(shop, "--encoder", encoder, "--out", photos),
            name="own photos beside HOG and colours (a comparison, not one of the stages)",
        ),
    ]


def main(argv: list[str] | None = None) -> None:
    """Run the chain; see `--help`."""
    parser = Parser(
        prog="python -m benchmarks.real_products",
        description="The three stages on all Myntra products under simulated shoppers, timed.",
        example="python -m benchmarks.real_products --data DATA/myntra --out runs/myntra",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with products.csv.gz")
    parser.add_argument("--posttraining-steps", type=int, default=3000, help="of 128 pairs")
    add_chain_options(parser, "runs/myntra")
    given = parser.parse_args(argv)
    chain = steps(given.data, given.out, given.posttraining_steps)
    run_chain(chain, given.out / "cost.json", given.resume)


if __name__ == "__main__":
    sys.exit(run(main))
