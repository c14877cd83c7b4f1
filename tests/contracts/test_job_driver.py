"""What every job driver does, over a simulated fleet, real processes, a real Slurm cluster, and several as one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hardware.device import Lease, Outcome
from hardware.errors import HardwareError
from hardware.job import JobAction, JobDriver, JobState, JobView, PauseMethod, Verb
from hardware.job_drivers import JobDrivers
from hardware.job_terms import JobTerms, TermsRule
from hardware.journal import Journal
from hardware.pauses import PauseKeeper
from hardware.process.driver import ProcessDriver
from hardware.process.members import ProcessJob, Reach
from hardware.simulated import SimulatedFleet
from hardware.workloads import SimulatedJob
from tests.lab import eventually
from tests.process_job import RealJob

TERMS = JobTerms(tier="flex3", min_throughput=0.5, max_pause_s=600.0)

TICKS = """#!/bin/sh
while true; do echo tick; sleep 0.02; done
"""


@dataclass(frozen=True)
class Stand:
    """A driver, the one of its jobs that is played with, and what it does that can be seen from outside."""

    driver: JobDriver
    job_id: str
    work: Callable[[], float]

    def view(self) -> JobView:
        (found,) = (job for job in self.driver.jobs() if job.job_id == self.job_id)
        return found

    def is_in(self, state: JobState) -> bool:
        return eventually(f"the job is {state}", lambda: self.view().state is state, within_s=60, every_s=0.05)

    def goes_on(self) -> None:
        before = self.work()
        eventually("the job works", lambda: self.work() > before, within_s=60, every_s=0.05)


def simulated(request, tmp_path):
    jobs = [SimulatedJob(job_id="train", workload="finetune-8b", tier="flex3", devices=2, max_pause_s=600.0)]
    fleet = SimulatedFleet(hosts=1, devices_per_host=4, seed=7, now=lambda: datetime.now(UTC), jobs=jobs)
    return Stand(fleet, "train", lambda: fleet.work_s()["train"])


def processes(request, tmp_path):
    job = RealJob(tmp_path / "job", 3)
    request.addfinalizer(job.end)
    declared = ProcessJob(job_id="train", device_ids=("gpu-0",), terms=TERMS, pid_file=job.pid_file, reach=Reach.GROUP)
    driver = ProcessDriver([declared], record=tmp_path / "stopped.json")
    request.addfinalizer(driver.close)
    request.addfinalizer(lambda: driver.resume("train"))
    return Stand(driver, "train", lambda: min(job.ticks()))


def slurm(request, tmp_path):
    from hardware.slurm.command import SlurmCommands
    from hardware.slurm.jobs import SlurmJobs

    cluster = request.getfixturevalue("slurm")
    request.addfinalizer(cluster.tidy)
    job_id = cluster.submit(TICKS)
    cluster.wait_for(job_id, "RUNNING")
    terms = JobTerms(tier="flex3", min_throughput=0.5, max_pause_s=600.0, method=PauseMethod.SUSPEND)
    driver = SlurmJobs(SlurmCommands(conf=cluster.conf), rules=(TermsRule(terms=terms),), deadline_s=20.0)
    return Stand(driver, job_id, lambda: cluster.written(f"{job_id}.out"))


def several(request, tmp_path):
    whole = processes(request, tmp_path)
    beside = simulated(request, tmp_path).driver
    return Stand(JobDrivers({"process": whole.driver, "simulated": beside}), "train", whole.work)


@pytest.fixture(params=[simulated, processes, slurm, several], ids=lambda kind: kind.__name__)
def stand(request, tmp_path: Path) -> Stand:
    return request.param(request, tmp_path)


def test_running_job_is_listed_with_its_terms(stand):
    stand.is_in(JobState.RUNNING)
    job = stand.view()
    assert (job.tier, job.min_throughput, job.max_pause_s) == ("flex3", 0.5, 600.0)


def test_pause_stops_all_of_it_and_resume_lets_it_go_on(stand):
    stand.goes_on()
    for _ in range(2):
        stand.driver.pause(stand.job_id)
        stand.is_in(JobState.PAUSED)
    work = stand.work()
    time.sleep(0.3)
    assert stand.work() == work
    for _ in range(2):
        stand.driver.resume(stand.job_id)
        stand.is_in(JobState.RUNNING)
    stand.goes_on()


def test_progress_rises_as_the_job_works_and_never_while_it_is_paused(stand):
    stand.goes_on()
    first = stand.view().progress
    eventually("progress rises", lambda: (stand.view().progress or 0.0) > (first or 0.0), within_s=60, every_s=0.1)
    stand.driver.pause(stand.job_id)
    stand.is_in(JobState.PAUSED)
    time.sleep(0.3)
    paused = stand.view().progress
    time.sleep(0.3)
    assert stand.view().progress == paused
    stand.driver.resume(stand.job_id)


def test_job_that_is_not_there_is_an_expected_fault(stand):
    stand.driver.jobs()
    for act in (stand.driver.pause, stand.driver.resume):
        with pytest.raises(HardwareError):
            act("4000000")


def test_pause_under_a_lease_ends_by_itself(stand):
    keeper = PauseKeeper(stand.driver, Journal(None))
    lease = Lease(epoch=1, sequence=1, duration_s=30.0)
    action = JobAction(job_id=stand.job_id, verb=Verb.PAUSE, lease=lease)
    (result,) = keeper.act([action], received_s=0.0, now_s=0.0)
    assert (result.outcome, result.state) == (Outcome.APPLIED, JobState.PAUSED)
    assert keeper.expire(29.0) == ()
    (result,) = keeper.expire(30.0)
    assert (result.outcome, result.state) == (Outcome.APPLIED, JobState.RUNNING)
    stand.goes_on()


def test_pause_of_an_agent_that_died_is_undone_first(stand, tmp_path):
    journal = Journal(tmp_path / "journal.json")
    journal.open()
    action = JobAction(job_id=stand.job_id, verb=Verb.PAUSE, lease=Lease(epoch=1, sequence=1, duration_s=30.0))
    PauseKeeper(stand.driver, journal).act([action], received_s=0.0, now_s=0.0)
    stand.is_in(JobState.PAUSED)
    (result,) = PauseKeeper(stand.driver, journal).recover(0.0)
    assert (result.outcome, result.state) == (Outcome.APPLIED, JobState.RUNNING)
    stand.goes_on()
    journal.close()
