"""Kill, stop and starve every long command; go on; compare bit for bit with a run that was left alone.

    python -m benchmarks.faults --out runs/faults.json                                      # everything, about two hours on two cores
    python -m benchmarks.faults --command train --signal kill --when random --rounds 100 --out runs/train.json
    python -m benchmarks.faults --command score --signal full --rounds 20 --out runs/full.json

Kinds of faults (`--signal`):
    kill                 SIGKILL to the command and all its children
    term, int, hup       SIGTERM to the command; Ctrl-C and hanging up to all its processes. Promised: ended within 10 seconds, exit code 143, 130, 129, no child lives
                         on, one line on stderr that names what is kept and a command that goes on; that very command is run
    full                 a full disk: the opening of file number k fails, and no file grows beyond a random size. Promised: exit code 2, one line
    server               the tracking server is not there, goes away midway, or at its last answer. Promised: the command ends as without tracking, at most half a minute
                         later, and `python -m moon_rec track send` delivers to the server that comes back; here "one line" counts what was delivered
    readonly             the working folder cannot be written to. Promised: exit code 2, one line
A signal that finds Python importing, or done with the command and on its way out, ends it without a word: nothing is begun then, or all is done.

When (`--when`, of signals): at `random` moments, spread over the running time of the command, and before each of the `renames` and removals that it makes.

After every fault: no output under its final name is anything but whole and right, what was there before is unchanged, inputs are unchanged. After going on (the same
command, with `--resume` where it has one): the same files as of a run left alone, bit for bit but for what `faulting.contents.VARIES` names, and nothing beside them.

`--most-renames N` takes N of them, evenly; `--minutes` ends each command's trials of a kind after so long, and says how many were left out.

Choices: commands are made small (a second each) and run as children of one process that has imported the libraries, see `faulting.runner`. Trials are written
down one by one beside `--out`; the same call goes on where it was stopped, and `--fresh` forgets them.
"""

import argparse
import json
import math
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

# one thread each, before the libraries look; matplotlib and the rest write nothing into the home
os.environ |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ |= {"MPLCONFIGDIR": "/tmp/moon-rec-faults-matplotlib", "HF_HUB_OFFLINE": "1"}

from benchmarks.faulting.commands import COMMANDS, PARALLEL, Command
from benchmarks.faulting.faults import Fault
from benchmarks.faulting.runner import Runner
from benchmarks.faulting.trials import Bench, Clean, Trial

SIGNALS = ("kill", "term", "int", "hup", "full", "readonly", "server")


