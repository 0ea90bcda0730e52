"""Outputs: marks, refusals, and that a folder is the old one or the new one at every moment."""

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from moon_rec import temporaries
from moon_rec.errors import MoonRecError, os_error_line
from moon_rec.files import atomic_file, write_json
from moon_rec.outputs import (
    OutputKind,
    atomic_folder,
    check_output,
    check_room,
    json_with,
    remove_folder,
)

FILES = ("data", "below/*.txt", "tree/**")
THING = OutputKind("a thing", "thing.json", json_with("thing"), FILES)
OTHER = OutputKind("another thing", "other.json", json_with("other"), FILES)
NOTE = OutputKind("a note of ours", "", json_with("note"))
SINGLE = {"thing.json", "data", "below", "below/one.txt"}


def make(folder: Path, value: object = 1, overwrite: bool = False) -> Path:
    """A thing whose two files agree."""
    with atomic_folder(folder, THING, overwrite) as inside:
        (inside / "data").write_text(str(value))
        (inside / "below").mkdir()
        (inside / "below" / "one.txt").write_text("text")
        write_json(inside / "thing.json", {"thing": value})
    return folder


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_nothing_half_written_is_left(tmp_path):
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a.json") as path:
        path.write_text("half")
        raise RuntimeError
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "folder", THING) as folder:
        (folder / "part").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_only_when_asked(tmp_path):
    out = make(tmp_path / "out", "old")
    with pytest.raises(MoonRecError, match="exists already; --overwrite replaces it"):
        make(out, "new")
    assert (out / "data").read_text() == "old"
    check_output(out, THING, overwrite=True)
    make(out, "new", overwrite=True)
    assert (out / "data").read_text() == "new"
    assert names(tmp_path) == {"out", *(f"out/{name}" for name in SINGLE)}


def spoil(folder: Path, name: str, text: str = "mine") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


REFUSED = {
    "a stranger's file": (lambda out: spoil(out, "mlflow.db"), "it holds mlflow.db"),
    "one below": (lambda out: spoil(out, "below/notes.md"), "it holds below/notes.md"),
    "a folder": (lambda out: (out / "cells").mkdir(), "it holds cells"),
    "a folder below": (lambda out: (out / "below" / "x.txt").mkdir(), "it holds below/x.txt"),
    "a hidden file": (lambda out: spoil(out, ".git/HEAD"), "it holds .git"),
    "a link within": (lambda out: (out / "below" / "a.txt").symlink_to("/etc"), "below/a.txt"),
    "no mark": (lambda out: (out / "thing.json").unlink(), "it has no thing.json"),
    "another's mark": (lambda out: spoil(out, "thing.json", '{"else": 1}'), "not that of a thing"),
    "a mark that is no JSON": (lambda out: spoil(out, "thing.json", "{"), "not that of a thing"),
    "a mark of bytes": (lambda out: (out / "thing.json").write_bytes(b"\xff\0"), "not that of"),
    "a mark that is a list of words": (lambda out: spoil(out, "thing.json", '["a"]'), "not that"),
}


@pytest.mark.parametrize("damage", REFUSED)
def test_what_is_not_ours_is_never_replaced(tmp_path, damage):
    out = make(tmp_path / "out")
    break_it, says = REFUSED[damage]
    break_it(out)
    before = names(tmp_path)
    for act in (
        lambda: check_output(out, THING, overwrite=True),
        lambda: make(out, 2, overwrite=True),
        lambda: remove_folder(out, THING),
    ):
        with pytest.raises(MoonRecError) as error:
            act()
        assert says in str(error.value) and "\n" not in str(error.value)
        assert names(tmp_path) == before


def test_a_folder_of_another_kind_is_refused_and_an_empty_one_is_not(tmp_path):
    out = make(tmp_path / "out")
    with pytest.raises(MoonRecError, match=r"it has no other\.json"):
        check_output(out, OTHER, overwrite=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MoonRecError, match="exists already; --overwrite"):
        check_output(tmp_path / "empty", THING)
    make(tmp_path / "empty", overwrite=True)


def test_a_tree_of_ours_may_hold_anything(tmp_path):
    out = make(tmp_path / "out")
    spoil(out, "tree/of/any/depth.bin")
    check_output(out, THING, overwrite=True)


