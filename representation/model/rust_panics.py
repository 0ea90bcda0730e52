"""Panics of libraries written in Rust, which pass every `except Exception`, as errors."""

import contextlib
from collections.abc import Iterator

from moon_rec.errors import first_line


@contextlib.contextmanager
def refused_panics() -> Iterator[None]:
    """Within the block a panic of `tokenizers` is a ValueError: a stranger's tokenizer.json may hold a pattern that gives up on a text.

    Raises:
        ValueError: it panicked.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"the tokenizer gave up: {first_line(error)[:160]}") from None
