"""How fast a log becomes a shop, and in how much memory, against what polars takes to copy the same file.

An invented log (user, item, time, click; ids are texts) of two lengths is imported by the command, each in a process of its own. Rows a
second are told of the clock and of processor time: where other work shares the machine only the second says something.
Memory is the peak of the resident set (VmHWM). The same log as gzip, JSON lines and Parquet is imported at the shorter length.
"""

import gzip
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, run
from moon_rec.files import write_json

LENGTHS = (1_000_000, 10_000_000)
COPY = "import sys, polars as pl; pl.scan_csv(sys.argv[1], infer_schema=False).sink_parquet(sys.argv[2])"
NOTHING = "import moon_rec.shop.commands, moon_rec.shop.import_commands"


def write_log(path: Path, num_rows: int, seed: int = 0) -> None:
    """Users of equal activity, items of a long tail, times of sixty days in order, a click in twenty."""
    random = np.random.default_rng(seed)
    piece = 1_000_000
    step = 86_400 * 60 / num_rows
    with open(path, "wb") as file:
        for start in range(0, num_rows, piece):
            rows = min(piece, num_rows - start)
            times = 1_600_000_000 + ((start + np.arange(rows)) * step).astype(np.int64)
            frame = pl.DataFrame(
                {
                    "uid": random.integers(0, 500_000, rows),
                    "asin": (random.pareto(1.1, rows) * 100).astype(np.int64) % 200_000,
                    "ts": times,
                    "label": (random.random(rows) < 0.05).astype(np.int8),
                }
            ).with_columns(uid=pl.format("u{}", "uid"), asin=pl.format("B00{}", "asin"))
            file.write(frame.write_csv(include_header=start == 0).encode())


def measured(command: list[str], folder: Path) -> dict[str, float]:
    """Seconds of the clock and of processors, and MB at the peak, of a process."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    child = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    peak = 0
    while child.poll() is None:
        peak = max(peak, _peak_of(child.pid))
        time.sleep(0.02)
    told = child.stderr.read() if child.stderr else ""
    if child.returncode:
        sys.exit(f"{' '.join(command)} ended with {child.returncode}: {told[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {
        "seconds": round(time.perf_counter() - begin, 2),
        "processor_seconds": round(used, 2),
        "peak_mb": round(peak / 1024),
    }


def _environment() -> dict[str, str]:
    """This process's, with the checkout on Python's path: commands run in another folder."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def _peak_of(process: int) -> int:
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def imported(log: str, folder: Path) -> dict[str, float]:
    """What the import of a log takes."""
    words = ["shop", "import", "interactions", log, "--out", "shop", "--set", "time_unit=s"]
    return measured([sys.executable, "-m", "moon_rec", *words, "--overwrite"], folder)


def other_forms(folder: Path, num_rows: int) -> dict[str, dict[str, float]]:
    """The same log packed, as JSON lines and as Parquet."""
    found = {}
    plain = folder / "plain.csv"
    (folder / "log.csv").rename(plain)
    with open(plain, "rb") as source, gzip.open(folder / "log.csv.gz", "wb", 1) as packed:
        shutil.copyfileobj(source, packed)
    pl.scan_csv(plain).sink_ndjson(folder / "log.jsonl")
    pl.scan_csv(plain).sink_parquet(folder / "log.parquet")
    for name in ("log.csv.gz", "log.jsonl", "log.parquet"):
        form = name.removeprefix("log.")
        found[form] = _with_rates(imported(name, folder), num_rows)
        print(f"{num_rows:,} rows as {form}: {found[form]}", flush=True)
    return found


def _with_rates(found: dict[str, float], num_rows: int) -> dict[str, float]:
    return {
        **found,
        "rows_a_second": round(num_rows / found["seconds"]),
        "rows_a_processor_second": round(num_rows / found["processor_seconds"]),
    }


def main(argv: list[str] | None = None) -> None:
    """Measure, print and keep."""
    given = parsed(_parser(), argv)
    about: dict[str, Any] = {"load_before": os.getloadavg()[0], "lengths": {}}
    lengths = sorted(given.lengths)
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="import-log-") as place:
        folder = Path(place)
        about["start_of_python_and_imports"] = measured([sys.executable, "-c", NOTHING], folder)
        for num_rows in lengths:
            about["lengths"][num_rows] = _measured(folder, num_rows)
            if num_rows == lengths[0]:
                about["other_forms"] = other_forms(folder, num_rows)
    peaks = [each["import"]["peak_mb"] for each in about["lengths"].values()]
    about["peak_ratio"] = round(peaks[-1] / peaks[0], 2)
    about["load_after"] = os.getloadavg()[0]
    print(f"peak memory: {peaks[0]} MB, then {peaks[-1]} MB: {about['peak_ratio']} times")
    if given.out is not None:
        write_json(given.out, {**describe_machine(), **about})
        print(f"written to {given.out}")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.import_log",
        description="Import an invented log of two lengths: rows a second and peak memory, beside what polars takes to copy the file.",
        example="python -m benchmarks.import_log --out benchmarks/results/import-log.json",
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="ROWS")
    parser.add_argument("--folder", type=Path, help="where the logs are made; 1 GB is needed")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    return parser


def _measured(folder: Path, num_rows: int) -> dict[str, dict[str, float]]:
    write_log(folder / "log.csv", num_rows)
    copied = measured([sys.executable, "-c", COPY, "log.csv", "copy.parquet"], folder)
    found = _with_rates(imported("log.csv", folder), num_rows)
    ratio = found["processor_seconds"] / copied["processor_seconds"]
    found["processor_seconds_over_a_copy"] = round(ratio, 1)
    print(f"{num_rows:,} rows: {found}; scan_csv -> sink_parquet: {copied}", flush=True)
    return {"import": found, "polars_copy": copied}


if __name__ == "__main__":
    sys.exit(run(main))
