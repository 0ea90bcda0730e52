"""What a training has seen and told: kept for the log file beside an encoder, and passed on to whoever follows."""

from pathlib import Path
from typing import Any

from moon_rec.files import write_json
from representation.curation import Curated
from representation.posttraining.pair_batch import PairBatch
from representation.training.distributed import is_main
from representation.training.optimisation import Log

LOG_FILE = "posttraining_log.json"


class TrainingLog:
    """The log of one training.

    Attributes:
        num_tokens: real tokens that this process has seen.
        num_pairs: pairs that all processes have seen.

    Args:
        about: the settings as they are written down, and what the training went on from.
        on_log: told what curation did, as step 0, and every entry.
    """

    def __init__(self, about: dict[str, Any], curated: Curated | None, on_log: Log | None) -> None:
        self._about, self._curated, self._on_log = about, curated, on_log
        self._entries: list[dict[str, Any]] = []
        self._lowered: list[dict[str, float]] = []
        self.num_tokens = self.num_pairs = 0
        if curated is not None and on_log is not None:
            on_log(0, curated.metrics())

    def count(self, batch: PairBatch) -> None:
        """A batch was trained on."""
        self.num_tokens += batch.num_tokens
        self.num_pairs += batch.num_pairs

    def note(self, step: int, kind: str, numbers: dict[str, float]) -> None:
        """Keep and tell a step's figures."""
        self._entries.append({"step": step, "kind": kind, **numbers})
        if self._on_log is not None:
            self._on_log(step, numbers)

    def state(self, num_tokens: int) -> dict[str, Any]:
        """What going on needs, as JSON; `num_tokens` of all processes."""
        counts = {"num_tokens": num_tokens, "num_pairs": self.num_pairs}
        return {"entries": self._entries, "lowered": self._lowered, **counts}

    def lowered(self, step: int, before: float) -> None:
        """After `step` steps the learning rate is lower than it was, for the training had diverged."""
        self._lowered.append({"step": step, "learning_rate_before": before})

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on from `state()`; the first process counts what all have seen."""
        self._entries, self.num_pairs = list(state["entries"]), state["num_pairs"]
        self._lowered = list(state.get("lowered", []))
        self.num_tokens = state["num_tokens"] if is_main() else 0

    def write(self, folder: Path, step: int, num_tokens: int) -> None:
        """Put the log beside an encoder."""
        about = {
            **self._about,
            "step": step,
            "num_tokens": num_tokens,
            "num_pairs": self.num_pairs,
        }
        if self._curated is not None:
            about["curation"] = self._curated.as_dict()
        if self._lowered:
            about["learning_rate_lowered"] = self._lowered
        write_json(folder / LOG_FILE, {**about, "log": self._entries})
