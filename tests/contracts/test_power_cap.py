"""What every ``PowerCap`` promises to dispatch; with it, what the ``PowerMeter`` and ``JobControl`` beside it do.

Run over an agent in this process, an agent process behind a socket, and an agent behind a real NATS server. Add another
by adding a rig for it.
"""

import asyncio
import contextlib
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hardware.agent import Agent
from hardware.agent_links import LocalLink, SocketLink
from hardware.agent_process import Desk, serve
from hardware.device import CapCommand, Lease, OnExpiry, Outcome
from hardware.errors import HardwareError
from hardware.fleet import AgentFleet
from hardware.job import JobAction, JobState, Verb
from hardware.nats_door import NatsDoor
from hardware.nats_link import NatsHosts
from hardware.simulated import SimulatedFleet
from hardware.workloads import SimulatedJob
from tests.nats_server import SITE, NatsServer

ROOT = Path(__file__).parents[2]

JOBS = (
    SimulatedJob(job_id="train", workload="finetune-8b", tier="flex3", devices=2, max_pause_s=60.0),
    SimulatedJob(job_id="serve", workload="inference-8b", tier="flex0", devices=1),
)


@dataclass
class Rig:
    """A fleet of four idle or busy devices with the jobs ``train`` and ``serve``, and how to let time pass."""

    fleet: AgentFleet
    pass_s: Callable[[float], Awaitable[None]]
    sequence: int = 0

    def lease(self, *, epoch: int = 1, duration_s: float = 30.0, on_expiry: OnExpiry = OnExpiry.RESTORE) -> Lease:
        self.sequence += 1
        return Lease(epoch=epoch, sequence=self.sequence, duration_s=duration_s, on_expiry=on_expiry)

    def all_at(self, cap_w: float, lease: Lease) -> list[CapCommand]:
        return [CapCommand(device_id=key, cap_w=cap_w, lease=lease) for key in self.fleet.devices()]

    async def limits_w(self) -> set[float]:
        await self.fleet.refresh()
        return {view.limit_w for view in self.fleet.devices().values()}


@contextlib.asynccontextmanager
async def in_process(tmp_path: Path) -> AsyncIterator[Rig]:
    now_s = [0.0]
    simulated = SimulatedFleet(
        hosts=1,
        devices_per_host=4,
        seed=7,
        now=lambda: datetime(2026, 7, 1, tzinfo=UTC) + timedelta(seconds=now_s[0]),
        jobs=JOBS,
    )
    agent = Agent(host_id="h00", devices=simulated, jobs=simulated, boot_s=lambda: now_s[0])

    async def pass_s(seconds: float) -> None:
        now_s[0] += seconds
        agent.expire()

    yield Rig(AgentFleet([LocalLink(agent)]), pass_s)


@contextlib.asynccontextmanager
async def by_socket(tmp_path: Path) -> AsyncIterator[Rig]:
    script = ROOT / "tests/integration/agent_process.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        str(tmp_path),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    fleet = AgentFleet([SocketLink(tmp_path / "agent.socket")])
    try:
        yield Rig(fleet, asyncio.sleep)
    finally:
        await fleet.close()
        if process.returncode is None:
            process.terminate()
        assert await asyncio.wait_for(process.wait(), 10.0) == 0


@contextlib.asynccontextmanager
async def by_nats(tmp_path: Path) -> AsyncIterator[Rig]:
    server = NatsServer(tmp_path)
    server.enrol("h00")
    server.start()
    stop = asyncio.Event()
    simulated = SimulatedFleet(hosts=1, devices_per_host=4, seed=7, now=lambda: datetime.now(UTC), jobs=JOBS)
    agent = Agent(host_id="h00", devices=simulated, jobs=simulated)
    door = NatsDoor(site_id=SITE, host_id="h00", servers=[server.url], now_s=agent.now_s, tls=server.host_tls("h00"))
    desk = Desk(agent)
    serving = asyncio.create_task(serve(desk, [door], stop))
    hosts = NatsHosts(site_id=SITE, servers=[server.url], enrolled=server.enrolment.hosts, tls=server.gateway_tls)
    fleet = AgentFleet([], hosts)
    try:
        yield Rig(fleet, asyncio.sleep)
    finally:
        await fleet.close()
        stop.set()
        await asyncio.wait_for(serving, 10.0)
        desk.close()
        server.end()


@pytest.fixture(params=[in_process, by_socket, by_nats], ids=lambda make: make.__name__)
async def rig(request, tmp_path) -> AsyncIterator[Rig]:
    async with request.param(tmp_path) as made:
        async with asyncio.timeout(20.0):
            while True:
                with contextlib.suppress(HardwareError):
                    await made.fleet.refresh()
                    break
                await asyncio.sleep(0.02)
        yield made


