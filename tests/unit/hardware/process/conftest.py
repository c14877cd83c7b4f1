"""Real processes, and a driver over them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hardware.job import PauseMethod
from hardware.job_terms import JobTerms
from hardware.process.driver import ProcessDriver
from hardware.process.members import ProcessJob, Reach
from tests.process_job import RealJob

TERMS = JobTerms(tier="flex3", min_throughput=0.5, max_pause_s=60.0, method=PauseMethod.SIGNAL)


def declared(job: RealJob, **changes) -> ProcessJob:
    """The job as a file declares it."""
    fields = {"job_id": "train", "device_ids": ("gpu-0",), "terms": TERMS, "pid_file": job.pid_file}
    return ProcessJob(**{**fields, "reach": Reach.GROUP, **changes})


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RealJob]]:
    """Start real jobs; they are ended after the test, whatever state they are in."""
    jobs: list[RealJob] = []

    def started(ranks: int = 3, **kinds) -> RealJob:
        jobs.append(RealJob(tmp_path / f"job-{len(jobs)}", ranks, **kinds))
        return jobs[-1]

    yield started
    for job in jobs:
        job.end()


@pytest.fixture
def open_driver(tmp_path: Path) -> Iterator[Callable[..., ProcessDriver]]:
    """Open drivers; what they stopped goes on after the test."""
    drivers: list[ProcessDriver] = []

    def opened(*jobs: ProcessJob, guarded: bool = False, **kinds) -> ProcessDriver:
        record = tmp_path / "stopped.json" if guarded else None
        drivers.append(ProcessDriver(jobs, record=record, **kinds))
        return drivers[-1]

    yield opened
    for driver in drivers:
        for job_id in list(driver._stopped):
            driver._let_go(job_id)
        driver.close()
