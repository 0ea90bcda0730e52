"""Small made-up packages of the real ones' layout, and the real weights where they are unpacked."""

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from representation.starters.known import STARTERS, Starter

BY_NAME = {starter.name: starter for starter in STARTERS}


def made_up(name: str, files: dict[str, bytes], folder: Path) -> Starter:
    """The starter `name` with other files, and its wheel in `folder`."""
    starter = BY_NAME[name]
    with zipfile.ZipFile(folder / starter.wheel, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr("made_up/__init__.py", "raise SystemExit('run')")
    digest = hashlib.sha256((folder / starter.wheel).read_bytes()).hexdigest()
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    return starter._replace(sha256=digest, files=digests, megabytes=(0, 1))


@pytest.fixture(scope="session")
def real_starters():
    """A folder where `python -m representation.starters all --out` was run; the test is skipped where there is none."""
    folder = os.environ.get("MOON_REC_WEIGHTS")
    if folder is None or not Path(folder).is_dir():
        pytest.skip(
            "no real weights: python -m representation.starters all --out weights, and MOON_REC_WEIGHTS=weights"
        )
    return Path(folder)
