"""Fuzz every reader of files that may come from elsewhere.

    python -m benchmarks.fuzz --seconds 600 --out benchmarks/results/fuzz.json

Each reader (`benchmarks.strangers`) gets a good folder with one file damaged, again and again, in a process of its own. What must come of it is a result or a `MoonRecError` of
one line; anything else is a finding: another exception, a panic, a crash, over `MOST_MIB` of memory, over `MOST_SECONDS`, a file written outside. Two engines: `mutation`
draws damage by `benchmarks.damage`; `atheris` (pip install atheris) lets libFuzzer choose bytes by the branches they reach in our modules. `auto` is half of each where
atheris is installed. The same seed draws the same damage in `mutation`.
"""

import argparse
import importlib
import importlib.util
import json
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from moon_rec.errors import MOST_LINE, MoonRecError
from moon_rec.files import write_json

MOST_MIB = 2_048
MOST_SECONDS = 20
Finding = dict[str, Any]


def main() -> None:
    """Every reader for its share of the time; a JSON of what came of it."""
    options = _options()
    if options.child:
        _child(options)
        return
    from benchmarks.strangers import make_shared, readers

    chosen = [one for one in readers() if options.only in ("", one.name)]
    has_atheris = importlib.util.find_spec("atheris") is not None
    engines = {"mutation": ["mutation"], "atheris": ["atheris"], "auto": ["mutation", *["atheris"] * has_atheris]}[options.engine]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="moon_rec_fuzz_") as place:
        shared = Path(place) / "shared"
        shared.mkdir()
        make_shared(shared)
        seconds = options.seconds / len(chosen) / len(engines)
        results = []
        for engine in engines:
            # a process takes long to begin: one draws damage for all readers, libFuzzer's ends with its reader
            groups = [chosen] if engine == "mutation" else [[one] for one in chosen]
            for group in groups:
                names = [one.name for one in group]
                results += _run(names, engine, seconds, options.seed, Path(place), shared)
    about = {
        "command": " ".join(sys.argv[1:]),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, 1 process at a time",
        "bounds": {"MiB": MOST_MIB, "seconds": MOST_SECONDS},
        "executions": sum(one["executions"] for one in results),
        "seconds": round(sum(one["seconds"] for one in results), 1),
        "findings": sum(len(one["findings"]) for one in results),
        "readers": results,
    }
    if options.out:
        write_json(options.out, about)
    sys.exit(1 if about["findings"] else 0)


def _print(one: dict[str, Any]) -> None:
    line = f"{one['reader']} ({one['engine']}): {one['executions']:,} executions, {one['refused']:,} refused, {one['seconds']:.0f} s, {len(one['findings'])} findings"
    print(line, *(f"  {each['file']}: {each['what']}" for each in one["findings"][:5]), sep="\n")
    sys.stdout.flush()


