"""What made a kept result besides its inputs: the code, and the libraries it ran on.

A result that is kept for later stands for the code that made it. With this in its key it is taken up by the same code alone, never by a corrected one. Sources
are hashed as they lie, comments included: what cannot be told apart cheaply is made anew.
"""

import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moon_rec.files import digest_file, digest_of


@functools.cache
def code_version(modules: tuple[str, ...], libraries: tuple[str, ...] = ()) -> dict[str, str]:
    """`code`, the digest of all sources, and the version of each library.

    Args:
        modules: names of packages, of which every module counts, and of modules.
        libraries: distributions.
    """
    sources = {}
    for module in modules:
        root = _place(module)
        files = sorted(root.rglob("*.py")) if root.is_dir() else [root]
        sources |= {f"{module}:{file.relative_to(root)}": digest_file(file) for file in files}
    versions = {library: importlib.metadata.version(library) for library in libraries}
    return {"code": digest_of(sources), **versions}


def _place(module: str) -> Path:
    """A package's folder, or a module's file."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, module
    file = Path(spec.origin)
    return file.parent if spec.submodule_search_locations else file


def differing(found: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """What a kept result was made with that is another now, in words; empty where nothing is."""
    if not found:
        return "an older version, which did not say what made it"
    changed = [name for name, value in now.items() if found.get(name) != value]
    return f"another {', '.join(changed)}" if changed else ""