def test_a_single_file_is_its_own_mark(tmp_path):
    write_json(tmp_path / "ours.json", {"note": 1})
    write_json(tmp_path / "theirs.json", {"else": 1})
    (tmp_path / "folder").mkdir()
    check_output(tmp_path / "ours.json", NOTE, overwrite=True)
    for name, says in (("theirs.json", "it is not a note of ours"), ("folder", "it is a folder")):
        with pytest.raises(MoonRecError, match=says):
            check_output(tmp_path / name, NOTE, overwrite=True)
    for place in ("/dev/full", "/dev/stdout"):
        with pytest.raises(MoonRecError, match="exists already and is not replaced"):
            check_output(place, NOTE, overwrite=True)


@pytest.mark.parametrize("place", ["/", ".", "..", "out/..", "/proc"])
def test_places_that_are_never_replaced(tmp_path, monkeypatch, place):
    make(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MoonRecError, match=r"cannot be written|is not replaced"):
        check_output(place, THING, overwrite=True)


def test_links_inputs_home_and_the_working_directory_are_kept(tmp_path, monkeypatch):
    out = make(tmp_path / "out")
    for name, target in (("link", out), ("nowhere", tmp_path / "gone")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(MoonRecError, match="it is a link to"):
            check_output(tmp_path / name, THING, overwrite=True)
    for inside in (out, out / "data", tmp_path / "link" / "below"):
        with pytest.raises(MoonRecError, match=r"it (is|holds) the input"):
            check_output(out, THING, overwrite=True, inputs=(None, inside))
    check_output(out, THING, overwrite=True, inputs=(tmp_path, tmp_path / "outside"))
    monkeypatch.setenv("HOME", str(out / "below"))
    with pytest.raises(MoonRecError, match="it holds the home directory"):
        check_output(out, THING, overwrite=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(out)
    with pytest.raises(MoonRecError, match="it is the working directory"):
        check_output(out, THING, overwrite=True)


UNWRITABLE = {
    "below a file": ("file/new", "file is a file, not a folder"),
    "far below a file": ("file/a/b/new", "file is a file, not a folder"),
    "below a link to nowhere": ("dangling/new", "dangling is a link that leads nowhere"),
    "below a link to itself": ("circle/new", "circle is a link that leads nowhere"),
    "a name too long": ("x" * 300, "the name is too long (ENAMETOOLONG)"),
    "a name too long, further down": (f"a/{'x' * 300}/b", "the name is too long (ENAMETOOLONG)"),
    "a file system that can only be read": ("/proc/1/new", "/proc/1/new: "),
    "the system's own": ("/sys/kernel/new", "/sys/kernel/new: "),
}


@pytest.mark.parametrize("case", UNWRITABLE)
def test_a_place_that_cannot_be_written_is_told_before_any_work(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "circle").symlink_to("circle")
    place, says = UNWRITABLE[case]
    before = names(tmp_path)
    for kind in (THING, NOTE):
        with pytest.raises(MoonRecError) as error:
            check_output(place, kind)
        assert says in str(error.value) and "\n" not in str(error.value)
    assert names(tmp_path) == before


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_full_or_broken_disk_is_told_before_any_work(tmp_path, monkeypatch, call, number):
    """The fault is injected into `open` or `os.fsync`: no file system can be mounted in a test."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(MoonRecError, match=rf"new: .* \({errno.errorcode[number]}\); "):
        check_output(tmp_path / "new", THING)
    monkeypatch.undo()
    assert names(tmp_path) == set()


def test_a_limit_on_the_size_of_files_is_told_before_any_work(tmp_path):
    """RLIMIT_FSIZE, which root obeys, too: the one full disk that a test can have."""
    code = """
    import resource, signal, sys
    from tests.moon_rec.test_outputs import THING, MoonRecError, check_output
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        check_output(sys.argv[1], THING)
    except MoonRecError as error:
        print(error)
    """
    out = run_python(code, tmp_path / "new")
    assert "the file may not grow so large (EFBIG)" in out
    assert names(tmp_path) == set()


def test_a_disk_with_too_little_room_is_told(tmp_path):
    check_room(tmp_path / "a" / "b", 1000)
    with pytest.raises(MoonRecError, match=r"b needs about [\d,]+ MiB, and .* has [\d,]+ MiB left"):
        check_room(tmp_path / "a" / "b", 1 << 60)


def run_python(code: str, *words: object) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


LOOKS = {
    "fspath", "stat", "lstat", "fstat", "text_encoding", "_path_normpath", "scandir", "listdir", "getpid", "getcwd",
}  # fmt: skip
"""Calls that change nothing on the disk: killed before one or after it is the same."""


def calls_of(act) -> list[str]:
    """What it asks of the system, in order."""
    names = []

    def note(_frame, event, what):
        if event == "c_call" and what.__module__ in ("posix", "_io", "io"):
            names.append(what.__name__)

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return names


def in_a_child(act, at: int) -> bool:
    """Run `act` in a process that is killed before its call number `at` of the system; whether it came to that."""
    child = os.fork()
    if child == 0:
        left = at

        def count(_frame, event, what):
            nonlocal left
            if event == "c_call" and what.__module__ in ("posix", "_io", "io"):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.setprofile(count)
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def value_of(out: Path) -> str | None:
    """The value of a whole thing; None where there is none."""
    if not out.exists():
        return None
    assert names(out) == SINGLE, names(out)
    value = (out / "data").read_text()
    assert f'"thing": "{value}"' in (out / "thing.json").read_text()
    return value


@pytest.mark.parametrize("exchanges", [True, False], ids=["exchange", "fall-back"])
def test_killed_between_any_two_calls_there_is_the_old_or_the_new(tmp_path, monkeypatch, exchanges):
    if not exchanges:
        monkeypatch.setattr(temporaries, "_exchanged", lambda *_: False)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the kernel is not killed
    out, gone, seen = tmp_path / "out", 0, set()
    make(out, "old")
    calls = calls_of(lambda: make(out, "new", overwrite=True))
    moments = [0, *(at for at, before in enumerate(calls, 1) if before not in LOOKS)]
    for at in moments:
        make(out, "old", overwrite=True)
        is_killed = in_a_child(lambda: make(out, "new", overwrite=True), at)
        assert is_killed or at > len(calls) - 5  # the profiler's own end is among them
        value = value_of(out)
        seen.add(value)
        gone += value is None
        # the next run of the same output sees a whole one, and removes what the dead one left
        with contextlib.suppress(MoonRecError):
            check_output(out, THING)
        assert value_of(out) in ("old", "new")
        assert [path.name for path in tmp_path.iterdir()] == ["out"], at
    assert len(calls) > 50 and len(moments) > 30 and {"old", "new"} <= seen
    assert gone == 0 if exchanges else gone > 0, "the fall-back has a moment without, and says so"


def test_a_reader_sees_a_whole_folder_at_every_moment(tmp_path):
    """Another process looks as often as it can while a folder is replaced 100 times."""
    out = make(tmp_path / "out", "0")
    reader = """
    import os, sys
    print("ready", flush=True)
    out, looks, missing = sys.argv[1], 0, 0
    while not os.path.exists(out + ".done"):
        looks += 1
        missing += not os.path.exists(out + "/thing.json")
    print(looks, missing)
    """
    command = [sys.executable, "-c", textwrap.dedent(reader), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for number in range(100):
            make(out, str(number), overwrite=True)
        (tmp_path / "out.done").touch()
        looks, missing = map(int, process.stdout.read().split())
    assert looks > 100 and missing == 0


def test_a_fall_back_that_fails_puts_the_old_one_back(tmp_path, monkeypatch):
    out = make(tmp_path / "out", "old")
    monkeypatch.setattr(temporaries, "_exchanged", lambda *_: False)
    rename, calls = os.rename, []

    def fail_at_the_second(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "failed")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_at_the_second)
    with pytest.raises(OSError, match="failed"):
        make(out, "new", overwrite=True)
    assert value_of(out) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_was_made_is_kept_where_a_stranger_took_its_place_meanwhile(tmp_path):
    out = tmp_path / "out"
    with (
        pytest.raises(MoonRecError, match="what was made is kept in ") as error,
        atomic_folder(out, THING) as folder,
    ):
        (folder / "data").write_text("hours of work")
        spoil(out, "theirs.txt")
    kept = Path(str(error.value).rpartition(" ")[2])
    assert (kept / "data").read_text() == "hours of work"
    assert (out / "theirs.txt").read_text() == "mine"


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_files_and_folders_have_the_umasks_mode(tmp_path, umask):
    """Also those that a library writes as 0600, such as safetensors."""
    before = os.umask(umask)
    try:
        with atomic_folder(tmp_path / "out", THING) as folder:
            (folder / "data").touch(0o600)
            (folder / "below").mkdir(0o700)
            os.close(os.open(folder / "below" / "one.txt", os.O_CREAT, 0o777))
            write_json(folder / "thing.json", {"thing": 1})
        with atomic_file(tmp_path / "file") as path:
            path.unlink()
            path.touch(0o600)
    finally:
        os.umask(before)
    for path in (tmp_path / "out", *(tmp_path / "out").rglob("*"), tmp_path / "file"):
        wanted = (0o777 if path.is_dir() else 0o666) & ~umask
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_what_takes_a_place_is_on_the_disk_before(tmp_path, monkeypatch):
    """Every file and folder is synced, then renamed, then the folder around it is synced."""
    order: list[str] = []
    sync, rename = os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda handle: (order.append(os.readlink(f"/proc/self/fd/{handle}")), sync(handle))
    )  # fmt: skip
    monkeypatch.setattr(os, "rename", lambda *names: (order.append("rename"), rename(*names)))
    make(tmp_path / "out")
    at = order.index("rename")
    synced = {Path(name).name for name in order[:at]}
    assert {"data", "one.txt", "below"} <= synced
    assert order[at - 1].startswith(f"{tmp_path}/.out.") and order[at + 1] == str(tmp_path)


def named(path: Path, pid: int, start: object, host: str | None = None, end: str = "tmp") -> Path:
    prefix = f"{temporaries._prefix(path)}{host or temporaries._host()}.{pid}-{start}.0.{end}"
    return path.with_name(prefix)


def test_temporaries_of_the_dead_go_and_all_others_stay(tmp_path):
    out, own = tmp_path / "out.json", os.getpid()
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    start = temporaries._start_of(own)
    gone = [named(out, dead.pid, 1), named(out, own, 12345), named(out, 2**22 + 5, 1)]
    gone[0].mkdir()
    spoil(gone[0], "half/written")
    for path in gone[1:]:
        path.touch()
    stay = [
        named(out, own, start),
        named(out, os.getppid(), temporaries._start_of(os.getppid())),
        named(out, 1, temporaries._start_of(1)),
        named(out, dead.pid, 1, host="elsewhere-f00"),
        named(tmp_path / "other.json", dead.pid, 1),
        tmp_path / ".out.json.notes.tmp",
        tmp_path / f".out.json.{dead.pid}.tmp",
        tmp_path / "out.json.bak",
    ]
    for path in stay:
        path.touch()
    write_json(out, {"note": 1})
    assert [path for path in gone if path.exists()] == []
    assert [path for path in stay if not path.exists()] == []


def test_a_folder_of_our_own_is_swept_whatever_the_names(tmp_path):
    gone = [named(tmp_path / name, 2**22 + 5, 1) for name in ("a", "b.c", ".d")]
    stay = [named(tmp_path / "a", os.getpid(), temporaries._start_of(os.getpid())), tmp_path / ".x"]
    for path in (*gone, *stay):
        path.touch()
    temporaries.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(stay)


def test_a_killed_process_that_nobody_waited_for_is_dead(tmp_path):
    child = os.fork()
    if child == 0:
        signal.pause()
    path = named(tmp_path / "out", child, temporaries._start_of(child))
    path.touch()
    try:
        temporaries.remove_leftovers(tmp_path / "out")
        assert path.exists()
        os.kill(child, signal.SIGKILL)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        temporaries.remove_leftovers(tmp_path / "out")
        assert not path.exists()
    finally:
        os.waitpid(child, 0)


def test_an_old_one_that_a_dead_process_retired_is_put_back(tmp_path):
    out = make(tmp_path / "out", "old")
    out.rename(named(out, 2**22 + 5, 1, end="old"))
    with pytest.raises(MoonRecError, match="exists already"):
        check_output(out, THING)
    assert value_of(out) == "old"


@pytest.mark.parametrize(
    "name", ["x" * 255, "ä" * 127, "a b'\"\n*?[", "-rf", ".hidden", "日本" * 40]
)
def test_any_name_that_a_file_may_have(tmp_path, name):
    make(tmp_path / name)
    make(tmp_path / name, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_complaint_of_the_system_is_one_line(number):
    line = os_error_line(OSError(number, os.strerror(number), "/some/where"))
    assert line.startswith("/some/where: ") and "\n" not in line
    assert errno.errorcode[number] in line
    assert os_error_line(OSError("odd\nthing"), "here") == "here: odd"


def test_a_full_device_is_told_in_one_line():
    """/dev/full: a real ENOSPC, from the kernel."""
    with pytest.raises(OSError) as error, open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")
    assert os_error_line(error.value, "out/weights") == (
        "out/weights: the disk is full (ENOSPC); make room or name another disk"
    )