def _options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=60.0, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="one reader, by its name")
    parser.add_argument("--engine", choices=["auto", "mutation", "atheris"], default="auto")
    parser.add_argument("--out", type=Path)
    for name in ("child", "shared", "work", "whole"):
        parser.add_argument(f"--{name}", default="", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def _run(
    names: list[str], engine: str, seconds: float, seed: int, place: Path, shared: Path
) -> list[dict[str, Any]]:
    """Readers for so many seconds each; their process is begun anew after a crash, with what is left."""
    work = place / "work"
    found = {name: {"reader": name, "engine": engine, "executions": 0, "refused": 0, "seconds": 0.0, "findings": []} for name in names}  # fmt: skip
    left = list(names)
    while left:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        words = ["--child", engine, "--only", json.dumps(left), "--seed", str(seed), "--seconds", str(seconds), "--shared", str(shared), "--work", str(work), "--whole", names[0] if len(names) == 1 else ""]  # fmt: skip
        process = _started(words, work)
        last = _wait(process, work)
        seed += 1_000_003
        done = [name for name in left if (work / f"journal-{names.index(name)}").exists()]
        for name in done:
            told = _journal(work / f"journal-{names.index(name)}")
            for figure in ("executions", "refused", "seconds", "findings"):
                found[name][figure] += told[figure]
        at = done[-1] if done else left[0]
        if process.returncode and engine == "mutation":
            told = _journal(work / f"journal-{names.index(at)}")
            kept = _keep(work, place, len(found[at]["findings"]))
            what = f"ended with {process.returncode}{last}: {_tail(work / 'stderr')}"
            found[at]["findings"].append({"file": told["file"], "what": what, "kept": kept})
        elif process.returncode:
            what = f"ended with {process.returncode}{last}: {_tail(work / 'stderr')}"
            found[at]["findings"].append({"file": "?", "what": what, "kept": ""})
        for name in left[: left.index(at) + 1]:
            _print(found[name])
        left = left[left.index(at) + 1 :]
    return [one | {"seconds": round(one["seconds"], 1)} for one in found.values()]


def _started(words: list[str], work: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fuzz", *words],
        stdout=subprocess.DEVNULL,
        stderr=(work / "stderr").open("wb"),
        stdin=subprocess.DEVNULL,
    )


def _wait(process: "subprocess.Popen[bytes]", work: Path) -> str:
    """Until it ends; killed where its journal stands still."""
    seen, since = "", time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        now = "".join(str(path.stat().st_mtime_ns) for path in work.glob("journal-*"))
        if now != seen:
            seen, since = now, time.monotonic()
        if time.monotonic() - since > (MOST_SECONDS * 2 if seen else 300):
            process.kill()
            process.wait()
            return f" (still after {MOST_SECONDS * 2} s)"
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _journal(path: Path) -> dict[str, Any]:
    empty = {"executions": 0, "refused": 0, "seconds": 0.0, "findings": [], "file": "?"}
    try:
        return empty | json.loads(_read(path))
    except ValueError:
        return empty


def _keep(work: Path, place: Path, number: int) -> str:
    """The last damaged file, in the system's folder of temporaries."""
    kept = Path(tempfile.gettempdir()) / f"fuzz_{place.name}_{number}"
    if (work / "last").exists():
        shutil.copy(work / "last", kept)
    return str(kept)


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-3:])[-400:]


