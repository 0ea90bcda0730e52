"""transformers without its progress bars and reports: reading a folder is over at once, and what it lacks is checked by `encoders.checkpoint.load_weights`."""

import contextlib
from collections.abc import Iterator

from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of transformers within the block, and of its messages and the hub's (each of five tries to reach it) only errors."""
    was_on = transformers_logging.is_progress_bar_enabled()
    levels = [(each, each.get_verbosity()) for each in (transformers_logging, hub_logging)]
    transformers_logging.disable_progress_bar()
    for each, _ in levels:
        each.set_verbosity_error()
    try:
        yield
    finally:
        for each, level in levels:
            each.set_verbosity(level)
        if was_on:
            transformers_logging.enable_progress_bar()
