"""The journal can be read after a kill at any byte and on a full disk, and loses nothing it could keep."""

import errno
import json
import os

import pytest

from moon_rec.errors import StudyError
from moon_rec.surroundings import line_of_surroundings
from moon_rec.tracking import Tracker, view
from moon_rec.tracking.commands import main as track
from moon_rec.tracking.journal import VERSION, Journal, JournalReader, new_id, places
from tests.moon_rec.tracking.stand_in import StandIn


def opening(uri="http://127.0.0.1:9"):
    run = new_id()
    about = {"op": "open", "version": VERSION, "id": run, "name": "work", "time": 1000}
    return about | {"uri": uri, "experiment": "moon_rec", "tags": {"moon_rec.run": run}}


def small(root, uri="http://127.0.0.1:9"):
    journal = Journal([root], opening(uri))
    journal.append({"op": "params", "params": {"a": "é\n"}})
    for step in range(3):
        journal.append(
            {"op": "metrics", "time": 1001 + step, "step": step, "metrics": {"x": step / 3}}
        )
    journal.append({"op": "text", "name": "about.json", "text": '{\n"a": 1}'})
    journal.append({"op": "end", "status": "FINISHED", "time": 2000}, sync=True)
    journal.close()
    return journal


def test_a_journal_that_another_process_has_sent_meanwhile_is_none_to_send(tmp_path):
    reader = JournalReader(small(tmp_path).folder)
    handle = reader.lock()
    assert handle is not None
    os.close(handle)
    reader.remove()
    assert reader.lock() is None


def test_a_kill_at_any_byte_leaves_the_whole_lines_before_it(tmp_path):
    whole = small(tmp_path / "whole")
    text = whole.path.read_bytes()
    lines = text.splitlines(keepends=True)
    folder = tmp_path / "cut" / whole.id
    folder.mkdir(parents=True)
    for size in range(len(text) + 1):
        (folder / "entries.jsonl").write_bytes(text[:size])
        reader = JournalReader(folder)
        found = [entry for _, entry in reader.read()]
        kept = [line for end, line in zip(_ends(lines), lines, strict=True) if end <= size]
        assert found == [json.loads(line) for line in kept], size
        assert reader.torn() == size - sum(map(len, kept))
        assert (reader.opening() is None) == (not kept)


def _ends(lines):
    total = 0
    for line in lines:
        total += len(line)
        yield total


def test_what_is_left_after_any_cut_is_sent(tmp_path, state, capsys):
    server = StandIn().start()
    whole = small(tmp_path / "whole", server.uri)
    text = whole.path.read_bytes()
    ends = list(_ends(text.splitlines(keepends=True)))
    for size in sorted({0, 5, *ends, *(end - 1 for end in ends), *(end + 1 for end in ends[:-1])}):
        server.runs = {}
        folder = state / whole.id
        folder.mkdir(parents=True)
        (folder / "entries.jsonl").write_bytes(text[:size])
        track(["send"])
        assert not state.exists()
        num_whole = sum(end <= size for end in ends)
        said = capsys.readouterr().err
        if num_whole == 0:
            assert server.runs == {} and "holds no run and is removed" in said
            continue
        assert len(server.run("work")["metrics"]) == min(max(num_whole - 2, 0), 3)
        assert ("torn last line are cut off" in said) == (size not in ends)
        status = "FINISHED" if num_whole == len(ends) else "KILLED"
        assert server.run("work")["info"]["status"] == status
    server.stop()


def test_zeros_behind_the_last_line_are_cut_off(tmp_path):
    whole = small(tmp_path / "whole")
    with open(whole.path, "ab") as file:
        file.write(b"\0" * 512)
    assert len(list(JournalReader(whole.folder).read())) == 7


def test_a_damaged_line_is_named_and_nothing_is_removed(tmp_path, state):
    whole = small(state)
    lines = whole.path.read_bytes().splitlines(keepends=True)
    whole.path.write_bytes(b"".join([*lines[:2], b"{torn\n", *lines[3:]]))
    before = whole.path.read_bytes()
    with pytest.raises(StudyError, match="line 3: no entry of a journal"):
        track(["send"])
    assert whole.path.read_bytes() == before


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "..", "", "a/b"])
def test_a_name_in_a_journal_is_no_path(tmp_path, state, server, name):
    journal = Journal([state], opening(server.uri))
    journal.append({"op": "file", "name": name, "digest": "0"})
    journal.append({"op": "end", "status": "FINISHED", "time": 2000})
    journal.close()
    with pytest.raises(StudyError, match="is no name of a file"):
        track(["send"])
    assert server.files == {}


