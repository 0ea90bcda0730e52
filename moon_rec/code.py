"""Which code made a result: a digest of sources and of the libraries under them, for keys of results that are kept and taken up again."""

import functools
import importlib.metadata
import importlib.util
from pathlib import Path

from moon_rec.files import digest_file, digest_of

LIBRARIES = ("numpy", "polars", "torch", "torchrec", "transformers")


@functools.cache
def code_digest(*modules: str) -> str:
    """16 hex digits that change with any source of these packages (all modules in them) or modules, and with the version of a library they compute with.

    A changed comment changes it too: a result made once more costs time, one that other code made costs trust.
    """
    sources = {}
    for module in modules:
        root = _place(module)
        files = sorted(root.rglob("*.py")) if root.is_dir() else [root]
        sources |= {f"{module}:{file.relative_to(root)}": digest_file(file) for file in files}
    return digest_of([sources, {library: _version(library) for library in LIBRARIES}])


def _place(module: str) -> Path:
    """A package's folder, or a module's file."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, module
    file = Path(spec.origin)
    return file.parent if spec.submodule_search_locations else file


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
