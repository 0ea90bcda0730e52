"""SIGTERM and SIGHUP end a command as Ctrl-C does: within seconds, with what was begun undone, and a last line.

Notable choices
- The first signal raises `Stopped` in the main thread, so that every block on the way out cleans up after itself.
- A training that keeps checkpoints may finish its step and save first: it works inside `finishing_steps` and looks at `is_asked` after each step. It gets
  `STEP_SECONDS` to reach that look, then `Stopped` is raised after all.
- Python runs a handler only between two of its own instructions. A thread therefore listens beside it (`signal.set_wakeup_fd`): where the main thread is in a long
  computation of a library, or waits for a loader on its way out, the process is ended after `END_SECONDS`; a second signal ends it at once. Results appear whole or
  not at all, so nothing is lost by that but the temporaries' clean-up, which the next run does.
- Where Python can raise nothing (a `__del__`, the callback of a weak reference, which every import runs), it would print a traceback and go on: `Stopped` is then
  raised again from the next place that can. What else fails there, or in a thread, once a signal was heard, comes of the ending, and is not shown.
- While a command's libraries load there is nothing to undo: a signal then ends the process with the same line (`listen_early`).
- Signals that were ignored when the command began (nohup, a shell's background jobs) stay ignored.
"""

import _thread
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from moon_rec.kept import started_module, what_is_kept

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
STEP_SECONDS = 5.0
"""A training may take that long after a signal to finish its step."""
END_SECONDS = 8.0
"""From the first signal to the end, at the latest; a training that is saving gets `SAVE_SECONDS`."""
SAVE_SECONDS = 30.0
ONE_WISH = 0.5
"""Signals that come so soon after the first are the same wish: a terminal's and a launcher's come together."""
LOOK_SECONDS = 0.1


class Stopped(KeyboardInterrupt):
    """A signal asked the command to end.

    Attributes:
        signal: which.
    """

    def __init__(self, signum: int) -> None:
        self.signal = signal.Signals(signum)
        super().__init__(self.signal.name)


class Finishing:
    """What `finishing_steps` yields."""

    is_saving = False

    @property
    def is_asked(self) -> bool:
        """Whether a signal asks to end: save and leave, by `stop`."""
        return _state.asked is not None

    def stop(self) -> None:
        """End as the signal asked to."""
        assert _state.asked is not None
        _state.raise_once(_state.asked)


class _State:
    """Of the signals since the command began."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self.is_raised = False
        self.is_swallowed = False
        self.is_told = False
        self.own = 0
        self.finishing: Finishing | None = None

    def handle(self, signum: int, _: FrameType | None) -> None:
        self.asked = self.asked or signum
        if self.finishing is None:
            self.raise_once(signum)

    def raise_once(self, signum: int) -> None:
        if not self.is_raised:
            self.is_raised = True
            raise Stopped(signum)

    def interrupt(self, signum: int) -> None:
        """From another thread: have the main thread handle the signal anew."""
        self.own += 1  # it is heard here as well
        _thread.interrupt_main(signal.Signals(signum))


_state = _State()


@contextmanager
def finishing_steps(is_wanted: bool = True) -> Iterator[Finishing]:
    """Within the block a signal waits for `is_asked` to be looked at, `STEP_SECONDS` at most; where it is not wanted, signals stop the block at once.

    One that nobody has looked at by the end of the block stops it there.
    """
    finishing, state = Finishing(), _state
    if not is_wanted:
        yield finishing
        return
    state.finishing = finishing
    try:
        yield finishing
    finally:
        state.finishing = None
    if finishing.is_asked:
        finishing.stop()


def asked() -> signal.Signals | None:
    """The signal that asks this command to end."""
    return None if _state.asked is None else signal.Signals(_state.asked)


def tell_last_words(signum: int) -> None:
    """Say on stderr that a signal has stopped this command; of processes that work together the first alone does."""
    if _is_speaker():
        print(_last_words(signal.Signals(signum)), file=sys.stderr, flush=True)
    _state.is_told = True


def _is_speaker() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _last_words(signum: signal.Signals) -> str:
    """What is kept and what goes on, in one line."""
    name = "Ctrl-C" if signum == signal.SIGINT else signum.name
    return f"stopped by {name}: {what_is_kept()}"


def listen_early(packages: tuple[str, ...]) -> None:
    """Until `listening` begins, end at a signal with `last_words`, where this process was started as a module of `packages`."""
    is_ours = started_module().partition(".")[0] in packages
    if not is_ours or threading.current_thread() is not threading.main_thread():
        return
    for each in SIGNALS:
        if signal.getsignal(each) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(each, lambda signum, _: _end(signal.Signals(signum)))


@contextmanager
def listening(ends_process: bool) -> Iterator[None]:
    """Within the block signals stop the command; outside the main thread nothing happens.

    Args:
        ends_process: the process ends with the block, so its end is watched over, too.
    """
    global _state
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state = state = _State()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {
        each: signal.getsignal(each)
        for each in SIGNALS
        if signal.getsignal(each) is not signal.SIG_IGN
    }
    watcher = threading.Thread(target=_watch, args=(reader, state), name="signals", daemon=True)
    watcher.start()
    fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = _unless_asked(state, hooks[0])
    threading.excepthook = _unless_asked(state, hooks[1])
    try:
        for each in before:
            signal.signal(each, state.handle)
        yield
    finally:
        if not (ends_process and state.asked is not None):
            for each, handler in before.items():
                signal.signal(each, handler)
            sys.unraisablehook, threading.excepthook = hooks
            signal.set_wakeup_fd(fd)
            os.write(writer, b"\0")
            watcher.join()
            os.close(reader)
            os.close(writer)
            _state = _State()


def _unless_asked(state: _State, hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A hook for errors that nobody can catch. It raises nothing itself: `_watch` has `Stopped` raised again once the hook has returned."""

    def quiet(error: Any) -> None:
        if isinstance(error.exc_value, Stopped):
            state.is_swallowed = True
        elif state.asked is None:
            hook(error)

    return quiet


def _watch(reader: int, state: _State) -> None:
    first, signum = 0.0, 0
    while True:
        is_ready, _, _ = select.select([reader], [], [], LOOK_SECONDS if signum else None)
        found = os.read(reader, 64) if is_ready else b""
        if 0 in found:
            return
        heard = [byte for byte in found if byte in SIGNALS]
        now = time.monotonic()
        if heard and not signum:
            first, signum, heard = now, heard[0], heard[1:]
        if not signum:
            continue
        own = min(state.own, len(heard))
        state.own -= own
        is_again = len(heard) > own and now - first > ONE_WISH
        if is_again or now - first > _seconds_left(state):
            _end(signal.Signals(signum))
        finishing = state.finishing
        if finishing is not None and not finishing.is_saving and now - first > STEP_SECONDS:
            state.finishing = None
            state.interrupt(signum)
        if state.is_swallowed:
            state.is_swallowed = state.is_raised = False
            state.interrupt(signum)


def _seconds_left(state: _State) -> float:
    finishing = state.finishing
    return SAVE_SECONDS if finishing is not None and finishing.is_saving else END_SECONDS


def _end(signum: signal.Signals) -> None:
    shows = "\x1b[?25h" if sys.stderr.isatty() else ""  # a live bar hides the cursor
    if _is_speaker():
        line = "" if _state.is_told else f"{_last_words(signum)}\n"
        os.write(2, f"{shows}{line}".encode())
    os._exit(128 + signum)


listen_early(("moon_rec", "representation", "ranking", "exchange_rate"))
