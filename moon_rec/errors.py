"""What a user can mend: one typed error a boundary, each message one line.

A message says what was wrong, where, the value received, and how to mend it. Commands print it after `error: ` and exit with code 2
(`moon_rec.command.run`); library callers catch `MoonRecError` or the narrower type.
"""


class MoonRecError(ValueError):
    """Anything that the caller's input is at fault for."""


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
