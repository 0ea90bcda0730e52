"""What a journal holds -> the store: each entry once, whatever was sent before a kill.

A run is found by its id (the tag `moon_rec.run`) before it is made; figures carry the time of their making, and after any doubt are compared with those that the
store has; all else may be sent twice without a difference. `sent.json` says how far it got, and only spares work.
"""

import threading
import time
from collections.abc import Callable, Iterator

from moon_rec.errors import StudyError
from moon_rec.progress import say
from moon_rec.tracking.journal import Entry, Journal, JournalReader
from moon_rec.tracking.store import PARENT, Store, code_of

FIGURES_AT_ONCE = 500
SECONDS_BETWEEN_SENDS = 0.5
LONGEST_PAUSE = 30.0
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
_GONE = "RESOURCE_DOES_NOT_EXIST"


class RunFault(StudyError):
    """What keeps one run from being sent, and no other."""


class Delivery:
    """How far a store has one run.

    Attributes:
        num_sent: entries that the store has.
        ended: its end was among them.
        refused: entries that the store will never take, and why.
    """

    def __init__(self, journal: JournalReader, opening: Entry, store: Store):
        self.journal, self.opening, self._store = journal, opening, store
        sent = journal.sent()
        if sent.get("store") != store.shown:
            sent = {}  # another store may have some of it: this one has nothing
        self._target: str | None = sent.get("run")
        self.num_sent = int(sent.get("line", 0)) if self._target else 0
        self._left: dict[int, str] = {int(one): "" for one in sent.get("left", [])}
        self.refused: list[str] = list(sent.get("refused", []))
        self.ended = bool(sent.get("ended"))
        self._last_time = int(opening["time"])
        # of what was not written down as sent, an earlier attempt may have been taken all the same
        self._is_live = isinstance(journal, Journal)
        self._in_doubt = self._was_in_doubt = not self._is_live

    @property
    def is_complete(self) -> bool:
        """The run has ended, and the store has all of it."""
        return self.ended and not self._left

    def send(self, advance: Callable[[int], None]) -> None:
        """Send all that there is.

        Raises:
            RunFault: the run was deleted in the store, or a file of it cannot be sent.
            Exception: what the store raises; all that was sent before is known.
        """
        try:
            self._send(advance)
        except RunFault:
            raise
        except Exception as error:
            self._in_doubt = self._was_in_doubt = True
            if code_of(error) != _GONE:
                raise
            # the store was emptied meanwhile: all is sent anew
            self._store.forget()
            self._target, self.num_sent, self.ended, self._left = None, 0, False, {}
            self._keep()
            raise StudyError("the store has lost the run, which is to be sent anew") from None

    def end_killed(self) -> bool:
        """Tell the store of the end of a run whose process ended without a word; whether it was such a run."""
        if self.ended or self._target is None:
            return False
        self._store.end(self._target, "KILLED", self._last_time)
        self.ended = True
        self._keep()
        return True

    def _send(self, advance: Callable[[int], None]) -> None:
        self._store.open(create=True)
        advance(0)
        if self._target is None:
            self._target = self._run()
            self._keep()
        for number, entries in _pieces(self.journal.read(self.num_sent)):
            self._send_piece(number, entries)
            self.num_sent = number + len(entries)
            self._in_doubt = self._in_doubt and not self._is_live
            self._keep()
            advance(len(entries))
        self._send_left()
        if self.ended and self._was_in_doubt:
            for double in self._store.find(str(self.opening["id"])):
                if double != self._target:  # a server made it after we had given up
                    self._store.delete(double)
            self._was_in_doubt = False

    def _run(self) -> str:
        """MLflow's id of the run, which is made where it is not there."""
        if found := self._store.find(str(self.opening["id"])):
            return found[0]
        tags = dict(self.opening["tags"])
        if parent := tags.get(PARENT):
            for known in self._store.find(parent)[:1]:
                tags["mlflow.parentRunId"] = known
        made = self._store.create(str(self.opening["name"]), tags, int(self.opening["time"]))
        self._in_doubt = False
        return made

    def _send_piece(self, number: int, entries: list[Entry]) -> None:
        try:
            self._send_entries(number, entries)
        except Exception as error:
            if code_of(error) not in _REFUSALS:
                raise
            self._refuse(number, entries, error)

    def _refuse(self, number: int, entries: list[Entry], error: Exception) -> None:
        """Put aside what the store will never take: it is told, and a tag of the run says so."""
        assert self._target is not None
        if self._store.is_deleted(self._target):
            raise RunFault(
                f"the run was deleted in the store; restore it there (its id is {self._target}), or remove its journal"
            ) from None
        if len(entries) > 1:
            for place, entry in enumerate(entries):
                self._send_piece(number + place, [entry])
            return
        why = f"entry {number + 1} ({entries[0]['op']}): {self._store.why(error)}"
        self.refused.append(why)
        self._store.set_tag(self._target, f"moon_rec.refused.{number + 1}", why)

    def _send_entries(self, number: int, entries: list[Entry]) -> None:
        store, run, first = self._store, self._target, entries[0]
        assert run is not None
        self._last_time = max(self._last_time, *(int(one.get("time", 0)) for one in entries))
        match first["op"]:
            case "metrics":
                store.log_metrics(run, list(_figures(entries)), self._in_doubt)
            case "params":
                store.log_params(run, first["params"])
            case "tag":
                store.set_tag(run, first["name"], first["value"])
            case "dataset":
                store.log_dataset(run, first["name"], first["digest"], first["source"])
            case "text":
                self._try_file(number, lambda: store.log_text(run, first["text"], first["name"]))
            case "file":
                path = self.journal.file(first, number)
                self._try_file(number, lambda: store.log_file(run, path))
            case "end":
                store.end(run, first["status"], int(first["time"]))
                self.ended = True
            case _:  # "open", which `_run` has sent
                pass

    def _try_file(self, number: int, send: Callable[[], None]) -> None:
        """Send a file. It may go elsewhere than figures do: one that cannot be sent keeps nothing else waiting."""
        try:
            send()
            self._left.pop(number, None)
        except Exception as error:
            if code_of(error) == _GONE:
                raise
            self._left[number] = self._store.why(error)

    def _send_left(self) -> None:
        if not self._left:
            return
        for number in sorted(self._left):
            _, entry = next(self.journal.read(number))
            self._send_entries(number, [entry])
        self._keep()
        for number, why in self._left.items():
            _, entry = next(self.journal.read(number))
            raise RunFault(f"its file {entry['name']} cannot be sent ({why})")

    def _keep(self) -> None:
        sent = {"store": self._store.shown, "run": self._target, "line": self.num_sent}
        sent |= {"left": sorted(self._left), "refused": self.refused, "ended": self.ended}
        self.journal.keep_sent(sent)


