"""Command: encoders that started from the same one become one, by their weights.

python -m representation.merge A B --out DIR
python -m representation.merge A B --out DIR --task-arithmetic BASE --scale .7
"""

import sys
from pathlib import Path

from moon_rec.command import Parser, positive, run
from moon_rec.outputs import add_overwrite_option
from moon_rec.processes import refuse_many_processes


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("representation.merge")
    options = _parser().parse_args(argv)
    from representation.encoder import read_about
    from representation.merging import merge_encoders

    base = options.task_arithmetic or options.adapters
    out = merge_encoders(
        options.encoders,
        options.out,
        options.weights,
        base=base,
        scale=options.scale,
        adapters=options.adapters is not None,
        overwrite=options.overwrite,
    )
    about = read_about(out)
    assert about is not None
    print(f"{out}  {about['digest']}, merged of {len(options.encoders)} encoders: see merged.json")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m representation.merge",
        description="Merge encoders that were trained from the same one: the average of their weights (model soups), or what each learnt added to what they started "
        "from (task arithmetic). No training; the folder opens as any encoder.",
        example="python -m representation.merge runs/seed0 runs/seed1 --out runs/soup --weights .5 .5",
    )
    parser.add_argument("encoders", nargs="+", metavar="ENCODER", help="an encoder's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the merged encoder")
    about = "of an average, in the order of the encoders, summing to 1; default: all alike"
    parser.add_argument("--weights", type=positive, nargs="+", metavar="SHARE", help=about)
    base = parser.add_mutually_exclusive_group()
    about = "BASE + SCALE * the sum of (ENCODER - BASE), over all weights"
    base.add_argument("--task-arithmetic", metavar="BASE", help=about)
    about = "add to BASE what the encoders' LoRA adapters hold (ENCODER/adapter): their average, or SCALE times their sum"
    base.add_argument("--adapters", metavar="BASE", help=about)
    about = "of what each encoder learnt since BASE, such as 0.7"
    parser.add_argument("--scale", type=positive, help=about)
    add_overwrite_option(parser, "the encoder")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
