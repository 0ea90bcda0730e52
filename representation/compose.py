"""Command: put a vision tower, a projector and a language model together as one encoder.

python -m representation.compose --vision TOWER --language MODEL --out ENCODER
"""

import sys
from pathlib import Path

from moon_rec.command import Parser, count, run, seed_number
from moon_rec.outputs import add_overwrite_option, check_output


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m representation.compose",
        description="Put a vision tower, a new projector and a causal language model together as transformers' LlavaForConditionalGeneration. The folder is an "
        "encoder that representation.pretrain and representation.posttrain go on from (--start); the projector is untrained.",
        example="python -m representation.compose --vision weights/dinov2-small --language weights/smollm2 --language-layers 8 --image-size 112 --out composed",
    )
    parser.add_argument(
        "--vision",
        required=True,
        help="folder or hub name of a vision tower (DINOv2, DINOv3, ViT) or of a model with one (SigLIP, CLIP)",
    )
    parser.add_argument(
        "--language",
        required=True,
        help="folder, hub name or GGUF file of a causal language model (SmolLM2, Llama, Qwen3, Gemma 3)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the encoder")
    parser.add_argument(
        "--language-layers",
        type=count,
        metavar="N",
        help="keep the language model's first N layers; default: all",
    )
    parser.add_argument(
        "--image-size",
        type=count,
        metavar="PIXELS",
        help="side of a picture, a multiple of the tower's patches; default: the tower's own, at most 224",
    )
    parser.add_argument("--seed", type=seed_number, default=0, help="of the projector")
    add_overwrite_option(parser, "the encoder")
    chosen = parser.parse_args(argv)
    from representation.encoders.checkpoint import ENCODER

    check_output(chosen.out, ENCODER, chosen.overwrite, inputs=(chosen.vision, chosen.language))
    from representation.encoders.composed import compose_encoder, described

    encoder = compose_encoder(
        chosen.vision,
        chosen.language,
        chosen.language_layers,
        chosen.image_size,
        chosen.seed,
    )
    print(encoder.save_pretrained(chosen.out, chosen.overwrite))
    print(described(encoder))


if __name__ == "__main__":
    sys.exit(run(main))
