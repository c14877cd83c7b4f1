"""Real control groups of either version, where this system has them and lets us make one."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from hardware.errors import Condition, WriteRefused
from hardware.job import JobState
from hardware.process.freezer import FreezerV1, FreezerV2, freezer_of
from tests.lab import eventually
from tests.unit.hardware.process.conftest import declared

PLACES = {
    "v1": (Path("/sys/fs/cgroup/freezer"),),
    "v2": (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")),
}
KNOWN_BY = {"v1": "freezer.state", "v2": "cgroup.freeze"}


@pytest.fixture(params=["v1", "v2"])
def cgroup(request):
    """An empty control group with a freezer."""
    for place in PLACES[request.param]:
        path = place / f"gridgate-test-{os.getpid()}"
        try:
            path.mkdir()
        except OSError:
            continue
        if (path / KNOWN_BY[request.param]).exists():
            break
        path.rmdir()
    else:
        pytest.skip(f"no freezer of {request.param} may be made here")
    yield path
    freezer = freezer_of(path)
    freezer.thaw()
    eventually("the last process has left it", lambda: removed(path), within_s=30, every_s=0.02)


def removed(cgroup):
    """Whether it could be removed: who was killed in it stays until somebody has taken note."""
    try:
        cgroup.rmdir()
    except OSError:
        return False
    return True


def join(cgroup, job):
    for pid in job.pids():
        # Children of a rank end while we look; those born later are where the rank is.
        with suppress(ProcessLookupError):
            (cgroup / "cgroup.procs").write_text(str(pid))


def test_every_process_freezes_and_thaws(cgroup, start, open_driver):
    job = start(3, forks=True)
    driver = open_driver(declared(job, pid_file=None, cgroup=cgroup))
    assert driver.jobs()[0].state is JobState.FINISHED
    join(cgroup, job)
    assert driver.jobs()[0].state is JobState.RUNNING
    for _ in range(3):
        driver.pause("train")
        assert job.stands()
        assert driver.jobs()[0].state is JobState.PAUSED
        driver.resume("train")
        assert driver.jobs()[0].state is JobState.RUNNING
    job.goes_on()
    driver.resume("train")


def test_group_that_was_frozen_and_emptied_is_thawed(cgroup, open_driver, start):
    job = start(1)
    driver = open_driver(declared(job, pid_file=None, cgroup=cgroup))
    freezer_of(cgroup).freeze()
    assert driver.jobs()[0].state is JobState.PAUSED, "who joins it now stands, too"
    driver.resume("train")
    assert driver.jobs()[0].state is JobState.FINISHED


def test_versions_are_told_apart_and_no_freezer_is_none(cgroup, tmp_path):
    assert isinstance(freezer_of(cgroup), FreezerV1 if (cgroup / "freezer.state").exists() else FreezerV2)
    assert freezer_of(tmp_path) is None


def test_freezer_that_may_not_be_written_is_a_named_fault(start, open_driver, tmp_path, monkeypatch):
    job = start(1)
    (tmp_path / "cgroup.procs").write_text(f"{job.process.pid}\n")
    (tmp_path / "freezer.state").write_text("THAWED\n")

    def refuses(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FreezerV1, "freeze", refuses)
    driver = open_driver(declared(job, pid_file=None, cgroup=tmp_path))
    with pytest.raises(WriteRefused) as refused:
        driver.pause("train")
    assert refused.value.condition is Condition.NO_PERMISSION
    assert "hand it the control group" in refused.value.cure
    assert not job.stands()
