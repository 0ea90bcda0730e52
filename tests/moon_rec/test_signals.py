"""Signals end a command within seconds, in one line that says what is kept and goes on from it."""

import contextlib
import importlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moon_rec import kept
from moon_rec.command import run
from moon_rec.signals import Stopped, asked, finishing_steps
from tests.stopping import start, stop_when, wait_for

SIGNALS = {signal.SIGINT: (130, "Ctrl-C"), signal.SIGTERM: (143, "SIGTERM"), signal.SIGHUP: (129, "SIGHUP")}  # fmt: skip


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_ends_in_one_line(signum, capsys):
    code, name = SIGNALS[signum]

    def main(argv):
        os.kill(os.getpid(), signum)
        for _ in range(1000):  # the handler runs between two instructions
            time.sleep(0.001)
        raise AssertionError("went on")

    before = signal.getsignal(signum)
    assert run(main, ["SHOP", "--out", "my folder"]) == code
    assert signal.getsignal(signum) is before
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"stopped by {name}: nothing is kept; begin again with: python -m ")
    assert shlex.split(line)[-3:] == ["SHOP", "--out", "my folder"]


def test_what_a_library_makes_of_the_signal_does_not_matter(capsys):
    def main(argv):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        except BaseException:
            raise RuntimeError("callback failed") from None

    assert run(main, []) == 143
    assert capsys.readouterr().err.startswith("stopped by SIGTERM: ")


def _dies():
    class Dying:
        def __del__(self):
            _signalled()

    Dying()


def _is_forgotten():
    class Known:
        pass

    known = Known()
    weakref.finalize(known, _signalled)
    del known


def _is_imported():
    """Each first import ends in the callback of a weak reference, to the module's lock."""

    def look(frame, event, _):
        if event == "call" and "_get_module_lock.<locals>" in frame.f_code.co_qualname:
            sys.setprofile(None)
            _signalled()

    sys.setprofile(look)
    try:
        with contextlib.suppress(ImportError):
            importlib.import_module("not_there")
    finally:
        sys.setprofile(None)


def _fails_in_a_thread():
    """What a thread cannot do any more once the command is being ended."""

    def fail():
        wait_for(lambda: asked() is not None)
        raise RuntimeError("its files are gone")

    thread = threading.Thread(target=fail)
    thread.start()
    try:
        _signalled()
    finally:
        thread.join()


def _signalled():
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(20):  # the handler runs between two instructions
        time.sleep(0.001)


@pytest.mark.parametrize("meet", [_dies, _is_forgotten, _is_imported, _fails_in_a_thread])
def test_a_signal_where_nothing_can_be_raised_is_one_line(meet, capfd):
    """Python prints a traceback there, and the command would go on."""

    def main(argv):
        meet()
        for _ in range(1000):
            time.sleep(0.001)
        raise AssertionError("went on")

    start, hooks = time.monotonic(), (sys.unraisablehook, threading.excepthook)
    assert run(main, []) == 143
    assert time.monotonic() - start < 1
    assert (sys.unraisablehook, threading.excepthook) == hooks
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("stopped by SIGTERM: nothing is kept; begin again with: python -m ")


def test_a_signal_just_before_the_command_has_its_line(monkeypatch, capsys):
    install = signal.signal

    def struck(signum, handler):
        before = install(signum, handler)
        if signum == signal.SIGTERM and before == signal.SIG_DFL:
            _signalled()
        return before

    monkeypatch.setattr(signal, "signal", struck)
    assert run(lambda argv: None, []) == 143
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stopped by SIGTERM: nothing is kept; begin again with: python -m ")


def test_a_step_is_finished_and_saved_first(tmp_path, capsys):
    def main(argv):
        with finishing_steps() as ending:
            for step in range(1000):
                if step == 3:
                    os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.001)
                if ending.is_asked:
                    (tmp_path / "save").write_text(str(step))
                    kept.note_kept(tmp_path / "save", f"step {step}")
                    kept.note_to_go_on("--resume")
                    ending.stop()

    assert run(main, ["a", "--resume"]) == 143
    line = capsys.readouterr().err
    assert f"kept: {tmp_path}/save (step 3); go on with: python -m " in line
    assert line.count("--resume") == 1


def test_a_signal_nobody_looked_at_ends_the_block(capsys):
    def main(argv):
        with finishing_steps():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
        raise AssertionError("went on")

    assert run(main, []) == 143


def test_without_a_signal_nothing_changes():
    with finishing_steps() as ending:
        assert not ending.is_asked
    assert asked() is None or not isinstance(asked(), Stopped)


