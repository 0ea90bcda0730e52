"""When two texts have the same words: one normal form for queries, titles and the catalogue's terms.

Notable choices (the papers are silent):
- Compatibility forms are unified (NFKC) and letters lowered; accents stay: `é` is another letter than `e`.
- Characters that only steer the writing (marks of direction, joiners, soft hyphens) are taken out; a zero-width space parts words.
- A word is a run of letters, marks and digits; all else, punctuation and emoji among it, parts words.
- In scripts that put no space between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) each character is a word of its own, so that a term of several characters is
  found inside a sentence as a phrase is.
- The order of words is kept: `bag for shoes` is not `shoes for bag`.
"""

import polars as pl

UNSEEN = r"[\p{Cf}--\u{200B}]"
NOT_A_WORD = r"[^\p{L}\p{M}\p{N}]+"
UNSPACED = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"


def normal_words(text: str, part_unspaced: bool = True) -> pl.Expr:
    """The words of the column `text` in normal form, one space between them; empty where it is null or holds none.

    Args:
        part_unspaced: each character of a script without spaces is a word; False: a run of them is one.
    """
    plain = (
        pl.col(text)
        .fill_null("")
        .str.normalize("NFKC")
        .str.to_lowercase()
        .str.replace_all(UNSEEN, "")
    )
    parted = plain.str.replace_all(UNSPACED, " $1 ") if part_unspaced else plain
    return parted.str.replace_all(NOT_A_WORD, " ").str.strip_chars(" ")
