"""One simulated host, its agent, and a clock that the test moves."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hardware.agent import Agent
from hardware.device import CapCommand, Lease, OnExpiry
from hardware.faults import Faults
from hardware.job import JobAction, Verb
from hardware.simulated import SimulatedFleet
from hardware.workloads import SimulatedJob

JOBS = (
    SimulatedJob(job_id="train", workload="finetune-8b", tier="flex3", devices=2, max_pause_s=60.0),
    SimulatedJob(job_id="serve", workload="inference-8b", tier="flex0", devices=1),
)


class Stand:
    """``h00-d0`` and ``h00-d1`` train, ``h00-d2`` serves, ``h00-d3`` is idle."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 1000.0
        self.journal = folder / "journal.json"
        self.fleet = SimulatedFleet(hosts=1, devices_per_host=4, seed=7, now=self.now, jobs=JOBS)
        self.device_ids = tuple(view.device_id for view in self.fleet.devices())
        self.sequence = 0
        self.agents: list[Agent] = []

    def now(self) -> datetime:
        return datetime(2026, 7, 1, tzinfo=UTC) + timedelta(seconds=self.now_s)

    def agent(self, *, journal: bool = True) -> Agent:
        """A new agent on the same devices; an earlier one is left as kill -9 leaves it."""
        for earlier in self.agents:
            earlier.close()
        agent = Agent(
            host_id="h00",
            devices=self.fleet,
            jobs=self.fleet,
            journal=self.journal if journal else None,
            boot_s=lambda: self.now_s,
        )
        self.agents.append(agent)
        return agent

    def cap(
        self,
        cap_w: float,
        *,
        device: int = 0,
        epoch: int = 1,
        sequence: int | None = None,
        duration_s: float = 10.0,
        on_expiry: OnExpiry = OnExpiry.RESTORE,
    ) -> CapCommand:
        return CapCommand(
            device_id=self.device_ids[device],
            cap_w=cap_w,
            lease=self._lease(epoch, sequence, duration_s, on_expiry),
        )

    def pause(
        self,
        verb: Verb = Verb.PAUSE,
        *,
        job_id: str = "train",
        epoch: int = 1,
        sequence: int | None = None,
        duration_s: float = 10.0,
    ) -> JobAction:
        return JobAction(job_id=job_id, verb=verb, lease=self._lease(epoch, sequence, duration_s, OnExpiry.RESTORE))

    def limit_w(self, device: int = 0) -> float:
        """What the device itself says, faults or not."""
        return self.fleet.devices()[device].limit_w

    def set_by_other(self, limit_w: float, *, device: int = 0) -> None:
        self.fleet.inject(Faults(limits_w={self.device_ids[device]: limit_w}))

    def state(self, job_id: str = "train") -> str:
        return next(job.state for job in self.fleet.jobs() if job.job_id == job_id)

    def _lease(self, epoch: int, sequence: int | None, duration_s: float, on_expiry: OnExpiry) -> Lease:
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        return Lease(epoch=epoch, sequence=sequence, duration_s=duration_s, on_expiry=on_expiry)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    yield made
    for agent in made.agents:
        agent.close()