def test_the_line_is_of_what_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept.begin_command(["python", "-m", "x", "--set", "name=two words\n"])
    for name in ("a/1", "a/2", "gone", "b/1", "b/2", "b/3", "b/4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        kept.note_written(name)
    Path("gone").unlink()
    kept.note_kept("a", "step 2 of 9", goes_on=False)
    kept.note_options(["out", "overwrite"])
    assert kept.what_is_kept() == (
        "kept: a (step 2 of 9), 4 files and folders in b; begin again with: "
        r"python -m x --set $'name=two words\x0a' --overwrite"
    )
    kept.note_kept("b", "9 of 9")
    kept.note_to_go_on("--resume")
    assert kept.what_is_kept().endswith(
        r"go on with: python -m x --set $'name=two words\x0a' --resume"
    )
    again = subprocess.run(
        ["bash", "-c", "printf %s $'name=two words\\x0a'"], capture_output=True, check=True
    )
    assert again.stdout == b"name=two words\n"


HANG = """
import hashlib, sys, threading, time
import moon_rec.signals
from moon_rec.command import run

moon_rec.signals.END_SECONDS = 2.0

def main(argv):
    print("begun", file=sys.stderr, flush=True)
    try:
        {body}
    finally:
        {after}

sys.exit(run(main))
"""


HANGING = {
    "in a library": ("hashlib.pbkdf2_hmac('sha256', b'', b'', 300_000_000)", "pass", False, 5),
    "in a library, twice": ("hashlib.pbkdf2_hmac('sha256', b'', b'', 300_000_000)", "pass", True, 4),
    "on its way out": ("time.sleep(100)", "threading.Thread(target=time.sleep, args=(100,)).start()", False, 5),
    "on its way out, twice": ("time.sleep(100)", "time.sleep(100)", True, 4),
}  # fmt: skip
"""What does not end by itself: in a library, where Python sees no signal, or where a thread does not end; whether a second signal comes; the most seconds."""


@pytest.fixture(scope="module")
def hanging(tmp_path_factory):
    """How each ended: exit code, seconds, and what it said. All at once, for they wait."""
    folder = tmp_path_factory.mktemp("hanging")

    def end(number: int) -> tuple[int, float, str]:
        body, after, again, _ = list(HANGING.values())[number]
        script, errors = folder / f"{number}.py", folder / f"{number}.errors"
        script.write_text(HANG.format(body=body, after=after))
        with open(errors, "wb") as file:
            child = subprocess.Popen([sys.executable, str(script)], stderr=file)
        try:
            wait_for(lambda: "begun" in errors.read_text(), child, errors)
            time.sleep(0.2)
            sent = time.monotonic()
            child.send_signal(signal.SIGTERM)
            if again:
                time.sleep(1)
                if child.poll() is None:
                    child.send_signal(signal.SIGTERM)
            return child.wait(60), time.monotonic() - sent, errors.read_text()
        finally:
            child.kill()
            child.wait()

    with ThreadPoolExecutor() as pool:
        return dict(zip(HANGING, pool.map(end, range(len(HANGING))), strict=True))


@pytest.mark.parametrize("name", HANGING)
def test_what_hangs_is_ended(hanging, name):
    _, _, again, most = HANGING[name]
    code, seconds, said = hanging[name]
    # killed by it where the second one comes while Python ends
    assert code in (143, -15 if again else 143)
    assert seconds < most
    assert said.count("stopped by SIGTERM: nothing is kept; begin again with: ") == 1


def test_while_libraries_load(tmp_path):
    """Of a command that loads torch before it reads its words."""
    for wait in (0.3, 1.0):
        errors = tmp_path / "errors"
        child = start(["exchange_rate.study", "SHOP"], errors)
        time.sleep(wait)
        child.send_signal(signal.SIGINT)
        code, said = child.wait(60), errors.read_text()
        # Python itself takes a moment to begin
        assert (
            (code, said) == (-signal.SIGINT, "")
            or (code == 130 and said.startswith("stopped by Ctrl-C: nothing is kept; begin again"))
            or ("runpy" in said and "moon_rec" not in said)
            or "init_import_site" in said
        )


def test_a_simulation_leaves_nothing(tmp_path):
    out, errors = tmp_path / "shop", tmp_path / "errors"
    words = ["moon_rec", "shop", "simulate", "--out", str(out), "--set", "num_users=3000"]
    ended = stop_when(lambda: any(tmp_path.glob(".shop.*")), words, errors, signal.SIGHUP)
    assert ended.code == 129 and ended.seconds < 10
    assert ended.last.startswith("stopped by SIGHUP: nothing is kept; begin again with: ")
    assert ended.last.endswith(shlex.join(words))
    assert [path.name for path in tmp_path.iterdir()] == ["errors"]
