"""One normal form of texts: what looks alike is alike, in tokens, words, vocabularies and labels.

Notable choices
- Canonical equivalence (NFC, Unicode Annex 15): `é` is one letter, however it was typed. Full-width and half-width forms are those of usual width besides (`ＡＢＣ`, half-width
  katakana): they come from a keyboard's mode, not from the writer's meaning.
- Not NFKC, which folds meaning as well as form: `8½` becomes 81⁄2, `Alien³` Alien3, `10²` 102, and `Nike™` the word NikeTM. Of 9,742 MovieLens titles it changes 8, all of
  these kinds, and NFC none; of Myntra's and Online Retail's texts either changes none.
- What is never seen (Unicode's default ignorable characters: joiners, soft hyphens, byte order marks, variation selectors, marks of direction) is taken out; a zero-width
  space stands for a space, as its makers mean it.
- Any run of white space and control characters, no-break spaces among them, is one space, and none at the ends. A text that leaves nothing is no text.
- Letters' case and accents stay: who wants them folded does so on this form.
"""

import sys
import unicodedata
from collections.abc import Iterable

import polars as pl

UNSEEN = r"[\p{Default_Ignorable_Code_Point}--\u{200B}]"
SPACES = r"[\s\p{Cc}\u{200B}]+"
SEEN = r"[^\s\p{Cc}\p{Default_Ignorable_Code_Point}]"


def _usual_widths() -> dict[str, str]:
    """Characters of full and half width, and those of usual width."""
    found = {}
    for code in range(0x2000, min(0x10000, sys.maxunicode)):
        kind, _, rest = unicodedata.decomposition(chr(code)).partition(" ")
        if kind in ("<wide>", "<narrow>"):
            found[chr(code)] = "".join(chr(int(each, 16)) for each in rest.split())
    return found


USUAL_WIDTH = _usual_widths()


def normal_text(text: str | pl.Expr) -> pl.Expr:
    """A column of texts in normal form; null where it is null, empty where nothing of it is seen."""
    column = pl.col(text) if isinstance(text, str) else text
    widths = column.str.replace_many(list(USUAL_WIDTH), list(USUAL_WIDTH.values()))
    # unseen marks may stand between a letter and its accent, so they go before these are joined
    joined = widths.str.replace_all(UNSEEN, "").str.normalize("NFC")
    return joined.str.replace_all(SPACES, " ").str.strip_chars(" ")


def normal_texts(texts: Iterable[str]) -> list[str]:
    """Texts in normal form, in their order; see `normal_text`."""
    column = pl.Series("text", list(texts), dtype=pl.String)
    return column.to_frame().select(normal_text("text")).to_series().to_list()


def has_text(text: str) -> pl.Expr:
    """Whether a column's text shows anything: false where it is null, empty, or nothing of it is seen."""
    return pl.col(text).str.contains(SEEN).fill_null(False)
