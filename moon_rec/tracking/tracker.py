"""Runs: what one is called, tagged and logged, and how a finished one is found again.

A run carries the tags `moon_rec.kind` (such as `encoder`, `ranker`, `study`), `moon_rec.key` (a digest of everything its result depends on), one
`moon_rec.reads.<name>` for each artifact it read, by digest, and its id as `moon_rec.run`. A cell whose key has a finished run need not run again.

Everything goes to a journal on disk first (`moon_rec.tracking.journal`) and is sent to MLflow in the background, so a store that is gone, slow or full costs
a training nothing: what was not sent is told at the end, with the command that sends it.
"""

import contextlib
import json
import math
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from moon_rec import reachable
from moon_rec.addresses import shown_uri
from moon_rec.errors import MoonRecError, StudyError
from moon_rec.progress import say
from moon_rec.surroundings import is_of_disk
from moon_rec.tracking import view
from moon_rec.tracking.address import (
    DEFAULT_URI,
    absolute_uri,
    check_folder,
    check_uri,
    sqlite_path,
)
from moon_rec.tracking.database import condition_of
from moon_rec.tracking.journal import (
    VERSION,
    Journal,
    JournalReader,
    journals_of,
    new_id,
    now,
    places,
)
from moon_rec.tracking.names import (
    MOST_NAME,
    MOST_TAG,
    fitting_name,
    fitting_text,
    plain_text,
)
from moon_rec.tracking.run import TrackedRun
from moon_rec.tracking.sending import Sender
from moon_rec.tracking.store import NOTE, PARENT, RUN, TAG, Store, why_of, within
from moon_rec.tracking.unsent import not_sent, send_left_behind

SECONDS_TO_REACH = reachable.SECONDS
SECONDS_AWAY = 60.0
SECONDS_OF_PATIENCE = 10.0
"""How long a command waits at its end for a server that takes nothing; a store on this machine is waited for longer."""
SECONDS_FOR_SQLITE = 120.0
SECONDS_WHEN_STOPPED = 2.0
SECONDS_UNSAID = 5.0
"""A longer wait is said."""
Found = TypeVar("Found")


