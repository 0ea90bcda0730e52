"""Search recall of encoders where products lack their pictures or their words, at 0, 25, 50 and 100 %: left out, and completed.

    python -m benchmarks.missing_modality SHOP moon1=ENCODER moon2=ENCODER --out missing_modality.json

- Any number of encoders that read both, each with a name, on the same products lacking the same: drawn by `--seed`, those of a smaller share among those of a larger.
- Completion: a missing picture is that of the product whose words are nearest, under the same encoder; missing words are a title that `--writer` writes for the picture (a Qwen-VL, a composed checkpoint,
  an encoder pretrained here), without it that of the product whose picture is nearest. With `--writer` both are measured.
- Recall@k of searches by picture, by words and by both in the test period, of all that was bought after them; intervals over users, that of the difference paired.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, count, run, seed_number
from moon_rec.errors import ConfigError
from moon_rec.progress import say
from moon_rec.shop import Shop
from representation.co_augmentation.completion import NearestProduct, WrittenWords
from representation.co_augmentation.generator import Completion
from representation.co_augmentation.written import WrittenTitles
from representation.encoder import open_encoder
from representation.interface import Encoder
from representation.metrics.missing_modality import MISSING, MissingRow, measure_missing


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.missing_modality",
        description="Search recall of encoders with pictures missing, with texts missing, and with what is missing completed.",
        example="python -m benchmarks.missing_modality demo/shop first=demo/posttrained --out missing_modality.json",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("encoders", nargs="+", metavar="NAME=ENCODER", help="encoders' folders")
    parser.add_argument("--out", type=Path, required=True, help="JSON of the figures")
    parser.add_argument("--writer", type=Path, help="folder of a model that writes missing titles")
    parser.add_argument("-k", type=count, default=10, help="cut of the recall (default: 10)")
    parser.add_argument("--seed", type=seed_number, default=0, help="of which products lack what")
    chosen = parsed(parser, argv)
    named = [_named(word) for word in chosen.encoders]
    shop = Shop.open(chosen.shop)
    writer = None
    if chosen.writer is not None:
        writer = WrittenTitles(open_encoder(chosen.writer), str(chosen.writer))
    figures = []
    for name, folder in named:
        encoder = open_encoder(folder)
        for words, completion in _completions(encoder, writer).items():
            began = time.process_time()
            missing = ("texts",) if words == "written" else MISSING
            given = {"k": chosen.k, "seed": chosen.seed, "missing": missing}
            rows = measure_missing(shop, encoder, completion, **given)
            spent = round(time.process_time() - began, 1)
            shown = [row.as_dict() for row in rows]
            about = {"encoder": name, "digest": encoder.digest, "words": words, "seconds": spent}
            figures.append({**about, "rows": shown})
            for line in as_lines(f"{name}, words {words}", rows, chosen.k):
                print(line)
    machine = describe_machine()
    written = {
        "command": "python -m benchmarks.missing_modality " + " ".join(sys.argv[1:]),
        "commit": machine["commit"],
        "hardware": machine,
        "shop": {"source": shop.source, "digest": shop.digest, "is_simulated": shop.is_simulated},
        "k": chosen.k,
        "seed": chosen.seed,
        "figures": figures,
    }
    chosen.out.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    say(f"written to {chosen.out}")


def _named(word: str) -> tuple[str, Path]:
    name, _, folder = word.partition("=")
    if not name or not folder:
        raise ConfigError(f"{word!r}: wanted NAME=ENCODER, such as moon2=runs/moon2")
    return name, Path(folder)


def _completions(encoder: Encoder, writer: WrittenTitles | None) -> dict[str, Completion]:
    found: dict[str, Completion] = {"of the nearest picture": NearestProduct(encoder)}
    if writer is not None:
        found["written"] = WrittenWords(encoder, writer)
    return found


def as_lines(title: str, rows: list[MissingRow], k: int) -> list[str]:
    """A Markdown table: a row a modality and share, a column a form of search; recall left out, and completed less that."""
    forms = list(dict.fromkeys(row.searched_by for row in rows))
    lines = [f"{title}: recall@{k}, shown by what is left; completed less that"]
    lines += [f"| missing | share | {' | '.join(forms)} |", f"|---|---|{'---|' * len(forms)}"]
    for lacking, share in dict.fromkeys((row.lacking, row.share) for row in rows):
        of_row: dict[str, Any] = {row.searched_by: row for row in rows if (row.lacking, row.share) == (lacking, share)}  # fmt: skip
        cells = [_cell(of_row[form]) for form in forms]
        lines.append(f"| {lacking} | {share:.0%} | {' | '.join(cells)} |")
    return lines


def _cell(row: MissingRow) -> str:
    found = f"{row.recall.value:.3f} [{row.recall.low:.3f}, {row.recall.high:.3f}]"
    if row.difference is None or not row.num_completed:
        return found
    one = row.difference
    return f"{found}; {one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


if __name__ == "__main__":
    sys.exit(run(main))
