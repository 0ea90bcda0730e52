"""Addresses of stores and servers, shown without what may be secret.

An address may hold a password or a token. It is never shown, stored or logged as it is: `shown_uri` masks whatever may be secret, and masks too much rather
than too little.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

MASK = "***"
SQLITE = "sqlite:///"
SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*):/*|^//")
_LEAST_SECRET = 3
"""Characters: a shorter secret is masked where an address stands, not wherever its letters do."""


def shown_uri(uri: str) -> str:
    """The address as it may be shown: user names, passwords, values of a query and fragments are `***`."""
    start, rest = _split(uri)
    place, userinfo = rest, ""
    if "@" in rest and not uri.startswith(SQLITE):
        userinfo, _, place = rest.rpartition("@")
    if any(mark in userinfo for mark in "?#"):
        return f"{start}{MASK}"  # which "@" ends the password cannot be told
    fragment_mark = ""
    if not uri.startswith(SQLITE):  # where "#" may stand in a file's name
        place, fragment_mark, _ = place.partition("#")
    place, query_mark, query = place.partition("?")
    if query_mark:
        place += "?" + "&".join(_masked(piece) for piece in query.split("&"))
    if fragment_mark:
        place += f"#{MASK}"
    return f"{start}{MASK}@{place}" if userinfo or rest.startswith("@") else f"{start}{place}"


def without_secrets(text: str, uri: str) -> str:
    """A text of another library, such as an error, without what `shown_uri` masks in the address."""
    text = text.replace(uri, shown_uri(uri))
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return re.sub(r"(://)[^/\s@]*@", rf"\1{MASK}@", text)


def shown_words(words: Sequence[str]) -> list[str]:
    """The words of a command, addresses among them as they may be shown."""
    shown = []
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        is_address = "://" in value or {before, option} & {"--track", "--tracking"}
        shown.append(f"{option}{equals}{shown_uri(value)}" if is_address else word)
    return shown


def _split(uri: str) -> tuple[str, str]:
    """What stands before the place, and the rest."""
    if uri.startswith(SQLITE):
        return SQLITE, uri.removeprefix(SQLITE)
    found = SCHEME.match(uri)
    start = found.group() if found else ""
    return start, uri[len(start) :]


def _masked(piece: str) -> str:
    name, equals, _ = piece.partition("=")
    return f"{name}={MASK}" if equals else MASK


def _secrets(uri: str) -> set[str]:
    """Every text that the address keeps secret, as it stands there and as it is meant."""
    _, rest = _split(uri)
    found: set[str] = set()
    if "@" in rest and not uri.startswith(SQLITE):
        userinfo, _, rest = rest.rpartition("@")
        user, colon, password = userinfo.partition(":")
        found |= {userinfo, password if colon else user}
    tail = re.split(r"[?#]", rest, maxsplit=1)[1:]
    for piece in re.split(r"[&#]", tail[0]) if tail else []:
        found.add(piece.partition("=")[2] or piece)
    found |= {unquote(one) for one in found}
    return {one for one in found if len(one) >= _LEAST_SECRET}