class Tracker:
    """One experiment of a tracking store, and the journal before it.

    As a context manager it holds the journal until its block ends, and says once what was not sent; otherwise that is done at the end of each
    run that has no parent.

    Args:
        uri: any MLflow tracking URI. For SQLite the folder and the file are made with the first run, and artifacts lie in `artifacts/` beside the file.
            MLflow's own file store (`./mlruns`) is deprecated and refused.
        experiment: the experiment's name.
        must_exist: for those who only read: nothing is made, and a store that cannot be reached is refused.

    Raises:
        StudyError: the store can never work (a wrong scheme, no database, a deleted experiment ...), or, with `must_exist`, is not there or does not answer
            within 10 seconds. A server that does not answer refuses no run: the journal has it.

    Attributes:
        uri: the address as it may be shown, without passwords.
    """

    def __init__(
        self, uri: str = DEFAULT_URI, experiment: str = "moon_rec", *, must_exist: bool = False
    ):
        check_uri(uri)
        self.uri, self.experiment = shown_uri(uri), experiment
        self._address, self._must_exist = absolute_uri(uri), must_exist
        is_here = sqlite_path(uri) is not None
        self._reach_within = SECONDS_FOR_SQLITE if is_here else SECONDS_TO_REACH
        self._patience = SECONDS_FOR_SQLITE if is_here else SECONDS_OF_PATIENCE
        self._check_file(uri)
        self._away_until = -math.inf
        if uri.lower().startswith(("http://", "https://")):
            self._ask()  # before MLflow is imported, which takes seconds
        self._store = Store(uri, experiment)
        self._sender: Sender | None = None
        self._num_open = 0
        self._is_held = False
        self._seen: dict[str, dict[str, Any]] = {}
        self._damaged: set[Path] = set()
        self._copies: Path | None = None
        if self._away_until < 0:
            self._reach()

    def __enter__(self) -> "Tracker":
        self._is_held = True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_held = False
        self._finish(kind is None or issubclass(kind, Exception))

    @contextlib.contextmanager
    def run(
        self,
        name: str,
        kind: str,
        params: Mapping[str, Any],
        reads: Mapping[str, str],
        key: str | None = None,
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Iterator[TrackedRun]:
        """Track a block of work: the run is FINISHED when it ends well, FAILED when it raises, KILLED when it is stopped.

        Args:
            params: settings, nested ones flattened with dots; what MLflow refuses in a name becomes `_`.
            reads: name -> digest of every artifact read.
            key: digest of all the result depends on.
            parent: id of the run this one belongs to.
            tags: name -> what else is to be seen of the run, under our prefix; empty ones are left out.
        """
        labels = {TAG + "kind": kind}
        labels |= {fitting_name(f"{TAG}reads.{what}"): digest for what, digest in reads.items()}
        labels |= {TAG + "key": key} if key is not None else {}
        labels |= {PARENT: parent} if parent is not None else {}
        told = (tags or {}).items()
        labels |= {TAG + what: fitting_text(text, MOST_TAG) for what, text in told if text}
        run = self._open(name, labels)
        run.begin(params)
        self._num_open += 1
        status = "KILLED"
        try:
            yield run
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            run.end(status)
            self._num_open -= 1
            if not self._num_open and not self._is_held:
                self._finish(status != "KILLED")

    def finished(self, key: str) -> str | None:
        """Id of the newest finished run with this key, if any; in the journal or in the store."""
        found = [run for run in self._runs(f"tags.`{TAG}key` = '{key}'") if run["key"] == key]
        return found[-1]["id"] if found else None

    def runs(self, kind: str | None = None, parent: str | None = None) -> list[dict[str, Any]]:
        """Finished runs, oldest first, as dictionaries of id, name, kind, key, parent, start_time, status, params, metrics and tags.

        Runs that are still in the journal are among them, each run once.
        """
        return [
            run
            for run in self._runs(None if kind is None else f"tags.`{TAG}kind` = '{kind}'")
            if kind in (None, run["kind"]) and parent in (None, run["parent"])
        ]

    def read_json(self, run_id: str, name: str) -> Any:
        """A JSON artifact of a run, as `TrackedRun.json` stored it."""
        try:
            return json.loads(self.fetch(run_id, name).read_text(encoding="utf-8"))
        except (ValueError, UnicodeDecodeError) as error:
            raise StudyError(
                f"run {run_id} in {self.uri}: its artifact {name} is not valid JSON: {error}"
            ) from None

    def fetch(self, run_id: str, name: str) -> Path:
        """A file among a run's artifacts, on this machine; it may go with the tracker, so copy what is to stay.

        Raises:
            StudyError: it is not where it was tracked, or was kept out of the journal by a full disk when it was.
        OSError: this machine's disk has no room for it, or cannot be read; of libraries in their own words.
        """
        kept_out = ""
        for journal in self._journals():
            with contextlib.suppress(FileNotFoundError):  # sent and removed meanwhile
                if journal.folder.name == run_id:
                    path, kept_out = view.file_of(journal, name, self._new_folder)
                    if path is not None:
                        return path
        try:
            self._store.open()
            known = self._store.find(run_id)
            return self._store.download(known[0] if known else run_id, name, self._new_folder())
        except Exception as error:
            if is_of_disk(error):
                raise  # here, not in the store
            why = kept_out or self._store.why(error)
            mend = (
                "run again what tracked it"
                if kept_out
                else "put the store's artifacts back where they were tracked"
            )
            raise StudyError(
                f"run {run_id} in {self.uri}: its artifact {name} cannot be read ({why}); {mend}"
            ) from None

    def add_to(
        self, run_id: str, folder: Path, name: str, tags: Mapping[str, str], note: str
    ) -> str:
        """Add a folder to the artifacts of a run that has ended, and tags and MLflow's description to the run.

        What is added can be made again, so it goes to the store at once and to no journal.

        Args:
            name: of the folder among the artifacts.
            tags: name -> text, under our prefix.
            note: what MLflow's page of the run shows first, in Markdown.

        Returns:
            Why it could not be done; empty where it was.
        """
        if self._sender is not None:
            self._sender.settle(self._patience)  # the run itself may be on its way

        def add() -> str:
            try:
                known = self._store.find(run_id) if self._store.open() else []
                if not known:
                    return f"it has not received run {run_id} yet"
                self._store.log_folder(known[0], folder, name)
                for what, text in tags.items():
                    self._store.set_tag(known[0], TAG + what, fitting_text(text, MOST_TAG))
                self._store.set_tag(known[0], NOTE, fitting_text(note, MOST_TAG))
                return ""
            finally:
                self._store.release()

        try:
            return within(self._reach_within, add)
        except Exception as error:  # a driver's, a server's, the network's, the disk's
            return self._store.why(error)

    def _new_folder(self) -> Path:
        """For one file; all of them go with the tracker."""
        if self._copies is None:
            self._copies = Path(tempfile.mkdtemp(prefix="moon_rec-"))
            weakref.finalize(self, shutil.rmtree, self._copies, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=self._copies))

    def _check_file(self, uri: str) -> None:
        path = sqlite_path(uri)
        if path is None:
            return
        condition = condition_of(path)
        if not self._must_exist:
            check_folder(path, uri)
        elif not condition.is_there:
            fault = "is empty" if path.exists() else "is not there"
            if condition.is_half_made:
                fault = "was half made, and holds no run"
            raise StudyError(
                f"tracking store {self.uri!r}: {path} {fault}; name the database of a study, such as {DEFAULT_URI}"
            )

    def _ask(self) -> None:
        """Does the server answer at all?"""
        try:
            reachable.wait_for_answer(self._address, self._reach_within)
        except Exception as error:  # the network's
            self._note_away(why_of(error, self._address))

    def _note_away(self, why: str) -> None:
        if self._must_exist:
            raise StudyError(
                f"cannot open the tracking store {self.uri!r}: {why}; name one that answers, such as {DEFAULT_URI}"
            ) from None
        self._away_until = time.monotonic() + SECONDS_AWAY
        say(
            f"warning: tracking store {self.uri} does not answer ({why}); the work goes on, figures are kept in {places(self._address)[0]} until it does"
        )

    def _reach(self) -> None:
        """Try the store once, for those who have to know at once whether it is there."""
        try:
            has_experiment = within(self._reach_within, self._store.open)
        except MoonRecError:
            raise
        except Exception as error:  # a driver's, a server's, the network's
            self._note_away(self._store.why(error))
            return
        if self._must_exist and not has_experiment:
            known = ", ".join(self._store.experiments())
            raise StudyError(f"{self.uri} has no experiment {self.experiment!r}; it has {known}")

    def _open(self, name: str, tags: dict[str, str]) -> TrackedRun:
        assert not self._must_exist, "opened to read"
        run_id, name = new_id(), plain_text(name)[:MOST_NAME]
        tags = {RUN: run_id, "mlflow.runName": name} | tags
        opening = {"op": "open", "version": VERSION, "id": run_id, "name": name, "time": now()}
        opening |= {"uri": shown_uri(self._address), "experiment": self.experiment, "tags": tags}
        if self._sender is None:
            self._sender = Sender(self._store)
        journal = Journal(places(self._address), opening)
        self._sender.add(journal, opening)
        if journal.fault:
            say(
                f"warning: tracking: the journal in {journal.folder.parent} cannot be written ({journal.fault}); figures wait in memory"
            )
        return TrackedRun(journal, self._sender.wake)

    def _finish(self, is_patient: bool) -> None:
        """Give the store a last chance to take everything, and say what it has not."""
        if self._sender is None:
            return
        sender, self._sender = self._sender, None
        patience = self._patience if is_patient else SECONDS_WHEN_STOPPED
        if not sender.settle(min(SECONDS_UNSAID, patience)) and patience > SECONDS_UNSAID:
            say(f"tracking: sending the rest to {self.uri} ...")
            sender.settle(patience - SECONDS_UNSAID)
        left = [one for one in sender.deliveries if not one.is_complete]
        for one in sender.deliveries:
            for why in one.refused:
                say(f"tracking: {self.uri} refused one of {one.opening['name']!r}: {why}")
        if left:
            say(not_sent(self.uri, sender.fault, [one.journal for one in left]))
        sender.stop()
        if is_patient and not left:
            earlier = journals_of(self._address, self.experiment, self._say_damaged)
            send_left_behind(earlier, self._store, self.uri, self._patience)
        self._store.release()

    def _runs(self, filter_string: str | None) -> list[dict[str, Any]]:
        """Finished runs of journal and store, oldest first; the journal's view of a run goes first, for it has all of it."""
        kept = {}
        for journal in self._journals():  # before the store: what is sent meanwhile is seen there
            try:
                run = view.of_journal(journal)
                kept[run["id"]] = run
            except FileNotFoundError:
                continue
            except StudyError as error:
                self._say_damaged(journal.folder, error)
        whole = "attributes.status = 'FINISHED'" + (
            f" and {filter_string}" if filter_string else ""
        )
        found = (self._of_store(whole) | kept).values()
        ended = [run for run in found if run["status"] == "FINISHED"]
        return sorted(ended, key=lambda run: (run["start_time"], run["id"]))

    def _of_store(self, filter_string: str) -> dict[str, dict[str, Any]]:
        """Runs of the store by id; a command that writes goes on with what it has seen of them when the store is gone."""

        def search() -> dict[str, dict[str, Any]]:
            try:
                found = self._store.search(filter_string) if self._store.open() else []
            finally:
                self._store.release()
            return {run["id"]: run for run in map(view.of_store, found)}

        if time.monotonic() < self._away_until:
            return self._seen
        try:
            found = search() if self._must_exist else within(self._reach_within, search)
        except MoonRecError:
            raise
        except Exception as error:
            why = self._store.why(error)
            if self._must_exist:
                raise StudyError(
                    f"tracking store {self.uri!r} cannot be read: {why}; try again when it answers"
                ) from None
            self._away_until = time.monotonic() + SECONDS_AWAY
            say(f"warning: tracking store {self.uri} cannot be read ({why}); its journal is")
            return self._seen
        self._seen |= found
        return found

    def _journals(self) -> Iterator[JournalReader]:
        """Journals of this store and experiment; a damaged one is said, once, and left out."""
        own = {} if self._sender is None else {one.journal.folder: one.journal for one in self._sender.deliveries}  # fmt: skip
        yield from own.values()
        for journal in journals_of(self._address, self.experiment, self._say_damaged):
            if journal.folder not in own:
                yield journal

    def _say_damaged(self, path: Path, error: StudyError) -> None:
        if path not in self._damaged:
            self._damaged.add(path)
            say(f"warning: {error}")
