"""The journal on real files, damaged in every way that a crash or a person can damage it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardware.errors import JournalUnreadable
from hardware.journal import Journal, PriorLimit, boot_id

ENTRY = PriorLimit(found_w=400.0, written_w=200.0, before_w=400.0)


def opened(path: Path | None) -> Journal:
    journal = Journal(path)
    journal.open()
    return journal


def test_what_was_committed_is_found_again(tmp_path):
    path = tmp_path / "deeper" / "journal.json"
    first = opened(path)
    first.commit(epoch=7, limits={"a": ENTRY}, paused=frozenset({"job"}))
    first.close()
    second = opened(path)
    assert second.state == first.state
    second.commit(limits={})
    second.close()
    assert opened(path).state.epoch == 7


def test_in_memory_there_is_nothing_to_find():
    journal = opened(None)
    journal.commit(epoch=3, limits={"a": ENTRY})
    assert journal.state.limits == {"a": ENTRY}
    assert opened(None).state.limits == {}


def test_nothing_is_committed_before_it_was_opened(tmp_path):
    with pytest.raises(JournalUnreadable, match="not open"):
        Journal(tmp_path / "journal.json").commit(epoch=1)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"version": 3}',
        b'{"version": 2}',
        b'{"version": 1}',
        b'{"version": 1, "epoch": "x", "limits": {}, "paused": []}',
        b'{"version": 1, "epoch": 1, "limits": {"a": [400, 200]}, "paused": []}',
        b'{"version": 1, "epoch": 1, "limits": {"a": [400, NaN, 400, false]}, "paused": []}',
        b'{"version": 1, "epoch": 1, "limits": {"a": ["x", 200, 400, false]}, "paused": []}',
        b'{"version": 1, "epoch": 1, "limits": {}, "paused": 3}',
        b"[" * 100_000,
    ],
)
def test_journal_that_cannot_be_read_is_said_so_and_kept(tmp_path, raw):
    path = tmp_path / "journal.json"
    path.write_bytes(raw)
    journal = Journal(path)
    with pytest.raises(JournalUnreadable):
        journal.open()
    with pytest.raises(JournalUnreadable):
        journal.commit(epoch=1)
    assert path.read_bytes() == raw


def test_journal_may_be_mended_and_opened_then(tmp_path):
    path = tmp_path / "journal.json"
    path.write_bytes(b"{")
    journal = Journal(path)
    with pytest.raises(JournalUnreadable):
        journal.open()
    path.unlink()
    journal.open()
    journal.commit(epoch=1)
    assert json.loads(path.read_bytes())["epoch"] == 1


def test_torn_file_beside_it_is_no_harm(tmp_path):
    path = tmp_path / "journal.json"
    first = opened(path)
    first.commit(limits={"a": ENTRY})
    first.close()
    path.with_name("journal.json.new").write_bytes(b'{"version": 1, "ep')
    second = opened(path)
    assert second.state.limits == {"a": ENTRY}
    second.commit(limits={})
    second.close()
    assert opened(path).state.limits == {}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_write_that_fails_leaves_the_old_state_on_disk_and_in_memory(tmp_path, monkeypatch, step):
    path = tmp_path / "journal.json"
    journal = opened(path)
    journal.commit(epoch=1, limits={"a": ENTRY})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path if step == "replace" else os, step, full)
    with pytest.raises(JournalUnreadable, match="No space"):
        journal.commit(epoch=2, limits={})
    monkeypatch.undo()
    assert journal.state.epoch == 1
    journal.close()
    assert opened(path).state.limits == {"a": ENTRY}


def test_unchanged_state_is_not_written(tmp_path):
    path = tmp_path / "journal.json"
    journal = opened(path)
    journal.commit(epoch=1, limits={"a": ENTRY})
    written = path.stat().st_ino
    journal.commit(epoch=1, limits={"a": ENTRY})
    assert path.stat().st_ino == written
    journal.commit(epoch=2)
    assert path.stat().st_ino != written


def test_second_agent_does_not_get_it(tmp_path):
    path = tmp_path / "journal.json"
    first = opened(path)
    second = Journal(path)
    with pytest.raises(JournalUnreadable, match="another agent"):
        second.open()
    first.close()
    second.open()


def test_lock_ends_with_the_process_that_held_it(tmp_path):
    path = tmp_path / "journal.json"
    program = (
        "import os, pathlib, signal, sys\n"
        "from hardware.journal import Journal, PriorLimit\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\n"
        "journal.open()\n"
        "journal.commit(epoch=4, limits={'a': PriorLimit(400.0, 200.0, 400.0)})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=root, check=False)
    assert done.returncode == -9
    assert opened(path).state.limits == {"a": ENTRY}


def test_only_we_may_read_it(tmp_path):
    path = tmp_path / "journal.json"
    opened(path).commit(epoch=1)
    assert path.stat().st_mode & 0o777 == 0o600


def test_this_life_of_the_machine_has_a_name_or_none(tmp_path, monkeypatch):
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip() != ""
    assert Journal(None, boot_id="now").boot_id == "now"
    monkeypatch.setattr("hardware.journal.BOOT_ID_PATH", tmp_path / "none")
    assert boot_id() == ""


def test_cure_of_a_damaged_file_is_not_that_of_a_disk(tmp_path):
    (tmp_path / "journal").write_bytes(b"{")
    with pytest.raises(JournalUnreadable, match="move the file away"):
        Journal(tmp_path / "journal").open()
    (tmp_path / "journal").unlink()
    (tmp_path / "journal").mkdir()
    with pytest.raises(JournalUnreadable, match="look at the disk"):
        Journal(tmp_path / "journal").open()
