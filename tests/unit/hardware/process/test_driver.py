"""Jobs that are real processes, stopped and continued as a whole."""

import os
import signal
from contextlib import suppress

import pytest

from hardware.errors import Condition, HardwareError, Unsupported, WriteRefused
from hardware.job import JobState, PauseMethod
from hardware.job_terms import JobTerms
from hardware.process.members import Checkpoint, Reach
from hardware.process.tasks import Process, send, status
from tests.lab import eventually
from tests.unit.hardware.process.conftest import declared


def state(driver):
    (job,) = driver.jobs()
    return job.state


@pytest.mark.parametrize("reach", list(Reach))
def test_all_ranks_stop_and_go_on_together(start, open_driver, reach):
    job = start(3)
    driver = open_driver(declared(job, reach=reach))
    assert state(driver) is JobState.RUNNING
    driver.pause("train")
    assert job.stands()
    assert state(driver) is JobState.PAUSED
    driver.pause("train")
    driver.resume("train")
    assert state(driver) is JobState.RUNNING
    job.goes_on()
    driver.resume("train")
    assert state(driver) is JobState.RUNNING


def test_no_child_escapes_that_is_born_while_the_others_are_stopped(start, open_driver):
    job = start(4, forks=True)
    driver = open_driver(declared(job))
    for _ in range(8):
        driver.pause("train")
        assert job.stands(0.08)
        driver.resume("train")
    job.goes_on()


def test_progress_is_processor_time_and_stands_still_while_stopped(start, open_driver):
    job = start(2)
    driver = open_driver(declared(job))

    def progress():
        return driver.jobs()[0].progress

    first = progress()
    eventually("processor time is used", lambda: progress() > first, within_s=20, every_s=0.02)
    driver.pause("train")
    stopped = progress()
    assert job.stands()
    assert progress() == stopped


def test_job_without_processes_has_finished(start, open_driver, tmp_path):
    job = start(1)
    driver = open_driver(declared(job), declared(job, job_id="never", pid_file=tmp_path / "none.pid"))
    assert [one.state for one in driver.jobs()] == [JobState.RUNNING, JobState.FINISHED]
    job.end()
    assert driver.jobs()[0].state is JobState.FINISHED
    with pytest.raises(Unsupported, match="no process"):
        driver.pause("train")
    driver.resume("train")
    with pytest.raises(Unsupported, match="no such job"):
        driver.resume("unheard-of")


def test_number_that_was_given_to_another_process_is_not_the_job(start, open_driver, monkeypatch):
    job, stranger = start(1), start(1)
    driver = open_driver(declared(job, reach=Reach.TREE))
    assert state(driver) is JobState.RUNNING
    job.end()
    known = {job.process.pid: status(stranger.process.pid)}
    reused = known[job.process.pid]._replace(process=Process(job.process.pid, reused_start := 2**40))
    monkeypatch.setattr("hardware.process.driver.every", lambda: {job.process.pid: reused})
    assert reused_start
    assert state(driver) is JobState.FINISHED


def test_signal_never_reaches_whoever_has_the_number_now(start):
    job = start(1)
    real = status(job.process.pid).process
    assert send(real, None)
    assert not send(real._replace(started=real.started - 1), signal.SIGSTOP)
    assert not job.stands()


def test_leader_has_to_match_the_command(start, open_driver):
    job = start(1)
    wanted, other = declared(job, command="*process_job*"), declared(job, job_id="other", command="*nginx*")
    assert [one.state for one in open_driver(wanted, other).jobs()] == [JobState.RUNNING, JobState.FINISHED]


def test_our_own_processes_and_the_kernels_are_refused(start, open_driver, tmp_path):
    pid_file = tmp_path / "own.pid"
    pid_file.write_text(str(os.getppid()))
    job = start(1)
    driver = open_driver(declared(job, pid_file=pid_file, reach=Reach.TREE))
    with pytest.raises(WriteRefused, match="own") as refused:
        driver.pause("train")
    assert "group, session or control group of its own" in refused.value.cure


def test_job_whose_file_has_gone_while_it_was_stopped_still_goes_on(start, open_driver):
    job = start(2)
    driver = open_driver(declared(job), guarded=True)
    driver.pause("train")
    job.pid_file.unlink()
    assert state(driver) is JobState.PAUSED
    again = open_driver(declared(job), guarded=True)
    assert state(again) is JobState.PAUSED
    again.resume("train")
    job.goes_on()
    driver._stopped.clear()


def test_checkpoint_is_written_before_the_job_is_stopped(start, open_driver):
    job = start(2)
    terms = JobTerms(tier="flex3", min_throughput=0.5, max_pause_s=60.0, method=PauseMethod.CHECKPOINT)
    checkpoint = Checkpoint(signal_number=signal.SIGUSR1, file=job.folder / "checkpoint", timeout_s=30.0)
    driver = open_driver(declared(job, terms=terms, checkpoint=checkpoint))
    with pytest.raises(WriteRefused, match="asked for a checkpoint") as asked:
        driver.pause("train")
    assert "again in a moment" in asked.value.cure
    assert state(driver) is JobState.RUNNING, "it is asked first, and nobody waits for it"

    def pauses():
        with suppress(WriteRefused):
            driver.pause("train")
        return state(driver) is JobState.PAUSED

    eventually("it has written one and is stopped", pauses, within_s=20, every_s=0.02)
    assert checkpoint.file.exists()


def test_checkpoint_that_never_comes_means_no_pause(start, open_driver, tmp_path):
    job = start(1)
    now_s = [0.0]
    terms = JobTerms(tier="flex3", min_throughput=0.5, max_pause_s=60.0, method=PauseMethod.CHECKPOINT)
    checkpoint = Checkpoint(signal_number=signal.SIGCONT, file=tmp_path / "never", timeout_s=30.0)
    driver = open_driver(declared(job, terms=terms, checkpoint=checkpoint), monotonic_s=lambda: now_s[0])
    with pytest.raises(WriteRefused, match="asked for a checkpoint"):
        driver.pause("train")
    now_s[0] = 31.0
    with pytest.raises(WriteRefused, match="wrote none"):
        driver.pause("train")
    assert not job.stands()


def test_process_stopped_by_somebody_else_is_a_conflict(start, open_driver):
    job = start(3)
    driver = open_driver(declared(job))
    os.kill(job.pids()[-1], signal.SIGSTOP)
    eventually("half of it is seen", lambda: driver.jobs()[0].fault, within_s=10, every_s=0.02)
    assert driver.jobs()[0].fault.condition is Condition.NOT_IN_FORCE
    with pytest.raises(HardwareError, match="stopped by somebody else") as refused:
        driver.pause("train")
    assert refused.value.condition is Condition.CONFLICT
    assert not job.stands()
