"""A run that is going on: what it tells goes to its journal, in words that MLflow takes."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moon_rec.progress import say
from moon_rec.tracking.journal import Journal, now
from moon_rec.tracking.names import (
    MOST_PARAM,
    MOST_TAG,
    Names,
    fitting_name,
    fitting_text,
    flatten,
    plain_text,
)
from moon_rec.tracking.store import TAG

MOST_DATASET_NAME = 500


class TrackedRun:
    """A run that is going on; see `Tracker.run`."""

    def __init__(self, journal: Journal, wake: Callable[[], None]):
        self._journal, self._wake, self.id = journal, wake, journal.id
        self._metric_names = Names()
        self._not_finite: dict[str, list[Any]] = {}

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures; `@` in a name, which MLflow refuses, becomes `_at_`.

        A NaN or an infinity is no figure that a store can show: the first of a name is said, and kept as the tag
        `moon_rec.not_finite.<name>` with its step; how many there were is added at the end.
        """
        finite = {}
        for given, value in metrics.items():
            number, name = float(value), self._metric_names.of(given)
            if math.isfinite(number):
                finite[name] = number
            else:
                self._note_not_finite(name, number, step or 0)
        if finite:
            self._append({"op": "metrics", "time": now(), "step": step or 0, "metrics": finite})

    def tag(self, name: str, value: object) -> None:
        """Set a tag; a text above 5,000 characters is cut, and says so."""
        text = fitting_text(plain_text(value), MOST_TAG)
        self._append({"op": "tag", "name": fitting_name(name), "value": text})

    def dataset(self, name: str, digest: str, source: str) -> None:
        """Log a dataset that the run reads: MLflow shows it beside the run, and finds runs by it.

        Args:
            source: where it is from, in words; no path of this machine.
        """
        about = {"name": fitting_text(plain_text(name), MOST_DATASET_NAME), "digest": digest}
        self._append(
            {"op": "dataset", **about, "source": fitting_text(plain_text(source), MOST_TAG)}
        )

    def artifact(self, path: Path | str) -> None:
        """Copy a file into the run's artifacts."""
        self._journal.append_file(Path(path))
        self._wake()

    def json(self, value: Any, name: str) -> None:
        """Store a JSON document as the artifact `name`."""
        text = json.dumps(value, indent=2, default=str)
        self._append({"op": "text", "name": name, "text": text}, sync=True)

    def _note_not_finite(self, name: str, number: float, step: int) -> None:
        if name not in self._not_finite:
            self._not_finite[name] = [number, step, 0]
            say(f"tracking: {name} is {number} at step {step}; kept as a tag, not as a figure")
            self.tag(f"{TAG}not_finite.{name}", f"{number} at step {step}")
        self._not_finite[name][2] += 1

    def _append(self, entry: dict[str, Any], sync: bool = False) -> None:
        self._journal.append(entry, sync)
        self._wake()

    def begin(self, params: Mapping[str, Any]) -> None:
        """Log its settings, nested ones flattened with dots."""
        names = Names()
        texts = {names.of(name): plain_text(value) for name, value in flatten(params)}
        if cut := {name: text for name, text in texts.items() if len(text) > MOST_PARAM}:
            say(f"tracking: settings too long for MLflow are cut, whole in long_params.json: {', '.join(cut)}")  # fmt: skip
            self.json(cut, "long_params.json")
        fitting = {name: fitting_text(text, MOST_PARAM) for name, text in texts.items()}
        self._append({"op": "params", "params": fitting})

    def end(self, status: str) -> None:
        """Tell that it has ended."""
        for name, (number, step, count) in self._not_finite.items():
            if count > 1:
                self.tag(f"{TAG}not_finite.{name}", f"{number} at step {step}, {count} in all")
        self._append({"op": "end", "status": status, "time": now()}, sync=True)
