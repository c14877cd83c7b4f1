"""What goes wrong with real processes: each ends in a named state, with a cure, and nothing half done."""

import ctypes
import os
import signal
import tempfile
from pathlib import Path

import pytest

from hardware.errors import Condition, HardwareError, WriteRefused
from hardware.job import JobState
from hardware.process import driver as driver_module
from tests.lab import eventually
from tests.unit.hardware.process.conftest import declared

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process as somebody else")

PTRACE_ATTACH, PTRACE_DETACH = 16, 17


def as_nobody(call):
    """What the call returns in a child process that has no rights."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writer, call().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


@needs_root
def test_no_permission_means_no_pause_and_says_what_is_missing(start, open_driver):
    job = start(2)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        pid_file = Path(folder, "job.pid")
        pid_file.write_text(job.pid_file.read_text())
        driver = open_driver(declared(job, pid_file=pid_file))

        def pause():
            try:
                driver.pause("train")
            except WriteRefused as refused:
                return f"{refused.condition} | {refused.cure}"
            return "paused"

        assert as_nobody(pause).startswith("no permission | run the agent as root")
    assert not job.stands()


def test_rank_that_may_not_be_stopped_undoes_the_pause_of_the_others(start, open_driver, monkeypatch):
    job = start(3)
    driver = open_driver(declared(job))
    refused_pid, real_send = job.pids()[-1], driver_module.send

    def send(process, number):
        if process.pid == refused_pid and number == signal.SIGSTOP:
            raise PermissionError
        return real_send(process, number)

    monkeypatch.setattr(driver_module, "send", send)
    with pytest.raises(WriteRefused) as refused:
        driver.pause("train")
    assert refused.value.condition is Condition.NO_PERMISSION
    assert "CAP_KILL" in refused.value.cure
    job.goes_on()
    assert driver.jobs()[0].state is JobState.RUNNING


def test_rank_that_does_not_stop_in_time_undoes_the_pause_of_the_others(start, open_driver, monkeypatch):
    job = start(3)
    deaf_pid, real_send = job.pids()[-1], driver_module.send
    monkeypatch.setattr(driver_module, "STOP_S", 0.1)
    # As a rank in state D does: the signal is taken, and nothing comes of it.
    monkeypatch.setattr(
        driver_module, "send", lambda process, number: process.pid == deaf_pid or real_send(process, number)
    )
    driver = open_driver(declared(job))
    with pytest.raises(HardwareError, match="within") as refused:
        driver.pause("train")
    assert refused.value.condition is Condition.NOT_IN_FORCE
    assert "state D" in refused.value.cure
    monkeypatch.undo()
    job.goes_on()
    assert driver.jobs()[0].fault is None


def test_job_that_ends_while_it_is_being_paused_has_finished(start, open_driver, monkeypatch):
    job = start(2)
    driver = open_driver(declared(job))
    real_send = driver_module.send

    def send(process, number):
        if number is not None:
            job.end()
        return real_send(process, number)

    monkeypatch.setattr(driver_module, "send", send)
    driver.pause("train")
    assert driver.jobs()[0].state is JobState.FINISHED
    driver.resume("train")
    assert driver.jobs()[0].fault is None


def test_traced_rank_holds_up_the_resume_and_is_named(start, open_driver, monkeypatch):
    job = start(2)
    libc = ctypes.CDLL(None, use_errno=True)
    traced_pid = job.pids()[-1]
    driver = open_driver(declared(job))
    driver.pause("train")
    if libc.ptrace(PTRACE_ATTACH, traced_pid, None, None) != 0:
        pytest.skip("this system does not let processes be traced")
    monkeypatch.setattr(driver_module, "STOP_S", 0.2)
    try:
        with pytest.raises(HardwareError, match="continue") as refused:
            driver.resume("train")
        assert "traced" in refused.value.cure
        view = driver.jobs()[0]
        assert (view.state, view.fault.condition) == (JobState.RUNNING, Condition.NOT_IN_FORCE)
        assert "1 of its 2" in view.fault.detail
    finally:
        libc.ptrace(PTRACE_DETACH, traced_pid, None, None)
    driver.resume("train")
    job.goes_on()


def test_record_that_cannot_be_written_means_no_pause(start, open_driver, tmp_path):
    job = start(2)
    driver = open_driver(declared(job), guarded=True)
    (tmp_path / "stopped.json.new").mkdir()
    with pytest.raises(WriteRefused, match="on record"):
        driver.pause("train")
    (tmp_path / "stopped.json.new").rmdir()
    assert not job.stands()
    assert driver.jobs()[0].state is JobState.RUNNING


def test_zombies_do_not_count(start, open_driver):
    job = start(1)
    driver = open_driver(declared(job))
    os.kill(job.process.pid, signal.SIGKILL)
    eventually("it has ended", lambda: driver.jobs()[0].state is JobState.FINISHED, within_s=10, every_s=0.02)
