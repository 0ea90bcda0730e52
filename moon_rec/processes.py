"""Commands that are made for one process, started as many by torchrun: refused in one line, before anything is read or written."""

import os

from moon_rec.errors import ConfigError


def refuse_many_processes(command: str) -> None:
    """Refuse to be one of several processes; the first says so, the others end in silence.

    Args:
        command: as it is called, such as `representation.embed`.

    Raises:
        ConfigError: on the first of several processes.
        SystemExit: with code 2, on the others.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if not count.isdigit() or int(count) < 2:
        return
    if os.environ.get("RANK", "0") != "0":
        raise SystemExit(2)
    raise ConfigError(
        f"{command} is made for one process, and {count} were started; start it with python -m {command}"
    )
