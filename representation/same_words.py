"""When two texts have the same words: one normal form for queries, titles and the catalogue's terms.

Notable choices (the papers are silent):
- On the normal form of all texts (`moon_rec.texts`) letters are lowered; accents stay: `é` is another letter than `e`. `™` parts words, where NFKC would make it two letters.
- A word is a run of letters, marks and digits; all else, punctuation and emoji among it, parts words.
- In scripts that put no space between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) each character is a word of its own, so that a term of several characters is
  found inside a sentence as a phrase is.
- The order of words is kept: `bag for shoes` is not `shoes for bag`.
"""

import polars as pl

from moon_rec.texts import normal_text

NOT_A_WORD = r"[^\p{L}\p{M}\p{N}]+"
UNSPACED = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"


def normal_words(text: str, part_unspaced: bool = True) -> pl.Expr:
    """The words of the column `text` in normal form, one space between them; empty where it is null or holds none.

    Args:
        part_unspaced: each character of a script without spaces is a word; False: a run of them is one.
    """
    plain = normal_text(text).fill_null("").str.to_lowercase()
    parted = plain.str.replace_all(UNSPACED, " $1 ") if part_unspaced else plain
    return parted.str.replace_all(NOT_A_WORD, " ").str.strip_chars(" ")
