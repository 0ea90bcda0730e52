"""What a user can mend: one typed error a boundary, each message one line.

A message says what was wrong, where, the value received, and how to mend it. Commands print it after `error: ` and exit with code 2
(`moon_rec.command.run`); library callers catch `MoonRecError` or the narrower type.
"""

import errno
import os

MOST_LINE = 6_000
MOST_WORD = 500


class MoonRecError(ValueError):
    """Anything that the caller's input is at fault for.

    Its text is one line in which everything can be seen, whatever the values in it are (`moon_rec.shown.visible`): a title with an escape sequence clears no screen, and one
    with a line break forges no second line. A word over `MOST_WORD` characters, and a line over `MOST_LINE`, is cut, and says by how much.
    """

    def __init__(self, message: object = "") -> None:
        from moon_rec.shown import visible  # which raises these errors itself

        line = visible(str(message).strip())
        if len(line) > MOST_WORD:
            line = " ".join(_cut(word, MOST_WORD) for word in line.split(" "))
        super().__init__(_cut(line, MOST_LINE))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text) - most:,} more)"


class ConfigError(MoonRecError):
    """A setting that is unknown, of the wrong type or out of its range."""


class ShopError(MoonRecError):
    """A shop folder, table or picture that breaks a rule of the schema."""


class TableError(MoonRecError):
    """An embedding table that cannot be built, opened or looked up."""


class EncoderError(MoonRecError):
    """An encoder folder, its inputs or its training settings."""


class RankingError(MoonRecError):
    """A ranker, its features or the scores it is judged by."""


class StudyError(MoonRecError):
    """A study's plan, its tracked runs or a fit asked of them."""


def first_line(error: BaseException) -> str:
    """The first line of what another library complains of; its type's name where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


_OF_SYSTEM = {
    errno.ENOSPC: ("the disk is full", "make room or name another disk"),
    errno.EDQUOT: ("your share of the disk is used up", "make room or name another disk"),
    errno.EFBIG: ("the file may not grow so large", "raise the limit (ulimit -f) or name another disk"),
    errno.EROFS: ("the file system can only be read", "name another place"),
    errno.EACCES: ("you may not do that there", "change the permissions or name another place"),
    errno.EPERM: ("that is not permitted there", "change the permissions or name another place"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "name another place"),
    errno.EISDIR: ("a folder stands where a file is needed", "name a file"),
    errno.ENOENT: ("no such file or folder", "check the name"),
    errno.EEXIST: ("it exists already", "name another place"),
    errno.ENOTEMPTY: ("the folder is not empty", "name another place"),
    errno.ENAMETOOLONG: ("the name is too long", "name a shorter one"),
    errno.ELOOP: ("its links lead in a circle", "mend the links"),
    errno.EIO: ("the disk failed", "check the disk, then run the command again"),
    errno.ESTALE: ("the shared disk has lost it", "mount the disk again, then run the command again"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.EBUSY: ("it is in use", "name another place"),
}  # fmt: skip


def os_error_line(error: OSError, path: object = None) -> str:
    """An operating system's complaint as one line: where, what, how to mend it.

    Args:
        path: what was being read or written, said instead of the name in `error`, which may be that of a temporary.
    """
    named = path or error.filename2 or error.filename
    where = f"{os.fsdecode(named) if isinstance(named, bytes) else named}: " if named else ""
    number = error.errno or 0
    what, mend = _OF_SYSTEM.get(number, (error.strerror or first_line(error), ""))
    code = f" ({errno.errorcode[number]})" if number in errno.errorcode else ""
    return " ".join(f"{where}{what}{code}{f'; {mend}' if mend else ''}".split())
