"""What was written of products beforehand: a table of texts that a `ReasoningEncoder` embeds behind, instead of writing itself.

Writing is what reasoning costs, and it is done once a product, offline (`representation.write`); embedding a catalogue is then one pass a product. The table is a
Parquet file: `item_id`, `written` (the text), and, of a file that `representation.write` made, `tokens` and `has_ended`. Tokens are kept because a text says less than
them: a model may write a word in pieces that the tokenizer would not cut it into. They go with the encoder that wrote them; texts alone go with any.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow.parquet as pq

from moon_rec.errors import EncoderError
from moon_rec.files import atomic_file, digest_file
from moon_rec.outputs import OutputKind, parquet_with
from representation.interface import Modality

COLUMNS = {"item_id": pl.Int64, "written": pl.String}
TOKENS = {"tokens": pl.List(pl.Int32), "has_ended": pl.Boolean}
WRITTEN = OutputKind("a table of written attributes", "", parquet_with(*COLUMNS), ())
_ENCODER, _MODALITY = b"moon_rec.encoder", b"moon_rec.modality"


class Answer(NamedTuple):
    """What is written of a product.

    Attributes:
        text: in words.
        tokens: without the end; None: not known.
        has_ended: whether it came to its end by itself.
    """

    text: str
    tokens: list[int] | None = None
    has_ended: bool = True


class WrittenAttributes:
    """A table of what was written.

    Attributes:
        digest: 16 hex digits of the file.
        modality: what of a product was shown to the encoder that wrote; None: the file does not say.
    """

    def __init__(
        self, answers: dict[int, Answer], digest: str, path: Path, modality: str | None = None
    ) -> None:
        self._answers, self.digest, self.path, self.modality = answers, digest, path, modality

    @classmethod
    def open(cls, path: Path, encoder: str) -> "WrittenAttributes":
        """
        Args:
            encoder: digest of the one that embeds.

        Raises:
            EncoderError: no such table, a product in it twice, a null text, or tokens of another encoder.
        """
        try:
            frame = pl.read_parquet(path)
            told = pq.read_schema(path).metadata or {}
            by, modality = (told.get(name, b"").decode() for name in (_ENCODER, _MODALITY))
        except (OSError, pl.exceptions.PolarsError, ValueError) as error:
            raise EncoderError(
                f"no table of written attributes at {path}: {str(error).splitlines()[0]:.120}; make one with python -m representation.write"
            ) from None
        wanted = COLUMNS | (TOKENS if "tokens" in frame.columns else {})
        for name, kind in wanted.items():
            if frame.schema.get(name) != kind:
                raise EncoderError(
                    f"{path}: column {name} is {frame.schema.get(name, 'absent')}, wanted {kind}; make it with python -m representation.write, or by hand with item_id and written"
                )
        if "tokens" in frame.columns and by != encoder:
            raise EncoderError(
                f"{path} has tokens of encoder {by or 'not said'}, and this one is {encoder}; write again with python -m representation.write, or leave out the column tokens"
            )
        empty = frame.with_row_index("row").filter(pl.any_horizontal(pl.col(*wanted).is_null()))
        if empty.height:
            raise EncoderError(
                f"{path}: row {empty['row'][0] + 1} holds a null; give each product a text, which may be empty"
            )
        twice = frame.filter(pl.col("item_id").is_duplicated())
        if twice.height:
            raise EncoderError(
                f"{path}: item {twice['item_id'][0]} is written about twice; keep one"
            )
        rows = frame.select(*wanted).iter_rows()
        answers = {row[0]: Answer(*row[1:]) for row in rows}
        return cls(answers, digest_file(path), path, modality or None)

    def check(self, seen: Modality) -> None:
        """Words of what is not to be shown would tell it.

        Raises:
            EncoderError: it was written of another modality than products are embedded by.
        """
        if self.modality not in (None, seen):
            raise EncoderError(
                f"{self.path} was written of products by modality {self.modality}, and they are embedded by {seen}: words would tell what is not to be shown; embed with --modality {self.modality}, or write again with --modality {seen}"
            )

    def of(self, item_ids: Sequence[int]) -> list[Answer]:
        """Of each product.

        Raises:
            EncoderError: nothing is written of one.
        """
        missing = [item for item in item_ids if item not in self._answers]
        if missing:
            raise EncoderError(
                f"{self.path}: nothing is written of {len(missing):,} products, such as item {missing[0]}; write of all of them with python -m representation.write"
            )
        return [self._answers[item] for item in item_ids]


def write_answers(
    path: Path,
    item_ids: Sequence[int],
    answers: Sequence[Answer],
    encoder: str,
    modality: Modality = "both",
) -> None:
    """A file that `WrittenAttributes.open` opens, of answers with tokens.

    Args:
        encoder: digest of the one that wrote. modality: what of a product it was shown.
    """
    columns = {
        "item_id": item_ids,
        "written": [one.text for one in answers],
        "tokens": [one.tokens for one in answers],
        "has_ended": [one.has_ended for one in answers],
    }
    table = pl.DataFrame(columns, schema=COLUMNS | TOKENS).to_arrow()
    with atomic_file(path) as temporary:
        told = {_ENCODER: encoder.encode(), _MODALITY: modality.encode()}
        pq.write_table(table.replace_schema_metadata(told), temporary)