async def test_applied_is_what_was_read_back(rig):
    results = await rig.fleet.apply(rig.all_at(250.0, rig.lease()))
    assert [result.device_id for result in results] == list(rig.fleet.devices())
    assert {(result.outcome, result.applied_w, result.requested_w) for result in results} == {
        (Outcome.APPLIED, 250.0, 250.0)
    }
    assert await rig.limits_w() == {250.0}


async def test_clamped_to_the_range(rig):
    for cap_w, applied_w in ((1.0, 100.0), (1e6, 400.0)):
        results = await rig.fleet.apply(rig.all_at(cap_w, rig.lease()))
        assert {(result.outcome, result.applied_w) for result in results} == {(Outcome.CLAMPED, applied_w)}


@pytest.mark.parametrize("cap_w", [math.nan, math.inf, -math.inf, -5.0])
async def test_what_is_no_cap_is_refused(rig, cap_w):
    results = await rig.fleet.apply(rig.all_at(cap_w, rig.lease()))
    assert {result.outcome for result in results} == {Outcome.REFUSED}
    assert await rig.limits_w() == {400.0}


async def test_epochs_and_sequences(rig):
    old = rig.lease(epoch=4)
    new = rig.lease(epoch=5)
    assert {one.outcome for one in await rig.fleet.apply(rig.all_at(250.0, new))} == {Outcome.APPLIED}
    assert {one.outcome for one in await rig.fleet.apply(rig.all_at(200.0, old))} == {Outcome.REFUSED}
    stale = replace(new, sequence=new.sequence - 1)
    assert {one.outcome for one in await rig.fleet.apply(rig.all_at(200.0, stale))} == {Outcome.REFUSED}
    assert {one.outcome for one in await rig.fleet.restore(list(rig.fleet.devices()), 4)} == {Outcome.REFUSED}
    again = await rig.fleet.apply(rig.all_at(250.0, new))
    assert {(one.outcome, one.applied_w) for one in again} == {(Outcome.APPLIED, 250.0)}
    assert await rig.limits_w() == {250.0}
    assert rig.fleet.highest_epoch == 5


async def test_lease_that_is_not_renewed_ends(rig):
    await rig.fleet.apply(rig.all_at(250.0, rig.lease(duration_s=2.0)))
    await rig.pass_s(0.3)
    assert await rig.limits_w() == {250.0}
    await rig.pass_s(2.2)
    assert await rig.limits_w() == {400.0}


async def test_lease_that_is_renewed_goes_on(rig):
    for _ in range(4):
        results = await rig.fleet.apply(rig.all_at(250.0, rig.lease(duration_s=1.5)))
        assert {result.outcome for result in results} == {Outcome.APPLIED}
        await rig.pass_s(0.5)
    assert await rig.limits_w() == {250.0}


async def test_held_cap_stays(rig):
    await rig.fleet.apply(rig.all_at(250.0, rig.lease(duration_s=0.5, on_expiry=OnExpiry.HOLD)))
    await rig.pass_s(1.2)
    assert await rig.limits_w() == {250.0}


async def test_restore_may_be_repeated(rig):
    await rig.fleet.apply(rig.all_at(250.0, rig.lease()))
    for _ in range(2):
        results = await rig.fleet.restore(list(rig.fleet.devices()), 1)
        assert {(result.outcome, result.applied_w) for result in results} == {(Outcome.APPLIED, 400.0)}
        assert await rig.limits_w() == {400.0}


async def test_unknown_device_is_lost(rig):
    command = CapCommand(device_id="nowhere", cap_w=200.0, lease=rig.lease())
    (result,) = await rig.fleet.apply([command])
    assert (result.outcome, result.applied_w) == (Outcome.LOST, None)
    (result,) = await rig.fleet.restore(["nowhere"], 1)
    assert result.outcome is Outcome.LOST


async def test_watts_follow(rig):
    await rig.fleet.apply(rig.all_at(150.0, rig.lease()))
    await rig.pass_s(1.5)
    readings = {reading.meter_id: reading for reading in await rig.fleet.read()}
    assert set(rig.fleet.devices()) <= set(readings)
    assert all(readings[device_id].power_w < 160.0 for device_id in rig.fleet.devices())


async def test_jobs_pause_under_a_lease(rig):
    (result,) = await rig.fleet.act([JobAction(job_id="train", verb=Verb.PAUSE, lease=rig.lease(duration_s=1.0))])
    assert (result.outcome, result.state) == (Outcome.APPLIED, JobState.PAUSED)
    assert rig.fleet.jobs()["train"].state is JobState.PAUSED
    await rig.pass_s(1.5)
    await rig.fleet.refresh()
    assert rig.fleet.jobs()["train"].state is JobState.RUNNING


async def test_job_that_may_not_be_paused_is_not(rig):
    (result,) = await rig.fleet.act([JobAction(job_id="serve", verb=Verb.PAUSE, lease=rig.lease())])
    assert (result.outcome, result.state) == (Outcome.REFUSED, JobState.RUNNING)