class FullDisk:
    """Writes to journals fail while it is full, the first of them halfway."""

    def __init__(self, monkeypatch, whole=os.write):
        self.is_full, self._whole = False, whole
        monkeypatch.setattr("moon_rec.tracking.journal.os.write", self._write)

    def _write(self, handle, data):
        if not self.is_full:
            return self._whole(handle, data)
        if len(data) > 10:
            return self._whole(handle, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_no_run_and_loses_nothing_when_there_is_room_again(
    tmp_path, monkeypatch, server, state
):
    server.stop()
    disk = FullDisk(monkeypatch)
    with Tracker(server.uri).run("work", "training", {}, {}) as run:
        for step in range(30):
            disk.is_full = 10 <= step < 20
            run.log({"loss": float(step)}, step)
    (folder,) = state.iterdir()
    found = view.of_journal(JournalReader(folder))
    assert found["status"] == "FINISHED" and found["metrics"] == {"loss": 29.0}
    steps = [one["step"] for _, one in JournalReader(folder).read() if one["op"] == "metrics"]
    assert steps == list(range(30))


def test_with_a_full_disk_a_server_that_answers_has_all(tmp_path, monkeypatch, server, state):
    disk = FullDisk(monkeypatch)
    disk.is_full = True
    file = tmp_path / "figures.txt"
    file.write_text("1 2 3")
    with Tracker(server.uri).run("work", "training", {}, {}) as run:
        for step in range(5):
            run.log({"loss": float(step)}, step)
        run.artifact(file)
    assert [one["value"] for one in server.run("work")["metrics"]] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert server.run("work")["info"]["status"] == "FINISHED"
    assert list(server.files.values()) == [b"1 2 3"]


def test_with_a_full_disk_and_no_server_the_loss_is_told(monkeypatch, server, capsys):
    server.stop()
    FullDisk(monkeypatch).is_full = True
    with Tracker(server.uri).run("work", "training", {}, {}) as run:
        run.log({"loss": 1.0})
    said = capsys.readouterr().err
    assert "cannot be written (No space left on device)" in said and "4 entries are lost" in said


def test_a_file_that_a_full_disk_kept_out_is_told_with_that(tmp_path, monkeypatch, state):
    """Its journal has no copy, and the file itself is gone since: nobody's store is at fault."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("moon_rec.tracking.journal.shutil.copyfile", full)
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"a sheet")
    journal = Journal([state], opening())
    journal.append_file(sheet)
    journal.append({"op": "end", "status": "FINISHED", "time": 2000}, sync=True)
    journal.close()
    sheet.unlink()
    with pytest.raises(StudyError) as told:
        Tracker("http://127.0.0.1:9").fetch(journal.id, "sheet.png")
    assert "could not be copied when it was tracked: No space left on device" in str(told.value)
    assert "put the store's artifacts back" not in str(told.value)


def test_without_room_for_a_fetched_file_it_is_the_disk_that_is_told(database, monkeypatch):
    tracker = Tracker(f"sqlite:///{database}")
    with tracker.run("a", "study", {}, {}) as run:
        pass

    def full(*_):
        try:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        except OSError as error:
            raise RuntimeError("download failed") from error

    monkeypatch.setattr(tracker._store, "download", full)
    with pytest.raises(RuntimeError) as told:
        tracker.fetch(run.id, "sheet.png")
    line = line_of_surroundings(told.value)
    assert line is not None and "EFBIG" in line


def test_a_running_run_is_left_to_its_own_process(server, state):
    server.stop()
    with Tracker(server.uri).run("work", "training", {}, {}):
        server.start()
        with pytest.raises(StudyError, match="is being written"):
            track(["send"])


def test_where_journals_lie(tmp_path, state, monkeypatch):
    assert places(f"sqlite:///{tmp_path}/runs/mlflow.db") == [tmp_path / "runs/.moon_rec-journal"]
    assert places("http://host") == [state, tmp_path / ".moon_rec-journal"]
    monkeypatch.setenv("MOON_REC_JOURNAL", "elsewhere")
    assert places("http://host") == [tmp_path / "elsewhere"]