class AwayError(StudyError):
    """A store that takes nothing now; `key` is its address as shown and its experiment."""

    def __init__(self, key: tuple[str, str], text: str):
        super().__init__(text)
        self.key = key


def deliver(delivery: Delivery, store: Store, advance: Callable[[int], None]) -> None:
    """Send a run whose process has ended, and its end where that process said none.

    Raises:
        RunFault: this run cannot be sent.
        AwayError: the store takes nothing.
    """
    for is_last in (False, True):
        try:
            delivery.send(advance)
            if delivery.end_killed():
                say(f"{delivery.opening['name']!r} ended without a word: it is marked KILLED")
            return
        except RunFault:
            raise
        except Exception as error:  # a server's, a driver's, the network's
            if is_last or "sent anew" not in str(error):
                key = (store.shown, store.experiment)
                raise AwayError(
                    key, f"{store.shown} does not take it ({store.why(error)})"
                ) from None


class Sender:
    """Sends the journals of running runs in the background; nobody waits for it longer than `settle` says."""

    def __init__(self, store: Store):
        self.store, self.fault = store, ""
        self.deliveries: list[Delivery] = []
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wanted = self._done = self._steps = 0
        self._is_urgent = self._stops = False

    def add(self, journal: Journal, opening: Entry) -> None:
        """Send what a journal has and will have."""
        with self._change:
            self.deliveries.append(Delivery(journal, opening, self.store))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._go, name="moon_rec tracking", daemon=True
                )
                self._thread.start()
        self.wake()

    def wake(self) -> None:
        """There is something new to send."""
        with self._change:
            self._wanted += 1
            self._change.notify_all()

    def settle(self, seconds: float) -> bool:
        """Wait until all is sent or an attempt has failed, and at most `seconds` in which nothing is sent; whether it came to that end."""
        with self._change:
            self._wanted += 1
            wanted, self._is_urgent = self._wanted, True
            self._change.notify_all()
            steps, since = self._steps, time.monotonic()
            while self._thread is not None and self._done < wanted:
                left = seconds - (time.monotonic() - since)
                if left <= 0:
                    self.fault = "no answer"
                    return False
                self._change.wait(left)
                if self._steps != steps:
                    steps, since = self._steps, time.monotonic()
        return True

    def stop(self) -> None:
        """Send no more; journals of what was sent are removed. A call that hangs is left to itself, its runs locked until it ends."""
        with self._change:
            self._stops = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(2.0)

    def _go(self) -> None:
        pause = SECONDS_BETWEEN_SENDS
        while not self._stops:
            with self._change:
                wanted, self._is_urgent = self._wanted, False
                deliveries = list(self.deliveries)
            fault = self._attempt(deliveries)
            with self._change:
                self.fault, self._done = fault, wanted
                self._change.notify_all()
                if fault:
                    pause = min(2 * pause, LONGEST_PAUSE)
                else:
                    pause = SECONDS_BETWEEN_SENDS
                    self._change.wait_for(lambda: self._stops or self._wanted > wanted)  # noqa: B023
                self._change.wait_for(lambda: self._stops or self._is_urgent, pause)
        for delivery in self.deliveries:
            if delivery.is_complete:
                delivery.journal.remove()
            assert isinstance(delivery.journal, Journal)
            delivery.journal.close()

    def _attempt(self, deliveries: list[Delivery]) -> str:
        """Send what there is; gives why that failed, or nothing."""
        fault = ""
        for delivery in deliveries:
            try:
                if not delivery.is_complete:
                    delivery.send(self._advance)
            except RunFault as error:
                fault = str(error)
            except Exception as error:  # whatever a driver or a server does costs no training
                return self.store.why(error)
        return fault

    def _advance(self, count: int) -> None:  # a store that was opened or made counts, too
        with self._change:
            self._steps += 1
            self._change.notify_all()


def _pieces(entries: Iterator[tuple[int, Entry]]) -> Iterator[tuple[int, list[Entry]]]:
    """Entries to send together, with the number of the first: figures up to `FIGURES_AT_ONCE`, all else alone."""
    first, piece, count = 0, [], 0
    for number, entry in entries:
        is_figures = entry["op"] == "metrics"
        size = len(entry["metrics"]) if is_figures else 0
        if piece and (not is_figures or count + size > FIGURES_AT_ONCE):
            yield first, piece
            piece, count = [], 0
        if not is_figures:
            yield number, [entry]
            continue
        if not piece:
            first = number
        piece.append(entry)
        count += size
    if piece:
        yield first, piece


def _figures(entries: list[Entry]) -> Iterator[tuple[str, float, int, int]]:
    for entry in entries:
        for name, value in entry["metrics"].items():
            yield name, float(value), int(entry["time"]), int(entry["step"])
