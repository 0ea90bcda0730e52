"""Names and texts as every MLflow store takes them.

MLflow refuses characters, paths such as `a//b` and names above 250 characters, and cuts texts at lengths of its own. Whatever is changed here
says so, and keeps its digest: nothing is cut in silence, and no two names become one.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from moon_rec.files import digest_of

MOST_NAME = 250
MOST_PARAM = 5_000
MOST_TAG = 5_000
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")


class Names:
    """Names of one kind in one run: what is given becomes what MLflow takes, each name its own."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._taken: dict[str, str] = {}

    def of(self, given: str) -> str:
        """The name to track under; the same for the same name."""
        if given not in self._taken:
            name = fitting_name(given)
            if self._given.get(name, given) != given:
                name = _told_apart(name, given)
            self._given[name], self._taken[given] = given, name
        return self._taken[given]


def fitting_name(given: str) -> str:
    """A name that MLflow takes: `@` becomes `_at_`, other characters that it refuses `_`, a long name is cut and ends with its digest."""
    name = _NOT_IN_NAMES.sub("_", given.replace("@", "_at_")) or "_"
    if posixpath.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
        parts = [part if part.strip(".") else "_" for part in name.split("/")]
        name = "/".join(parts)
    return name if len(name) <= MOST_NAME else _told_apart(name, given)


def plain_metric_name(name: str) -> str:
    """The name as it was before `TrackedRun.log` made it fit for MLflow."""
    return name.replace("_at_", "@")


def plain_text(value: object) -> str:
    """Any value as a text that every store takes: what is no character of UTF-8, or none at all, is written out."""
    return str(value).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def fitting_text(text: str, most: int) -> str:
    """A text of at most `most` characters; a longer one is cut, and says of how many and with which digest."""
    if len(text) <= most:
        return text
    end = f" ... (cut; {len(text):,} characters, digest {digest_of(text)})"
    return text[: most - len(end)] + end


def flatten(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings, nested ones with dotted names."""
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _told_apart(name: str, given: str) -> str:
    end = f".{digest_of(given)}"
    return name[: MOST_NAME - len(end)] + end
