"""One trial: a command is struck, what it left is looked at, it is gone on with, and the end is compared with a run that was left alone."""

import fnmatch
import os
import shutil
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faulting.commands import BASE, Command, make_further
from benchmarks.faulting.contents import contents, differences
from benchmarks.faulting.faults import Fault
from benchmarks.faulting.runner import SECONDS_TO_END, Outcome, Runner, words_of
from benchmarks.faulting.server import Server

SECONDS_LOST = 30.0
"""A dead tracking server may cost a command as much."""
BYSTANDER = "a file of somebody else.txt"
CODES = {"term": 143, "int": 130, "hup": 129}
GOES_ON = ("go on with: ", "begin again with: ")


@dataclass(frozen=True)
class Clean:
    """A run that was left alone: what it made, how long it took, and when its imports were done."""

    contents: Mapping[str, str]
    before: Mapping[str, str]
    seconds: float
    begun: float
    num_moves: int
    num_openings: int
    largest: int


@dataclass
class Trial:
    """What came of one.

    Attributes:
        struck: the fault came before the run's end.
        resumed: to the same bits.
        in_one_line: ended with exit code and line as promised.
        phase: where the fault found it, see `Outcome`.
        failures: in words, each with its place.
    """

    command: str
    fault: dict[str, Any]
    struck: bool = False
    resumed: bool = False
    in_one_line: bool = False
    code: int = 0
    seconds_after: float = 0.0
    line: str = ""
    phase: str = "command"
    failures: list[str] = field(default_factory=list)


