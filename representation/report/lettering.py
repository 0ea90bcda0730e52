"""Words that fit into a figure: measured, wrapped and cut with an ellipsis, in whatever alphabets the machine has fonts for.

Notable choices:
- Widths come from the fonts' own advances, so a title never runs into its neighbour, whatever letters it is made of.
- Fonts are tried in turn, character by character; what none has becomes `□`, and `MISSING` says so in a caption. Control characters become spaces.
- Letters are drawn in the order they are stored: right-to-left scripts are not turned round, and joined letters not joined.
"""

import unicodedata
from functools import lru_cache
from typing import Any

from matplotlib import font_manager

FAMILIES = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Microsoft YaHei",
    "SimHei",
    "Droid Sans Fallback",
    "Arial Unicode MS",
)
"""Fonts in the order they are tried: matplotlib's own, then those that systems bring for Chinese."""
MISSING = "□"
ELLIPSIS = "…"
POINTS_AN_INCH = 72
ROUNDING = 1.03
"""How much wider a line may come out where small letters are set on whole pixels."""
_MEASURED_AT = 64
"""Points at which advances are read; they scale with the size."""


@lru_cache
def families() -> list[str]:
    """Those of `FAMILIES` that this machine has; pass them to matplotlib as `family`."""
    known = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in FAMILIES if name in known]


def drawable(text: str | None) -> str:
    """The text as this machine can draw it: one line, `□` for what no font has."""
    letters = []
    for letter in unicodedata.normalize("NFC", text or ""):
        kind = unicodedata.category(letter)
        if kind.startswith("Z") or kind == "Cc":
            letters.append(" ")
        elif kind == "Cf" or "\ufe00" <= letter <= "\ufe0f":
            continue  # direction marks, joiners and variation selectors show nothing of their own
        elif kind.startswith("M") and _font_of(letter) is None:
            continue  # an accent
        else:
            letters.append(letter if _font_of(letter) is not None else MISSING)
    return " ".join("".join(letters).split())


def fit(text: str | None, inches: float, points: float, lines: int, bold: bool = False) -> str:
    """The text in at most `lines` lines, none wider than `inches` at that size; what is left over ends in an ellipsis.

    Lines break at spaces, and within a word only where the word alone is too wide, as in scripts without spaces.
    """
    words, rows = _pieces(drawable(text), inches, points, bold), [""]
    for place, word in enumerate(words):
        joined = f"{rows[-1]} {word}" if rows[-1] else word
        if width(joined, points, bold) <= inches:
            rows[-1] = joined
        elif len(rows) < lines:
            rows.append(word)
        else:
            rows[-1] = _cut(" ".join([rows[-1], *words[place:]]), inches, points, bold)
            break
    return "\n".join(rows)


def width(text: str, points: float, bold: bool = False) -> float:
    """Inches that a line takes, at most."""
    return ROUNDING * sum(_advance(letter, bold) for letter in text) * points / POINTS_AN_INCH


def _pieces(text: str, inches: float, points: float, bold: bool) -> list[str]:
    """Words, those wider than a line in pieces of a line's width."""
    pieces = []
    for word in text.split():
        start = 0
        for end in range(1, len(word) + 1):
            if end - start > 1 and width(word[start:end], points, bold) > inches:
                pieces.append(word[start : end - 1])
                start = end - 1
        pieces.append(word[start:])
    return pieces


def _cut(text: str, inches: float, points: float, bold: bool) -> str:
    while text and width(text + ELLIPSIS, points, bold) > inches:
        text = text[:-1]
    return text.rstrip() + ELLIPSIS


@lru_cache(maxsize=65_536)
def _advance(letter: str, bold: bool) -> float:
    """A letter's width in units of its size."""
    font = _font_of(letter, bold) or _font_of(MISSING, bold)
    assert font is not None, "matplotlib brings DejaVu Sans, which has the box"
    font.set_size(_MEASURED_AT, POINTS_AN_INCH)
    return font.load_char(ord(letter)).linearHoriAdvance / 65_536 / _MEASURED_AT


@lru_cache(maxsize=65_536)
def _font_of(letter: str, bold: bool = False) -> Any:
    for font in _fonts(bold):
        if font.get_char_index(ord(letter)):
            return font
    return None


@lru_cache
def _fonts(bold: bool) -> list[Any]:
    weight = "bold" if bold else "normal"
    wanted = [font_manager.FontProperties(family=name, weight=weight) for name in families()]
    return [font_manager.get_font(font_manager.findfont(each)) for each in wanted]
