"""Which rows of a log are one page, and in what order they stood on it.

Notable choices
- A page is of one user and one moment, as a shop demands. Where the log names pages, rows of one name at several moments, or of
  several users, are as many pages, and that is told; where it names none, the rows of a user at one moment are one, or with
  `page_gap` those with less time between one and the next, at the time of the first.
- An item that stands twice on a page is one row: the first place, with every outcome of both. Told, too.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pages:
    """The pages of a log, row by row in the order of the file.

    Attributes:
        number: `(rows,)` of each row's page, from 0 in the order of time, user and name.
        time: `(rows,)` microseconds: of the page.
        position: `(rows,)` place on the page, from 0.
        kept: `(rows,)` whether the row stands for its page and item; the others are merged into one that does.
        stands: `(rows,)` the row that stands for each.
        num_split: names that are of several pages.
    """

    number: np.ndarray
    time: np.ndarray
    position: np.ndarray
    kept: np.ndarray
    stands: np.ndarray
    num_split: int

    def merged(self, outcome: np.ndarray) -> np.ndarray:
        """An outcome of the rows that are kept: true where any row that they stand for has it."""
        found = np.zeros(self.kept.size, bool)
        np.logical_or.at(found, self.stands[outcome], True)
        return found


def pages_of(
    user: np.ndarray,
    item: np.ndarray,
    time: np.ndarray,
    name: np.ndarray | None = None,
    position: np.ndarray | None = None,
    gap: float | None = None,
) -> Pages:
    """Group the rows of a log.

    Args:
        user, item, name: codes from 0, `(rows,)`; `name` of the log's own pages.
        time: microseconds since 1970.
        position: places that the log gives; None takes the order of the rows.
        gap: seconds between two rows of a user from which on they are two pages; None: any.
    """
    rows = np.arange(user.size)
    if gap is not None:
        order = np.lexsort((time, user))
        begins = _differs(user[order])
        begins[1:] |= np.diff(time[order]) >= gap * 1e6
        first = order[np.maximum.accumulate(np.where(begins, np.arange(order.size), 0))]
        moved = np.empty_like(time)
        moved[order] = time[first]
        time = moved
    order = np.lexsort(
        (user, time) if name is None else (name, user, time)
    )  # stable: rows keep their order
    begins = _differs(time[order]) | _differs(user[order])
    if name is not None:
        begins |= _differs(name[order])
    number = np.empty(user.size, np.int64)
    number[order] = np.cumsum(begins) - 1
    num_split = 0
    if name is not None:
        of_pages = np.bincount(name[order][begins])
        num_split = int((of_pages > 1).sum())
    place = np.arange(order.size) - np.maximum.accumulate(
        np.where(begins, np.arange(order.size), 0)
    )
    found = np.empty(user.size, np.int64)
    found[order] = place
    stands = _first_of(number, item, rows)
    kept = stands == rows
    if position is not None:
        found = position
    elif not kept.all():  # places again, without gaps
        counted = np.cumsum(kept[order]) - kept[order]
        start = np.maximum.accumulate(np.where(begins, counted, 0))
        found[order] = counted - start
    return Pages(number, time, found, kept, stands, num_split)


def _differs(values: np.ndarray) -> np.ndarray:
    return np.r_[True, values[1:] != values[:-1]] if values.size else np.zeros(0, bool)


def _first_of(page: np.ndarray, item: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The first row of each row's page and item."""
    keys = page * (int(item.max(initial=0)) + 1) + item
    order = np.argsort(keys, kind="stable")
    begins = _differs(keys[order])
    first = np.empty_like(rows)
    first[order] = order[np.maximum.accumulate(np.where(begins, rows, 0))]
    return first