class Bench:
    """A base, made once in `work`, and the trials on it."""

    def __init__(self, work: Path, runner: Runner) -> None:
        self.work, self.runner = work, runner
        self.base, self.place = work / "base", work / "run"
        os.environ["MOON_REC_JOURNAL"] = str(work / "journal")

    def make_base(self, needed: set[str]) -> None:
        """Make what is needed and not there; all that comes before it, too."""
        self.base.mkdir(parents=True, exist_ok=True)
        last = max((place for place, (name, _) in enumerate(BASE) if name in needed), default=0)
        for name, words in BASE[: last + 1]:
            if not (self.base / name).exists():
                print(f"base: {name}", flush=True)
                outcome = self.runner.run(words, self.base)
                if outcome.code:
                    raise SystemExit(f"base: {name} failed: {outcome.err}")
            if name == "shop" and not (self.base / "plan.toml").exists():
                self._further()

    def _further(self) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                make_further(self.base)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0, "the base's further files"

    def clean(self, command: Command) -> Clean:
        """Run a command twice from the same state; both must be the same.

        Raises:
            SystemExit: they are not, or one failed.
        """
        found: list[tuple[Outcome, dict[str, str]]] = []
        for _ in range(2):  # the first imports what the others find imported
            before = self._lay(command)
            outcome = self.runner.run(command.words, self.place, setup=command.setup)
            if outcome.code:
                raise SystemExit(
                    f"{command.name}: a clean run ended with {outcome.code}: {outcome.err}"
                )
            found.append((outcome, contents(self.place)))
        (_, first), (outcome, second) = found
        if told := differences(first, second):
            raise SystemExit(f"{command.name}: two clean runs differ: {'; '.join(told)}")
        largest = max((p.stat().st_size for p in self.place.rglob("*") if p.is_file()), default=0)
        counts = (outcome.num_moves, outcome.num_openings)
        return Clean(second, before, outcome.seconds, outcome.begun, *counts, largest)

    def try_fault(self, command: Command, fault: Fault, clean: Clean) -> Trial:
        """Strike a command, look, go on, compare."""
        trial = Trial(command.name, {"kind": fault.kind, "where": fault.where})
        self._lay(command)
        inputs = self._stamps(command)
        if fault.kind == "readonly":
            self.place.chmod(0o555)
        outcome = self.runner.run(command.words, self.place, fault, command.setup)
        self.place.chmod(0o755)
        trial.code, trial.seconds_after = outcome.code, round(outcome.seconds_after, 2)
        left = contents(self.place)
        trial.struck = outcome.code != 0
        self._judge_end(trial, fault, outcome)
        self._judge_left(trial, command, left, clean, inputs)
        if trial.struck:
            self._go_on(trial, command, outcome, clean, left)
            self._judge_inputs(trial, command, inputs, "after going on")
        elif told := differences(contents(self.place), dict(clean.contents)):
            trial.failures += [f"ended with 0, but {line}" for line in told]
        return trial

    def num_answers(self, command: Command) -> int:
        """How often a tracked run asks a server that lives."""
        self._lay(command)
        with Server() as server:
            words = [*command.words, command.tracks, server.uri]
            outcome = self.runner.run(words, self.place, setup=command.setup)
        if outcome.code:
            raise SystemExit(f"{command.name} with a tracking server: {outcome.err}")
        return sum(server.counts.values())

    def try_server(self, command: Command, fault: Fault, clean: Clean) -> Trial:
        """The tracking server goes away; the command ends as it would without one, and what it has to tell is sent to the one that comes back."""
        trial = Trial(command.name, {"kind": fault.kind, "where": fault.where}, struck=True)
        shutil.rmtree(self.work / "journal", ignore_errors=True)
        self._lay(command)
        with Server(fault.answers) as server:
            words = [*command.words, command.tracks, server.uri]
            outcome = self.runner.run(words, self.place, fault, command.setup)
        trial.code, trial.seconds_after = outcome.code, round(outcome.seconds - clean.seconds, 2)
        trial.line = outcome.last_line[:400]
        told = differences(contents(self.place), dict(clean.contents))
        trial.resumed = outcome.code == 0 and not told
        if outcome.code:
            trial.failures.append(f"ended with {outcome.code}: {trial.line}")
        if "Traceback" in outcome.err:
            trial.failures.append("a traceback")
        if trial.seconds_after > SECONDS_LOST:
            trial.failures.append(f"took {trial.seconds_after} s more than without tracking")
        trial.failures += [f"with a dead server: {line}" for line in told[:8]]
        with Server(port=server.port) as again:
            send = ("moon_rec", "track", "send", "--track", again.uri)
            sent = self.runner.run(send, self.place)
        trial.in_one_line = sent.code == 0 and again.counts.get("runs/create", 0) > 0
        if not trial.in_one_line:
            trial.failures.append(f"not sent later: {sent.last_line[:300]}; {again.counts}")
        return trial

    def _lay(self, command: Command) -> dict[str, str]:
        """The run's folder as the command finds it."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        for name in command.reads:
            (self.place / name).symlink_to(self.base / name)
        (self.place / BYSTANDER).write_text("not to be touched\n", encoding="utf-8")
        if command.before:
            older = self.work / f"older-{command.name}"
            if not older.exists():
                older.mkdir()
                outcome = self.runner.run(command.before, older, setup=command.setup)
                assert outcome.code == 0, outcome.err
            shutil.copytree(older, self.place, dirs_exist_ok=True)
        return contents(self.place)

    def _stamps(self, command: Command) -> dict[str, tuple[int, ...]]:
        """What is read, and what is nobody's: sizes and times, which no write leaves alone."""
        files = [path for name in command.reads for path in (self.base / name).rglob("*")]
        files += [self.base / name for name in command.reads] + [self.place / BYSTANDER]
        stamps = {}
        for path in files:
            if path.exists() and not path.is_dir() and ".db" not in path.name:
                about = path.stat()
                stamps[str(path)] = (about.st_size, about.st_mtime_ns, about.st_ino)
        return stamps

    def _judge_inputs(
        self, trial: Trial, command: Command, before: Mapping[str, Any], when: str
    ) -> None:
        after = self._stamps(command)
        changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
        trial.failures += [f"{when}: an input was changed: {name}" for name in sorted(changed)]

    def _judge_left(
        self,
        trial: Trial,
        command: Command,
        left: dict[str, str],
        clean: Clean,
        inputs: Mapping[str, Any],
    ) -> None:
        """No half-written output under its final name; what was there before is there."""
        self._judge_inputs(trial, command, inputs, "after the fault")
        for name, digest in left.items():
            grows = any(fnmatch.fnmatch(name, pattern) for pattern in command.grows)
            good = (clean.contents.get(name), clean.before.get(name))
            if name in clean.contents and not grows and digest not in good:
                trial.failures.append(f"after the fault: {name} is neither old nor new")
        for name, digest in clean.before.items():
            if name not in left and name in clean.contents:
                trial.failures.append(f"after the fault: {name} was there before and is gone")
            elif name in left and digest != left[name] and name not in clean.contents:
                trial.failures.append(f"after the fault: {name} was there before and is changed")

    def _judge_end(self, trial: Trial, fault: Fault, outcome: Outcome) -> None:
        trial.line = outcome.last_line[:400]
        if outcome.orphans:
            trial.failures.append(f"{outcome.orphans} processes lived on")
        if fault.kind == "kill" or outcome.code == 0:
            return
        is_late = outcome.phase == "after" and outcome.code < 0
        if fault.kind in CODES and (outcome.phase == "imports" or is_late):
            trial.phase = outcome.phase  # nothing was begun, or all was done: nothing to tell
            return
        wanted = CODES.get(fault.kind, 2)
        start = "stopped" if fault.kind in CODES else "error: "
        problems = []
        if outcome.code != wanted:
            problems.append(f"exit code {outcome.code}, wanted {wanted}")
        if "Traceback" in outcome.err or "panicked" in outcome.err:
            problems.append("a traceback")
        lines = [line for line in outcome.err.splitlines() if line.startswith(start)]
        if len(lines) != 1 or outcome.last_line != lines[0]:
            problems.append(f"{len(lines)} lines that begin with {start!r}, wanted one, the last")
        if outcome.seconds_after > SECONDS_TO_END:
            problems.append(f"ended {outcome.seconds_after:.1f} s after the signal")
        trial.in_one_line = not problems
        trial.failures += [f"{one}; last line: {trial.line}" for one in problems]

    def _go_on(
        self, trial: Trial, command: Command, outcome: Outcome, clean: Clean, left: dict[str, str]
    ) -> None:
        """By the command that its last line names, or as documented."""
        words = [*command.words, *command.resume]
        if trial.fault["kind"] in CODES and trial.phase == "command":
            told = next(
                (
                    outcome.last_line.partition(mark)[2]
                    for mark in GOES_ON
                    if mark in outcome.last_line
                ),
                "",
            )
            named = words_of(told)
            if named is None:
                trial.failures.append(f"names no command that goes on; last line: {trial.line}")
            words = named or words
        resumed = self.runner.run(words, self.place, setup=command.setup)
        if resumed.code == 2 and "--overwrite replaces it" in resumed.last_line:
            # it stood already when the fault came, and only something after it was lacking: do as the line says
            resumed = self.runner.run([*words, "--overwrite"], self.place, setup=command.setup)
        told = differences(contents(self.place), dict(clean.contents))
        was_whole = all(left.get(name) == digest for name, digest in clean.contents.items())
        refused = resumed.code == 2 and "exists already" in resumed.last_line and was_whole
        if resumed.code != 0 and not refused:
            trial.failures.append(f"going on ended with {resumed.code}: {resumed.last_line[:300]}")
        trial.failures += [f"after going on: {line}" for line in told[:8]]
        trial.resumed = not told and (resumed.code == 0 or refused)
