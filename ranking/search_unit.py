"""The search unit: for every candidate, the few events of a long history that it is read with.

A general search unit (GSU) picks `length` events for a target; the exact search unit (ESU), any behaviour
module, then reads these instead of the whole history. Two kinds:

- `content` (MUSE, arXiv 2512.07216; SIM's soft search, arXiv 2006.05639, on frozen vectors): the events
  whose vectors have the largest cosine with the target's. Exact: every event is scored.
- `category` (SIM's hard search): the newest events of the target's category.

Notable choices
- **Time order.** What was found is handed on newest first, as every history here, whatever its scores.
- **Ties go to the newer event**, so the result is one function of history and target. An item is scored once
  however often it occurs in a history, so its repeats tie exactly. [our choice]
- Events without a vector rank behind all that have one, newest first. So a history no longer than `length`
  comes back whole: to search a short history is to read it. [our choice]
- A target without a vector finds the newest events: `blind="newest"`; with `blind="nothing"`, none. A
  category that was unknown in training is no category: nothing is found. [our choices; the papers are silent]
- **Bounded memory.** Vectors are gathered `chunk` at a time in stored precision, small enough to be
  multiplied while in cache; of a long history only its numbers and one score an event and target are held,
  for as many targets at once as `MOST_SCORES` allows.
- Vectors are frozen, so no gradient goes through the search and it belongs to the loader, not to the model.

Ours -> MUSE's: `length` -> K, `scores` -> r_i, `targets` -> v_a.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ranking.config import RankerConfig
from ranking.content import ContentStore, ContentStores
from ranking.features import Catalogue, RankingTables
from ranking.unit_vectors import unit_vectors

Kind = Literal["content", "category"]
MOST_SCORES = 1 << 23
CHUNK = 2048


@dataclass(frozen=True)
class Found:
    """What was found for the rows of a batch.

    Attributes:
        items: `(events,)` catalogue rows, row after row, newest first within each.
        sizes: `(rows,)` how many of them are each row's, at most `length`.
    """

    items: np.ndarray
    sizes: np.ndarray


class SearchUnit:
    """Finds events in the histories of whole requests.

    Args:
        kind: what is looked for; see above.
        length: most events found for a target.
        catalogue: of the items that events and targets are rows of.
        store: vectors of that catalogue; wanted by `content`.
        chunk: vectors gathered at a time.
        blind: what a target without a vector finds.
    """

    def __init__(
        self,
        kind: Kind,
        length: int,
        catalogue: Catalogue,
        store: ContentStore | None = None,
        chunk: int = CHUNK,
        blind: Literal["newest", "nothing"] = "newest",
    ):
        assert kind == "category" or store is not None, "to search by content takes vectors"
        self.kind, self.length, self.chunk, self.blind = kind, length, chunk, blind
        self._store, self._categories = store, catalogue.features["category"]
        self._numbers = np.empty(0, dtype=np.int32)
        self._catalogue_size = catalogue.nothing + 1

    def find(
        self,
        targets: np.ndarray,
        sizes: np.ndarray,
        events: np.ndarray,
        starts: np.ndarray,
        ends: np.ndarray,
    ) -> Found:
        """Search the history of each request for each of its targets.

        Args:
            targets: `(rows,)` catalogue rows, request by request. sizes: `(batch,)` targets of each.
            events: catalogue rows of everybody's events, oldest first within each history.
            starts, ends: `(batch,)`, the range of `events` that is each request's history.
        """
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        vectors = self._target_vectors(targets)
        items, counts = [], [np.zeros(0, np.int64)]
        for request, (start, end) in enumerate(zip(starts, ends, strict=True)):
            history = events[start:end][::-1]
            most = max(1, MOST_SCORES // max(history.size, 1))
            for first in range(bounds[request], bounds[request + 1], most):
                rows = slice(first, min(first + most, bounds[request + 1]))
                if vectors is None:
                    places, number = self._of_category(targets[rows], history)
                else:
                    places, number = self._nearest(vectors[0][rows], vectors[1][rows], history)
                items.append(history[places])
                counts.append(number)
        empty = events[:0]
        return Found(np.concatenate([empty, *items]), np.concatenate(counts))

    def _target_vectors(self, targets: np.ndarray) -> tuple[torch.Tensor, np.ndarray] | None:
        """Unit vectors and presence of the targets, for a search by content."""
        if self.kind == "category":
            return None
        assert self._store is not None
        vectors, present = self._store.gather(targets)
        return unit_vectors(vectors), present.numpy()

    def _of_category(
        self, targets: np.ndarray, history: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places in `history` of the newest events of each target's category, and how many."""
        wanted = self._categories[targets]
        distinct, of_target = np.unique(wanted, return_inverse=True)
        of_events = self._categories[history]
        places = [
            np.flatnonzero(of_events == category)[: self.length if category else 0]
            for category in distinct
        ]
        found = [places[number] for number in of_target]
        return np.concatenate(found), np.array([each.size for each in found])

    def _nearest(
        self, targets: torch.Tensor, has_target: np.ndarray, history: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places in `history` of the events nearest to each target, ascending, and how many."""
        if history.size <= self.length:
            places = np.broadcast_to(np.arange(history.size), (len(targets), history.size))
        else:
            scores = self._scores(targets, history)
            scores[~has_target] = -np.inf
            places = best_places(scores, self.length)
        if self.blind == "nothing":
            places = places[has_target]
        number = np.full(len(targets), places.shape[1])
        if self.blind == "nothing":
            number[~has_target] = 0
        return places.reshape(-1), number

    def _scores(self, targets: torch.Tensor, history: np.ndarray) -> np.ndarray:
        """Cosines `(targets, events)`, -inf where an event has no vector."""
        assert self._store is not None
        distinct, of_event = self._distinct(history)
        scores = np.empty((len(targets), distinct.size), dtype=np.float32)
        for start in range(0, distinct.size, self.chunk):
            stored, present = self._store.read(distinct[start : start + self.chunk])
            vectors = torch.from_numpy(stored).float()
            lengths = torch.linalg.vector_norm(vectors, dim=1).numpy()
            part = (targets @ vectors.T).numpy()
            out = scores[:, start : start + self.chunk]
            np.divide(part, lengths, out=out, where=present)
            if not present.all():
                out[:, ~present] = -np.inf
        return scores if of_event is None else np.take(scores, of_event, axis=1)

    def _distinct(self, history: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The items of a history once each, and the place of each event's among them (None: its own).

        Linear in the history: each event writes its place into a field of its item's, and the items are
        those whose own place is still there.
        """
        if self._numbers.size == 0:
            self._numbers = np.empty(self._catalogue_size, dtype=np.int32)
        places = np.arange(history.size, dtype=np.int32)
        self._numbers[history] = places
        last = self._numbers[history]
        is_last = last == places
        if is_last.all():
            return history, None
        number = np.cumsum(is_last) - 1
        return history[is_last], number[last]


def search_options(
    tables: RankingTables, config: RankerConfig, content: ContentStores | None
) -> dict[str, Any]:
    """What a `Loader` is told of a ranker's search; nothing where there is none."""
    if config.search == "none":
        return {}
    store = None if content is None else content.items
    unit = SearchUnit(config.search, config.search_length, tables.items, store)
    return {"search": unit, "recent_length": config.recent_length}


def best_places(scores: np.ndarray, number: int) -> np.ndarray:
    """Places of the largest scores of each row, ascending; of equal ones the first.

    Args:
        scores: `(rows, length)`, no NaN, length above `number`.

    Returns:
        `(rows, number)` int64.
    """
    rows, length = scores.shape
    limit = np.partition(scores, length - number, axis=1)[:, length - number]
    reached = np.flatnonzero(scores >= limit[:, None])
    row, place = np.divmod(reached, length)
    if reached.size > rows * number:
        is_tie = scores[row, place] == limit[row]
        above = np.bincount(row[~is_tie], minlength=rows)
        ties = np.cumsum(is_tie)
        before = ties - is_tie
        first = np.searchsorted(row, np.arange(rows))
        rank = before - before[first][row]
        place = place[~is_tie | (rank < (number - above)[row])]
    return place.reshape(rows, number)
