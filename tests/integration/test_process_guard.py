"""Whoever dies, no job stays stopped: a real job, a driver that is killed, and nobody who starts it again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hardware.process.record import Record
from tests.lab import ROOT, eventually
from tests.process_job import RealJob

STOPS_AND_HANGS = """
import sys, time
from pathlib import Path
from hardware.job_terms import JobTerms
from hardware.process.driver import ProcessDriver
from hardware.process.members import ProcessJob, Reach

terms = JobTerms(tier="flex3", min_throughput=0.5, max_pause_s=60.0)
job = ProcessJob(job_id="train", device_ids=(), terms=terms, pid_file=Path(sys.argv[1]), reach=Reach.GROUP)
driver = ProcessDriver([job], record=Path(sys.argv[2]), grace_s=2.0)
driver.pause("train")
print("stopped", flush=True)
while True:
    driver.jobs()
    time.sleep(0.2)
"""


@pytest.fixture
def job(tmp_path):
    started = RealJob(tmp_path / "job", 3)
    yield started
    started.end()


@pytest.fixture
def holder(tmp_path, job):
    process = subprocess.Popen(
        [sys.executable, "-c", STOPS_AND_HANGS, str(job.pid_file), str(tmp_path / "stopped.json")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "stopped\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def guards(record: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"hardware.process.guard" in command and os.fsencode(record) in command:
                found.append(int(entry.name))
    return found


def test_job_goes_on_when_everybody_of_ours_was_killed(job, holder, tmp_path):
    assert job.stands(3.0), "as long as the driver is there the guard keeps still"
    os.killpg(holder.pid, signal.SIGKILL)
    job.goes_on(within_s=60)
    eventually("the guard has ended", lambda: not guards(tmp_path / "stopped.json"), within_s=30)
    assert Record(tmp_path / "stopped.json").read()[1] == {}


def test_guard_ends_by_itself_when_nothing_is_stopped_any_more(job, holder, tmp_path):
    (guard,) = eventually("there is a guard", lambda: guards(tmp_path / "stopped.json"), within_s=30)
    os.kill(guard, signal.SIGTERM)
    holder.kill()
    holder.wait()
    Record(tmp_path / "stopped.json").drop("train")
    eventually("the guard has ended", lambda: not guards(tmp_path / "stopped.json"), within_s=30)
    assert job.stands(), "what is not on record is not the guard's"
    os.killpg(job.process.pid, signal.SIGCONT)