def faults_of(
    kind: str, when: str, given: argparse.Namespace, bench: Bench, command: Command, clean: Clean
) -> list[Fault]:
    """What to do to a command; the same seed gives the same."""
    rounds = given.rounds
    draw = random.Random(f"{given.seed} {command.name} {kind} {when}")
    if kind == "readonly":
        return [Fault(kind)]
    if kind == "server":
        count = bench.num_answers(command)
        return [Fault(kind, answers=answers) for answers in (0, 1, count // 2, count - 1)]
    if kind == "full":
        openings = _spread(clean.num_openings, rounds)
        sizes = [int(clean.largest ** draw.random()) for _ in range(rounds)]
        return [Fault(kind, opening=k) for k in openings] + [Fault(kind, size=s) for s in sizes]
    if when == "renames":
        moves = _spread(clean.num_moves, given.most_renames)
        draw.shuffle(moves)  # a run that is broken off has struck everywhere
        return [Fault(kind, move=number) for number in moves]
    # kills come while Python imports, too; of signals there is nothing to be promised then
    start = 0.0 if kind == "kill" else clean.begun
    spread = clean.seconds - start
    return [Fault(kind, seconds=start + draw.random() * spread) for _ in range(rounds)]


def _spread(count: int, most: int) -> list[int]:
    """At most so many numbers below `count`, evenly."""
    return (
        sorted({number * count // most for number in range(most)})
        if count > most
        else [*range(count)]
    )


def main(argv: list[str] | None = None) -> int:
    """The command; exit code 1 where a promise was broken."""
    given = _parser().parse_args(argv)
    commands = (
        [one for one in (*COMMANDS, *PARALLEL) if one.name in given.command]
        if given.command
        else list(COMMANDS)
    )
    notes = given.out.with_suffix(".trials.jsonl")
    notes.parent.mkdir(parents=True, exist_ok=True)
    if given.fresh:
        notes.unlink(missing_ok=True)
    known = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
    work = given.work or given.out.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)  # made by other code, perhaps
    work.mkdir(parents=True)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    packages = sorted({one.words[0].partition(".")[0] for one in commands})
    bench = Bench(work.resolve(), Runner((work / "logs").resolve(), packages))
    bench.make_base({name for one in commands for name in one.reads})
    with open(notes, "a", encoding="utf-8") as file:
        for command in commands:
            for trial in _trials(bench, command, given, known):
                known.append(trial)
                file.write(json.dumps(trial) + "\n")
                file.flush()
    names = {one.name for one in commands}
    trials = [one for one in known if one["command"] in names]
    rows = table(trials)
    given.out.write_text(json.dumps({"seed": given.seed, "rows": rows, "trials": trials}, indent=2))
    print(markdown(rows))
    failed = [one for one in trials if one["failures"]]
    for one in failed[: given.show]:
        print(
            f"{one['command']}, {one['fault']['kind']} {one['fault']['where']}: {'; '.join(one['failures'][:3])}"
        )
    if not given.keep:
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failed else 0


def _trials(
    bench: Bench, command: Command, given: argparse.Namespace, known: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The trials of a command that are not known yet."""
    clean = bench.clean(command)
    print(
        f"{command.name}: {clean.seconds:.2f} s, {clean.num_moves} renames and removals, {clean.num_openings} files opened",
        flush=True,
    )
    for kind in given.signal:
        if kind == "server" and not command.tracks:
            continue
        whens = given.when if kind in ("kill", "term", "int", "hup") else ["there"]
        for when in whens:
            faults = faults_of(kind, when, given, bench, command, clean)
            done = sum(_is(one, command.name, kind, when) for one in known)
            start, failed = time.monotonic(), 0
            for number, fault in enumerate(faults[done:], done + 1):
                if time.monotonic() - start > 60 * given.minutes:
                    print(f"  {kind} {when}: {len(faults) - number + 1} are left out", flush=True)
                    break
                attempt = bench.try_server if kind == "server" else bench.try_fault
                trial: Trial = attempt(command, fault, clean)
                trial.fault["when"] = when
                failed += bool(trial.failures)
                yield asdict(trial)
                if number % 10 == 0 or number == len(faults):
                    passed = time.monotonic() - start
                    left = passed / (number - done) * (len(faults) - number)
                    print(
                        f"  {kind} {when}: {number}/{len(faults)}, {failed} failed, {passed:.0f} s, {left:.0f} s left",
                        flush=True,
                    )


def _is(trial: dict[str, Any], command: str, kind: str, when: str) -> bool:
    fault = trial["fault"]
    return (trial["command"], fault["kind"], fault["when"]) == (command, kind, when)


def table(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a command and kind of fault."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in trials:
        key = (one["command"], one["fault"]["kind"], one["fault"]["when"])
        groups.setdefault(key, []).append(one)
    return [
        {
            "command": command,
            "fault": kind if when == "there" else f"{kind}, {when}",
            "trials": len(of),
            "struck": sum(one["struck"] for one in of),
            "same bits": sum(one["resumed"] for one in of),
            "outside the command": sum(one["phase"] != "command" for one in of),
            "one line": sum(one["in_one_line"] for one in of),
            "slowest end, s": max(one["seconds_after"] for one in of),
            "failed": sum(bool(one["failures"]) for one in of),
        }
        for (command, kind, when), of in groups.items()
    ]


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a table."""
    if not rows:
        return "no trials"
    lines = [f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
    lines += [f"| {' | '.join(str(value) for value in row.values())} |" for row in rows]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description="Kill, stop and starve every long command; go on; compare bit for bit.",
        epilog="example:\n  python -m benchmarks.faults --command train --signal kill --rounds 100 --out runs/train.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [one.name for one in (*COMMANDS, *PARALLEL)]
    parser.add_argument(
        "--command",
        action="append",
        choices=names,
        help="may be given again; default: all but those of several processes",
    )
    parser.add_argument("--signal", nargs="+", choices=SIGNALS, default=list(SIGNALS))
    parser.add_argument(
        "--when", nargs="+", choices=("random", "renames"), default=["random", "renames"]
    )
    parser.add_argument(
        "--rounds", type=int, default=100, help="random moments of each (default: 100)"
    )
    parser.add_argument(
        "--most-renames",
        type=int,
        default=10_000,
        metavar="N",
        help="of a command, evenly; default: all",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        metavar="N",
        help="the longest for each command and kind; default: no limit",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    parser.add_argument("--work", type=Path, help="folder of its own; default: beside --out")
    parser.add_argument("--keep", action="store_true", help="leave the work folder")
    parser.add_argument("--fresh", action="store_true", help="forget earlier trials of this --out")
    parser.add_argument("--show", type=int, default=20, help="failures printed (default: 20)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
