"""`python -m moon_rec doctor`: does this environment work, and if not, what mends it?"""

import importlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from moon_rec.command import Parser
from moon_rec.errors import MoonRecError
from moon_rec.gpu_findings import Finding, findings, look
from moon_rec.processes import refuse_many_processes
from moon_rec.shown import as_console_text

# torch's minor version and the torchrec and fbgemm that pair with it.
PAIRS = {"2.11": "1.6", "2.12": "1.7", "2.13": "1.8", "2.14": "1.9"}
PACKAGES = ("torch", "torchrec", "fbgemm_gpu", "transformers", "polars", "faiss", "mlflow")


def main(argv: list[str] | None = None) -> None:
    """Print a table of findings; raise for the first that does not work."""
    refuse_many_processes("moon_rec doctor")
    parser = Parser(
        prog="python -m moon_rec doctor",
        description="Check that the installed packages work and work together.",
        example="python -m moon_rec doctor",
    )
    parser.add_argument("--quiet", action="store_true", help="print only what is wrong")
    arguments = parser.parse_args(argv)
    found = list(examine())
    if not arguments.quiet:
        table = Table("looked at", "found", "to mend it")
        for finding in found:
            table.add_row(
                *map(as_console_text, (finding.subject, finding.found, finding.mend or "fine"))
            )
        Console().print(table)
    for finding in found:
        if finding.mend and finding.is_wrong:
            raise MoonRecError(f"{finding.subject}: {finding.found}; {finding.mend}")


def examine() -> Iterator[Finding]:
    """Look at the machine, each package, the pairing of torch with torchrec and fbgemm, and the GPU."""
    yield Finding("Python", platform.python_version())
    yield Finding("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    yield Finding("free disk", f"{shutil.disk_usage('.').free / 2**30:.0f} GiB")
    for name in PACKAGES:
        yield _import(name)
    yield _pairing("torchrec", _version("torchrec"))
    yield _pairing("fbgemm", _version("fbgemm-gpu-cpu") or _version("fbgemm-gpu"))
    yield _torchvision()
    yield _threads()
    yield from findings(look())


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import(name: str) -> Finding:
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        return Finding(name, f"does not load: {reason}", "run make setup again")
    return Finding(name, str(getattr(module, "__version__", "loads")))


def _pairing(name: str, version: str | None) -> Finding:
    torch_minor = ".".join((_version("torch") or "0.0").split(".")[:2])
    wanted = PAIRS.get(torch_minor)
    if wanted is None:
        return Finding(f"torch with {name}", f"torch {torch_minor} is not in our list of pairs")
    if version is None or not version.startswith(wanted + "."):
        mend = f"install {name} {wanted}.x, which pairs with torch {torch_minor}"
        return Finding(f"torch with {name}", f"{name} {version}", mend)
    return Finding(f"torch with {name}", f"{torch_minor} with {version}: a pair")


def _torchvision() -> Finding:
    version = _version("torchvision")
    if version is None:
        return Finding("torchvision", "absent, as wanted")
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        mend = "pip uninstall torchvision: it was built for another torch and breaks transformers"
        return Finding("torchvision", f"{version} does not load", mend)
    return Finding("torchvision", version)


def _threads() -> Finding:
    try:
        import torch
    except (ImportError, OSError):
        return Finding("threads", "unknown: torch does not load")
    return Finding("threads", f"{torch.get_num_threads()} of torch's")
