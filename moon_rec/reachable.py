"""Does a tracking server answer? Asked in the background while a command's libraries still load, which takes seconds: that it does not is to be told within ten.

Only what a command was started with is looked at, as it stands in the words of its process; the command itself reads and checks them later.
"""

import os
import sys
import threading
import time

from moon_rec.kept import started_module

SECONDS = 6.0
"""A server that has not answered by then is away."""
OPTIONS = ("--track", "--tracking")
PACKAGES = ("moon_rec", "representation", "ranking", "exchange_rate")
HTTP = ("http://", "https://")


class Look:
    """An address that is being asked.

    Attributes:
        uri: the address.
    """

    def __init__(self, uri: str, seconds: float) -> None:
        self.uri, self._seconds = uri, seconds
        self._until = time.monotonic() + seconds
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._ask, name="moon_rec tracking", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return once the server has answered, whatever it said.

        Raises:
            OSError: it does not, or not in time (TimeoutError).
            Exception: what it says is no HTTP.
        """
        self._thread.join(max(0.0, self._until - time.monotonic()))
        if self._thread.is_alive() or isinstance(self._fault, TimeoutError):
            raise TimeoutError(f"no answer within {self._seconds:g} seconds")
        if self._fault is not None:
            raise self._fault

    def _ask(self) -> None:
        try:
            _ask(self.uri, self._seconds)
        except Exception as error:  # the network's; raised by `wait`
            self._fault = error


_early: Look | None = None


def look_early() -> None:
    """Begin to ask the tracking server that this process names, where it was started as one of our commands."""
    global _early
    uri = _uri_of(sys.orig_argv)
    is_first = os.environ.get("RANK", "0") == "0"  # of several processes the first alone tracks
    if uri and is_first and started_module().partition(".")[0] in PACKAGES:
        _early = Look(uri, SECONDS)


def wait_for_answer(uri: str, seconds: float = SECONDS) -> None:
    """As `Look.wait`, from the early look where that was at this address."""
    global _early
    look, _early = _early, None  # once: later it may be another server's turn
    if look is None or look.uri != uri:
        look = Look(uri, seconds)
    look.wait()


def _uri_of(words: list[str]) -> str:
    found = ""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        name, _, value = word.partition("=")
        if name in OPTIONS:
            found = value or after
    return found if found.lower().startswith(HTTP) else ""


def _ask(uri: str, seconds: float) -> None:
    import ssl
    from urllib.error import HTTPError, URLError
    from urllib.parse import urlsplit
    from urllib.request import urlopen

    parts = urlsplit(uri)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2])  # without a password
    try:
        urlopen(f"{plain.geturl().rstrip('/')}/health", timeout=seconds).close()
    except HTTPError:
        return  # an answer
    except URLError as error:
        if isinstance(error.reason, ssl.SSLError):
            return  # an answer, too
        raise (error.reason if isinstance(error.reason, OSError) else error) from None


look_early()
