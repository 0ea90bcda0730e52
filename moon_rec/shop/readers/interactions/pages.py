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
        position: `(rows,)` place on the page, from 0.
        kept: `(rows,)` whether the row stands for its page and item; the others are merged into one that does.
        stands: `(rows,)` the row that stands for each.
        names: `(pages,)` each page's name; None where the log names none.
        num_pages: how many there are.
    """

    number: np.ndarray
    position: np.ndarray
    kept: np.ndarray
    stands: np.ndarray
    names: np.ndarray | None
    num_pages: int

    def merged(self, outcomes: np.ndarray) -> np.ndarray:
        """The outcomes, a bit each, of the rows that are kept: those of any row that they stand for."""
        found = outcomes.copy()
        np.bitwise_or.at(found, self.stands[~self.kept], outcomes[~self.kept])
        return found


def pages_of(
    user: np.ndarray,
    item: np.ndarray,
    time: np.ndarray,
    name: np.ndarray | None = None,
    position: np.ndarray | None = None,
) -> Pages:
    """Group the rows of a log.

    Args:
        user, item, name: codes from 0, `(rows,)`; `name` of the log's own pages, -1 where a row names none.
        time: `(rows,)` microseconds since 1970, of the page.
        position: places that the log gives; None takes the order of the rows.
    """
    rows = np.arange(user.size)
    order = np.lexsort(
        (user, time) if name is None else (name, user, time)
    )  # stable: rows keep their order
    begins = _differs(time[order]) | _differs(user[order])
    if name is not None:
        begins |= _differs(name[order])
    number = np.empty(user.size, np.int64)
    number[order] = np.cumsum(begins) - 1
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
    names = None if name is None else name[order][begins]
    return Pages(number, found, kept, stands, names, int(begins.sum()))


def times_of_pages(user: np.ndarray, time: np.ndarray, gap: float) -> np.ndarray:
    """The time of each row's page, that of its first row, where a page of a user ends with a gap.

    Args:
        user, time: `(rows,)` codes and microseconds. gap: seconds between two rows from which on they are two pages.
    """
    order = np.lexsort((time, user))
    begins = _differs(user[order])
    begins[1:] |= np.diff(time[order]) >= gap * 1e6
    first = order[np.maximum.accumulate(np.where(begins, np.arange(order.size), 0))]
    found = np.empty_like(time)
    found[order] = time[first]
    return found


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
