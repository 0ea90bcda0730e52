"""Command: write attributes of every product once, offline, with an encoder that reasons.

python -m representation.write SHOP --encoder REASONED --out WRITTEN.parquet

Then `python -m representation.embed SHOP --encoder REASONED --written WRITTEN.parquet --out TABLES` embeds behind them, one pass a product. What is written stands in parts beside the file until
all of it is there, so a killed run loses at most one part.
"""

import sys
from pathlib import Path

import polars as pl

from moon_rec.command import Parser, count, run
from moon_rec.errors import EncoderError, MoonRecError
from moon_rec.files import digest_of
from moon_rec.kept import note_kept
from moon_rec.outputs import add_overwrite_option, check_output
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import progress, say
from moon_rec.shop import Shop
from moon_rec.shop.options import add_shop
from representation.core_region.crops import boxes_told
from representation.interface import Modality
from representation.reasoning.encoder import ReasoningEncoder
from representation.reasoning.written import (
    WRITTEN,
    Answer,
    WrittenAttributes,
    write_answers,
)
from representation.version import made_by

PART = 512
"""Products a part."""


def write_shop(
    encoder: ReasoningEncoder,
    shop: Shop,
    out: Path,
    modality: Modality = "both",
    batch_size: int = 64,
) -> list[Answer]:
    """Write of every product, greedily, into `out`; parts that an earlier run of the same left are taken up.

    Args:
        modality: what of a product is shown; `image` writes of those alone that have one.

    Returns:
        What was written, by rising item id.
    """
    kept = pl.col("image").is_not_null() if modality == "image" else pl.lit(True)
    ids = shop.items.filter(kept).select("item_id").collect()["item_id"].sort()
    made_of = [encoder.digest, shop.digest, modality, made_by()]
    folder = out.with_name(f".{out.name}-parts-{digest_of(made_of)}")
    folder.mkdir(parents=True, exist_ok=True)
    found, files = [], []
    with boxes_told(encoder.cut), progress("write", len(ids)) as bar:
        for start in range(0, len(ids), PART):
            own = ids[start : start + PART]
            files.append(folder / f"{start:012d}.parquet")
            answers = _standing(files[-1], own, encoder)
            if answers is None:
                frame = shop.items.filter(pl.col("item_id").is_in(own.implode())).sort("item_id")
                answers = encoder.answers(frame.collect(), modality, batch_size, progress=False)
                write_answers(files[-1], own.to_list(), answers, encoder.digest, modality)
            note_kept(folder, f"{len(files):,} parts")
            found += answers
            bar.advance(len(own))
    write_answers(out, ids.to_list(), found, encoder.digest, modality)
    for file in files:
        file.unlink()
    folder.rmdir()
    note_kept(out, "whole")
    return found


def _standing(file: Path, ids: pl.Series, encoder: ReasoningEncoder) -> list[Answer] | None:
    """What an earlier run wrote of these products; None: nothing that can be read."""
    if not file.exists():
        return None
    try:
        return WrittenAttributes.open(file, encoder.digest).of(ids.to_list())
    except MoonRecError:
        return None


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("representation.write")
    parser = Parser(
        prog="python -m representation.write",
        description="Write attributes of every product of a shop with an encoder that reasons (representation.reason), once: representation.embed --written embeds behind them. "
        "Run it again to resume after an interruption.",
        example="python -m representation.write demo/shop --encoder demo/reasoned --out demo/written.parquet",
    )
    add_shop(parser)
    parser.add_argument("--encoder", type=Path, required=True, help="an encoder that reasons")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file of what is written")
    add_overwrite_option(parser, "the file")
    about = "what of a product is shown to the encoder"
    parser.add_argument("--modality", choices=("both", "text", "image"), default="both", help=about)
    parser.add_argument("--batch-size", type=count, default=64, help="products written about at once")  # fmt: skip
    chosen = parser.parse_args(argv)
    check_output(chosen.out, WRITTEN, chosen.overwrite, inputs=(chosen.shop, chosen.encoder))
    shop = Shop.open(chosen.shop)
    encoder = open_reasoning(chosen.encoder)
    answers = write_shop(encoder, shop, chosen.out, chosen.modality, chosen.batch_size)
    cut_off = sum(not one.has_ended for one in answers)
    if cut_off:
        most = encoder.config.reasoning_tokens
        say(f"{cut_off:,} of {len(answers):,} answers were cut off after {most} tokens")
    print(f"{len(answers):,} products written about, at {chosen.out}")


def open_reasoning(path: str | Path) -> ReasoningEncoder:
    """
    Raises:
        EncoderError: no encoder there, or one that does not write.
    """
    from representation.encoder import open_encoder

    encoder = open_encoder(path)
    if not isinstance(encoder, ReasoningEncoder):
        raise EncoderError(
            f"{path} writes nothing before it embeds; train it to with python -m representation.reason"
        )
    return encoder


if __name__ == "__main__":
    sys.exit(run(main))
