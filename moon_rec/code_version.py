"""What made a kept result besides its inputs: the code, and the libraries it ran on.

A result that is kept for later stands for the code that made it. With this in its key it is taken up by the same code alone, never by a corrected one. Sources
are hashed as they lie, comments included: what cannot be told apart cheaply is made anew.
"""

import functools
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moon_rec.files import DIGEST_DIGITS


@functools.cache
def code_version(packages: tuple[str, ...], libraries: tuple[str, ...] = ()) -> dict[str, str]:
    """`code`, the digest of all sources of `packages`, and the version of each library.

    Args:
        packages: importable names.
        libraries: distributions.
    """
    state = hashlib.sha256()
    for package in packages:
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.submodule_search_locations is not None
        root = Path(spec.submodule_search_locations[0])
        for path in sorted(root.rglob("*.py")):
            state.update(f"{package}/{path.relative_to(root).as_posix()}\n".encode())
            state.update(path.read_bytes())
    versions = {library: importlib.metadata.version(library) for library in libraries}
    return {"code": state.hexdigest()[:DIGEST_DIGITS], **versions}


def differing(found: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """What a kept result was made with that is another now, in words; empty where nothing is."""
    if not found:
        return "an older version, which did not say what made it"
    changed = [name for name, value in now.items() if found.get(name) != value]
    return f"another {', '.join(changed)}" if changed else ""
