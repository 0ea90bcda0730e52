"""What `doctor` says of a machine's GPU: the driver, and which of torch, fbgemm and faiss can use it.

`look` asks the machine, `findings` judges what it saw: so every case is tested where there is no GPU.
"""

import importlib
import importlib.metadata
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DRIVER_FILE = Path("/proc/driver/nvidia/version")
FBGEMM = ("fbgemm-gpu", "fbgemm-gpu-cpu")
FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs", "faiss-gpu-cu12-cuvs", "faiss-gpu-cu13-cuvs")
EXTRA = 'the extra "gpu" (README, "On a GPU")'


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        mend: what to do; empty where all is well.
        is_wrong: whether something does not work; else `mend` is what would do more.
    """

    subject: str
    found: str
    mend: str = ""
    is_wrong: bool = True


@dataclass(frozen=True)
class Seen:
    """What a machine has.

    Attributes:
        driver: NVIDIA's, empty where there is none.
        torch_cuda: the CUDA that torch is built for, empty for a CPU build.
        gpus: those that torch sees, by name and memory.
        fbgemm, faiss: distributions installed of each, in any version.
        fbgemm_fails: why fbgemm's operators do not run on the GPU, empty where they do or were not asked.
        faiss_gpus: those that faiss sees.
    """

    driver: str = ""
    torch_cuda: str = ""
    gpus: tuple[str, ...] = ()
    fbgemm: tuple[str, ...] = ()
    fbgemm_fails: str = ""
    faiss: tuple[str, ...] = ()
    faiss_gpus: int = 0


def findings(seen: Seen) -> Iterator[Finding]:
    """A line for the driver and each library; on a machine without a card, one line in all."""
    yield from _twice("fbgemm", seen.fbgemm, "fbgemm_gpu")
    yield from _twice("faiss", seen.faiss, "faiss")
    if not seen.driver and not seen.gpus:
        yield Finding("GPU", "no NVIDIA driver: everything runs on the CPU")
        return
    yield Finding("GPU: driver", seen.driver or "works, its version is not told")
    yield _torch(seen)
    if seen.gpus:
        yield _fbgemm(seen)
        yield _faiss(seen)


def _twice(name: str, installed: tuple[str, ...], module: str) -> Iterator[Finding]:
    """Two builds of one library overwrite each other's files."""
    if len(installed) > 1:
        both = " ".join(installed)
        mend = f"pip uninstall {both}, then install one of them: both are the module {module}"
        yield Finding(name, f"{' and '.join(installed)} are installed together", mend)


def _torch(seen: Seen) -> Finding:
    if seen.gpus:
        return Finding("GPU: torch", f"built for CUDA {seen.torch_cuda}; {'; '.join(seen.gpus)}")
    if not seen.torch_cuda:
        mend = f"to use the GPU install {EXTRA}: without it everything runs on the CPU"
        return Finding("GPU: torch", "a build for CPUs, beside a card", mend, is_wrong=False)
    mend = (
        f"nvidia-smi must list the card, CUDA_VISIBLE_DEVICES must not hide it (now "
        f"{os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')!r}), and the driver must know CUDA {seen.torch_cuda}"
    )
    return Finding(
        "GPU: torch", f"built for CUDA {seen.torch_cuda}, but it sees no card", mend, is_wrong=False
    )


def _fbgemm(seen: Seen) -> Finding:
    subject = "GPU: rankers"
    if seen.fbgemm == ("fbgemm-gpu-cpu",):
        mend = f"pip uninstall fbgemm-gpu-cpu and install {EXTRA}; until then train with device=cpu"
        return Finding(subject, "fbgemm is the build for CPUs", mend, is_wrong=False)
    if seen.fbgemm_fails:
        mend = "install the fbgemm-gpu that pairs with this torch, built for its CUDA"
        return Finding(subject, f"fbgemm's operators fail there: {seen.fbgemm_fails}", mend)
    return Finding(subject, "fbgemm's operators run there: --set device=cuda trains on it")


def _faiss(seen: Seen) -> Finding:
    subject = "GPU: search"
    if seen.faiss_gpus:
        return Finding(subject, f"faiss sees {seen.faiss_gpus} and searches there")
    mend = "pip uninstall faiss-cpu, pip install faiss-gpu (CUDA 12, which it brings along)"
    return Finding(subject, "faiss sees no GPU and searches on the CPU", mend, is_wrong=False)


def look() -> Seen:
    """Ask the machine. What does not load at all is told by the lines on each package."""
    torch_cuda, gpus = _torch_sees()
    return Seen(
        driver=_driver(),
        torch_cuda=torch_cuda,
        gpus=gpus,
        fbgemm=_installed(FBGEMM),
        fbgemm_fails=_fbgemm_fails() if gpus else "",
        faiss=_installed(FAISS),
        faiss_gpus=_faiss_gpus(),
    )


def _installed(distributions: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    for name in distributions:
        try:
            importlib.metadata.version(name)
            found.append(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _driver() -> str:
    """The kernel module's version, as the driver tells it."""
    try:
        words = DRIVER_FILE.read_text().splitlines()[0].split("  ")
        return next(word for word in words if word[:1].isdigit())
    except (OSError, IndexError, StopIteration):
        return ""


def _torch_sees() -> tuple[str, tuple[str, ...]]:
    try:
        import torch
    except (ImportError, OSError):
        return "", ()
    if not torch.cuda.is_available():
        return torch.version.cuda or "", ()
    properties = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    gpus = tuple(f"{each.name}, {each.total_memory / 2**30:.0f} GiB" for each in properties)
    return torch.version.cuda or "", gpus


def _fbgemm_fails() -> str:
    """Why a small operator of fbgemm does not run on the first GPU."""
    try:
        import torch

        importlib.import_module("fbgemm_gpu")
        lengths = torch.ones(3, dtype=torch.int64, device="cuda")
        sums = torch.ops.fbgemm.asynchronous_complete_cumsum(lengths)
        return "" if sums.tolist() == [0, 1, 2, 3] else f"wrong sums {sums.tolist()}"
    except (ImportError, OSError, RuntimeError, NotImplementedError, AttributeError) as error:
        return " ".join(str(error).split())[:160]


def _faiss_gpus() -> int:
    try:
        return int(importlib.import_module("faiss").get_num_gpus())
    except (ImportError, OSError, RuntimeError, AttributeError):
        return 0
