"""What a store has not been sent: told when a command ends, and sent by the next one that tracks there."""

import os
import time
from collections.abc import Iterable, Sequence

from moon_rec.addresses import MASK
from moon_rec.errors import MoonRecError
from moon_rec.progress import say
from moon_rec.tracking.journal import Journal, JournalReader
from moon_rec.tracking.sending import Delivery, deliver
from moon_rec.tracking.store import Store


def send_left_behind(
    journals: Iterable[JournalReader], store: Store, shown: str, seconds: float
) -> None:
    """Send what earlier commands left in the journal of this store: they were killed, or it was away.

    Args:
        journals: of the store and experiment. shown: the store's address, for people.
        seconds: after which none is begun any more.
    """
    until, count = time.monotonic() + seconds, 0
    for journal in list(journals):
        lock = journal.lock() if time.monotonic() < until else None
        if lock is None:
            continue  # its process is at work
        try:
            opening = journal.opening()
            if opening is not None:
                deliver(Delivery(journal, opening, store), store, lambda _: None)
                journal.remove()
                count += 1
        except (MoonRecError, OSError) as error:
            say(f"tracking: {journal.folder} is left in the journal: {error}")
        finally:
            os.close(lock)
    if count:
        runs = "1 run" if count == 1 else f"{count:,} runs"
        say(f"tracking: {runs} that earlier commands left in the journal: sent to {shown}")


def not_sent(shown: str, fault: str | None, journals: Sequence[JournalReader]) -> str:
    """The line that tells of runs which are not all in the store `shown`, with the command that sends them; `fault`: what kept them from it."""
    written = [one for one in journals if isinstance(one, Journal)]
    lost = sum(one.num_held + one.num_lost for one in written)
    roots = sorted({one.folder.parent for one in written})
    runs = "1 run is" if len(journals) == 1 else f"{len(journals)} runs are"
    line = f"tracking: {runs} not all in {shown} ({fault or 'no answer'})"
    if lost:
        faults = ", ".join(sorted({one.fault for one in written if one.fault}))
        line += f"; {lost:,} entries are lost, for their journal could not be written ({faults})"
    words = " ".join(map(str, roots))
    line += f"; what is missing is kept, send it: python -m moon_rec track send {words}"
    return line + (" --track URI (with its password)" if MASK in shown else "")
