"""What a training has seen and told: kept for the log file beside an encoder, and passed on to whoever follows."""

from pathlib import Path
from typing import Any

from moon_rec.files import write_json
from representation.training.distributed import is_main
from representation.training.optimisation import Log
from representation.training.stage import Batch


class TrainingLog:
    """The log of one training.

    Attributes:
        num_tokens: real tokens that this process has seen.
        num_pairs: pairs that all processes have seen.

    Args:
        file: its name beside an encoder.
        about: the settings as they are written down, what the training went on from, and facts of the stage's own.
        on_log: told every entry.
    """

    def __init__(self, file: str, about: dict[str, Any], on_log: Log | None) -> None:
        self._file, self._about, self._on_log = file, about, on_log
        self._entries: list[dict[str, Any]] = []
        self._grades: list[dict[str, float]] = []
        self._lowered: list[dict[str, float]] = []
        self.num_tokens = self.num_pairs = 0

    def count(self, batch: Batch) -> None:
        """A batch was trained on."""
        self.num_tokens += batch.num_tokens
        self.num_pairs += batch.num_pairs

    def tell(self, step: int, numbers: dict[str, float]) -> None:
        """Tell figures that are not kept."""
        if self._on_log is not None and numbers:
            self._on_log(step, numbers)

    def note(self, step: int, label: str, numbers: dict[str, float]) -> None:
        """Keep and tell a step's figures."""
        self._entries.append({"step": step, **({"kind": label} if label else {}), **numbers})
        self.tell(step, numbers)

    def grade(self, step: int, numbers: dict[str, float]) -> None:
        """Keep and tell how good the encoder was after `step` steps."""
        self._grades.append({"step": step, **numbers})
        self.tell(step, numbers)

    def state(self, num_tokens: int) -> dict[str, Any]:
        """What going on needs, as JSON; `num_tokens` of all processes."""
        counts = {"num_tokens": num_tokens, "num_pairs": self.num_pairs}
        return {
            "entries": self._entries,
            "lowered": self._lowered,
            "grades": self._grades,
            **counts,
        }

    def lowered(self, step: int, before: float) -> None:
        """After `step` steps the learning rate is lower than it was, for the training had diverged."""
        self._lowered.append({"step": step, "learning_rate_before": before})

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on from `state()`; the first process counts what all have seen."""
        self._entries, self.num_pairs = list(state["entries"]), state["num_pairs"]
        self._lowered, self._grades = (list(state.get(name, [])) for name in ("lowered", "grades"))
        self.num_tokens = state["num_tokens"] if is_main() else 0

    def write(self, folder: Path, step: int, num_tokens: int) -> None:
        """Put the log beside an encoder."""
        counts = {"step": step, "num_tokens": num_tokens, "num_pairs": self.num_pairs}
        about: dict[str, Any] = self._about | counts
        if self._lowered:
            about["learning_rate_lowered"] = self._lowered
        if self._grades:
            about["grades"] = self._grades
        write_json(folder / self._file, {**about, "log": self._entries})
