"""Texts of strangers, shown as text: what a file, a shop or a tracked run calls something is never a path, never markup, never an order to a terminal.

Notable choices
- Names become files only through `plain_name`, which refuses; texts are shown through the others, which change nothing that a reader sees.
- What nobody would see is written out: control characters and ANSI escapes as `\\x1b`, marks of direction as `\\u202e`, halves of surrogate pairs as `\\ud800`. White space of any kind,
  line breaks included, is one space: a text shown is one line, so that it opens no block of Markdown and forges no line of a log.
- Each medium escapes once, where text enters it: templates by their `finalize`, figures and tables by calling the function of theirs. HTML is jinja's autoescape over `visible`.
"""

import re
import unicodedata
from pathlib import Path

from rich.text import Text

from moon_rec.errors import MoonRecError

NAME_BYTES = 200
"""Of a plain name, in UTF-8: file systems take 255, and a temporary's prefix and suffix come beside it."""

_SPACE = re.compile(r"\s+")
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKDOWN = re.compile(r"[\\`*_\[\]<>|~&$]")
_BLOCK = re.compile(r"^(\d{0,9})(?=[#+=:.)-])")
_LINK = re.compile(r"(?<=[A-Za-z])(?=://)|(?<=[wW]{3})(?=\.)")


def plain_name(value: object, what: str) -> str:
    """`value`, which may be the name of one file or folder in a folder that we know.

    Args:
        value: as it was read: anything.
        what: said first in the error, such as `study.json of run 12ab, sheets[0]`.

    Raises:
        MoonRecError: no text, an empty one or one over `NAME_BYTES`, a separator, a first dot (`..` with it), or a character that is not seen.
    """
    reason = _no_name(value)
    if reason:
        shown = repr(value)[:80]
        raise MoonRecError(
            f"{what}: {shown} is no plain name ({reason}); wanted one like 'neighbours', without a path"
        )
    return str(value)


def path_inside(folder: Path, value: object, what: str) -> Path:
    """The path that `value`, such as `vectors/items`, names below `folder`, which is ours.

    Raises:
        MoonRecError: a part of it is no plain name, or a link on the way leads out of the folder.
    """
    parts = value.split("/") if isinstance(value, str) else [value]
    path = folder.joinpath(*(plain_name(part, what) for part in parts))
    if not path.resolve().is_relative_to(folder.resolve()):
        raise MoonRecError(
            f"{what}: {path} is a link that leads out of {folder}; put what it names there itself"
        )
    return path


def visible(text: object) -> str:
    """One line in which everything can be seen; the module's docstring says what is written out."""
    spaced = _SPACE.sub(" ", str(text))
    if spaced.isascii() and spaced.isprintable():
        return spaced
    return "".join(_written_out(one) if _is_hidden(one) else one for one in spaced)


def as_markdown(text: object) -> str:
    """Text as Markdown (CommonMark with GitHub's tables, strikes, formulas and links) that renders as that text.

    It holds in running text and in cells of tables, not inside code spans, where Markdown has no escapes.
    """
    escaped = _MARKDOWN.sub(r"\\\g<0>", visible(text))
    return _LINK.sub(r"\\", _BLOCK.sub(r"\1\\", escaped))


def as_figure_text(text: object) -> str:
    """Text for matplotlib, which takes what stands between two dollars for TeX, and a label that begins with `_` for none."""
    escaped = visible(text).replace("$", r"\$")
    return f"\u200b{escaped}" if escaped.startswith("_") else escaped


def as_console_text(text: object) -> Text:
    """Text for rich: no markup, no `:emoji:`, nothing that moves a cursor. Hand it over as it is: inside an f-string it would be read as markup again."""
    return Text(visible(text))


def _no_name(value: object) -> str:
    """Why a value is no plain name; empty where it is one."""
    if not isinstance(value, str):
        return f"a {type(value).__name__}, not a text"
    if not value.strip():
        return "empty"
    if any(_is_hidden(one) for one in value):
        return "it holds a character that is not seen"
    if len(value.encode()) > NAME_BYTES:
        return f"{len(value.encode())} bytes, the most are {NAME_BYTES}"
    if "/" in value or "\\" in value:
        return "it holds a separator of folders"
    if value.startswith("."):
        return "it begins with a dot"
    return ""


def _is_hidden(one: str) -> bool:
    """Control characters, halves of surrogate pairs, separators of lines, marks of direction."""
    return one in _DIRECTIONS or unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")


def _written_out(one: str) -> str:
    code = ord(one)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
