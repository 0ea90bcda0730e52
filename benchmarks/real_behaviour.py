"""Real behaviour: MovieLens with posters through all three stages; DIN on ids against DIN with CUBE over vectors of posters and titles.

MovieLens has no searches, so products are their own queries in post-training: a title seeks its poster, an altered view of a poster seeks it. No win is
expected with posters of 64x96 and a few hundred users; the question is whether content does harm.
"""

import sys
from pathlib import Path

from benchmarks.chain import Step, add_chain_options, module_step, ranker_steps, run_chain
from moon_rec.command import Parser, run

SEEDS = (0, 1, 2)


def steps(data: Path, out: Path, edition: str) -> list[Step]:
    """Import, train the encoder on posters and titles, embed, rankers."""
    shop, pretrained, encoder = out / "shop", out / "pretrained", out / "encoder"
    vectors = out / "vectors"
    train = ["--set", "pairs=catalogue", "--set", "steps=600"]
    bring = ("import", "movielens", "--data", data, "--out", shop, "--set", f"edition={edition}")
    tables = ["--items", str(vectors / "items")]
    return [
        module_step("moon_rec", shop, "shop", *bring, name="import MovieLens with posters"),
        module_step("representation.pretrain", pretrained, shop, "--out", pretrained),
        module_step(
            "representation.posttrain",
            encoder,
            *(shop, "--start", pretrained, "--out", encoder, *train),
        ),
        module_step(
            "representation.embed", vectors / "items", shop, "--encoder", encoder, "--out", vectors
        ),
        *ranker_steps(shop, out, SEEDS, tables),
    ]


def main(argv: list[str] | None = None) -> None:
    """Run the chain; see `--help`."""
    parser = Parser(
        prog="python -m benchmarks.real_behaviour",
        description="MovieLens with posters: DIN on ids against DIN with CUBE, warm and cold.",
        example="python -m benchmarks.real_behaviour --data DATA/movielens --out runs/movielens",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with ratings.csv")
    parser.add_argument("--edition", choices=("2018", "2016", "both"), default="both")
    add_chain_options(parser, "runs/movielens")
    given = parser.parse_args(argv)
    run_chain(steps(given.data, given.out, given.edition), given.out / "cost.json", given.resume)


if __name__ == "__main__":
    sys.exit(run(main))