class _Runs:
    """One reader in this process: its folder, its figures, its findings."""

    def __init__(self, name: str, number: int, shared: Path, work: Path) -> None:
        from benchmarks.strangers import readers

        self.reader = next(one for one in readers() if one.name == name)
        self._work, self._inside_of = work, work / f"inside-{number}"
        self._journal = work / f"journal-{number}"
        self.folder = self._inside_of / "data"
        self.folder.mkdir(parents=True)
        self.reader.good(shared, self.folder)
        self.reader.read(self.folder)  # the good one is read, and all modules are loaded
        self.files = [
            path.relative_to(self.folder).as_posix()
            for pattern in self.reader.files
            for path in sorted(self.folder.glob(pattern))
        ]
        self.good = {file: (self.folder / file).read_bytes() for file in self.files}
        self.kinds: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.executions = self.refused = 0
        self._inside = self._listed()
        self._start, self._told = time.monotonic(), 0.0

    def once(self, file: str, data: bytes) -> None:
        """Read the folder with that in the file's place."""
        (self._work / "last").write_bytes(data)
        (self.folder / file).write_bytes(data)
        self.executions += 1
        self.tell(file)
        before, what = time.monotonic(), ""
        try:
            signal.alarm(MOST_SECONDS)
            self.reader.read(self.folder)
        except MoonRecError as error:
            self.refused += 1
            what = "more than one line" if "\n" in str(error) or not str(error) else ""
            if len(str(error)) > MOST_LINE + 100:
                what = f"a line of {len(str(error)):,} characters"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever it is, it is a finding
            places = traceback.extract_tb(error.__traceback__)
            own = [one for one in places if "/benchmarks/" not in one.filename] or list(places)
            ours = [one for one in own if any(f"/{package}/" in one.filename for package in ("moon_rec", "representation", "ranking"))]  # fmt: skip
            where = " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in reversed((ours or own)[-3:]))  # fmt: skip
            what = f"{type(error).__name__}: {str(error)[:160]} at {where}"
        finally:
            signal.alarm(0)
        took = time.monotonic() - before
        if took > MOST_SECONDS:
            what = what or f"{took:.0f} seconds"
        if self._listed() != self._inside:
            what = what or "something was written beside the files"
            self._inside = self._listed()
        if what and self.kinds[what.split(" at ")[-1]] == 0:
            kept = Path(tempfile.gettempdir()) / f"fuzz_{os.getpid()}_{len(self.findings)}"
            kept.write_bytes(data)
            self.findings.append({"file": file, "what": what, "kept": str(kept)})
        self.kinds[what.split(" at ")[-1]] += 1
        (self.folder / file).write_bytes(self.good[file])
        self.tell(file)

    def tell(self, file: str, at_once: bool = False) -> None:
        """Write down how far it is, for whoever waits."""
        now = time.monotonic()
        if not at_once and self.executions > 3 and now - self._told < 0.5:
            return
        self._told = now
        values = {"executions": self.executions, "refused": self.refused, "seconds": now - self._start, "findings": self.findings, "file": file}  # fmt: skip
        partial = self._work / "partial"
        partial.write_text(json.dumps(values))
        partial.replace(self._journal)

    def _listed(self) -> list[str]:
        return sorted(str(path) for path in self._inside_of.rglob("*"))


def _child(options: argparse.Namespace) -> None:
    work, shared = Path(options.work), Path(options.shared)
    names = json.loads(options.only)
    signal.signal(signal.SIGALRM, _too_long)
    if options.child == "atheris":
        atheris: Any = importlib.import_module("atheris")
        with atheris.instrument_imports(include=["moon_rec", "representation", "ranking"]):
            runs = _Runs(names[0], 0, shared, work)
        _limit_memory()
        _by_atheris(runs, options, work)
        return
    from benchmarks.damage import damaged
    from benchmarks.strangers import readers

    all_names = [one.name for one in readers() if options.whole in ("", one.name)]
    for name in names:
        runs = _Runs(name, all_names.index(name), shared, work)
        _limit_memory()
        draw = random.Random(f"{options.seed} {name}")
        until = time.monotonic() + options.seconds
        while time.monotonic() < until and len(runs.findings) < 20:
            file = draw.choice(runs.files)
            runs.once(file, damaged(runs.good[file], draw))
        runs.tell("", at_once=True)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _by_atheris(runs: _Runs, options: argparse.Namespace, work: Path) -> None:
    atheris: Any = importlib.import_module("atheris")
    corpus = work / "corpus"
    corpus.mkdir()
    for number, file in enumerate(runs.files):
        (corpus / str(number)).write_bytes(bytes([number]) + runs.good[file])

    def one(data: bytes) -> None:
        if data:
            runs.once(runs.files[data[0] % len(runs.files)], data[1:])

    seconds = max(1, round(options.seconds))
    words = [sys.argv[0], str(corpus), f"-max_total_time={seconds}", "-max_len=200000", "-rss_limit_mb=0", f"-seed={options.seed % 2**31 + 1}", "-verbosity=0", "-print_final_stats=0", "-close_fd_mask=0", "-timeout=120"]  # fmt: skip
    atheris.Setup(words, one)
    atheris.Fuzz()


def _too_long(*_: object) -> None:
    raise TimeoutError(f"over {MOST_SECONDS} seconds")


def _limit_memory() -> None:
    """So much address space more than there is now; what asks for more gets MemoryError, which is a finding."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_MIB * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
