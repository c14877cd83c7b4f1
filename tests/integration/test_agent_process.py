"""A real agent process on a real socket: killed, stopped, left alone, and started again."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hardware.agent_links import SocketLink
from hardware.device import CapCommand, Lease, Outcome
from hardware.errors import AgentUnreachable
from hardware.fleet import AgentFleet
from hardware.job import JobAction, JobState, Verb
from hardware.physics import SiteState
from hardware.simulated import faults_path
from tests.lab import end_worker

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests/integration/agent_process.py"
START_S = 20.0


class Host:
    """A host on which agents are started and killed; its devices keep their limits meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen] = []
        self.fleet = AgentFleet([SocketLink(folder / "agent.socket")])
        self.sequence = 0

    def launch(self, *more: str) -> subprocess.Popen:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(SCRIPT), str(self.folder), *more],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
        self.started.append(process)
        return process

    async def start(self, *more: str) -> subprocess.Popen:
        process = self.launch(*more)
        async with asyncio.timeout(START_S):
            while True:
                with contextlib.suppress(AgentUnreachable):
                    await self.fleet.refresh()
                    return process
                if process.poll() is not None:
                    pytest.fail((self.folder / "log").read_text())
                await asyncio.sleep(0.02)

    async def cap(self, cap_w: float, *, duration_s: float = 30.0, epoch: int = 1) -> list[Outcome]:
        self.sequence += 1
        lease = Lease(epoch=epoch, sequence=self.sequence, duration_s=duration_s)
        commands = [CapCommand(device_id=key, cap_w=cap_w, lease=lease) for key in self.fleet.devices()]
        return [result.outcome for result in await self.fleet.apply(commands)]

    async def pause(self, duration_s: float = 30.0) -> JobState | None:
        self.sequence += 1
        lease = Lease(epoch=1, sequence=self.sequence, duration_s=duration_s)
        (result,) = await self.fleet.act([JobAction(job_id="train", verb=Verb.PAUSE, lease=lease)])
        return result.state

    def devices(self) -> SiteState:
        """The devices themselves, whoever writes to them."""
        return SiteState(4, 2, self.folder / "devices")

    def limits_w(self) -> set[float]:
        return set(self.devices().limit_w.tolist())

    async def until_limits(self, limit_w: float, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while self.limits_w() != {limit_w}:  # noqa: ASYNC110 - devices set no event
                await asyncio.sleep(0.05)

    def workers(self) -> list[int]:
        """Process ids of all workers that were started, the present one last."""
        lines = [json.loads(line) for line in (self.folder / "log").read_text().splitlines() if line[:1] == "{"]
        return [int(line["process_id"]) for line in lines if line["event"] == "worker_started"]

    def kill_both(self, keeper: subprocess.Popen) -> None:
        """So that neither of the two can do anything about the other."""
        keeper.send_signal(signal.SIGSTOP)
        os.kill(self.workers()[-1], signal.SIGKILL)
        keeper.kill()

    def break_down(self, **faults: object) -> None:
        beside = self.folder / "faults.new"
        beside.write_text(json.dumps(faults))
        beside.replace(faults_path(self.folder / "devices"))


async def ended(process: subprocess.Popen, within_s: float = 10.0) -> int:
    return await asyncio.to_thread(process.wait, within_s)


@pytest.fixture
async def host(tmp_path):
    made = Host(tmp_path)
    yield made
    await made.fleet.close()
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.wait(10.0)
        process.stdin.close()
    for process_id in made.workers():
        end_worker(process_id)


async def test_killed_in_the_middle_of_a_lease_and_started_again(host):
    process = await host.start()
    assert await host.cap(200.0) == [Outcome.APPLIED] * 4
    assert await host.pause() is JobState.PAUSED
    host.kill_both(process)
    assert await ended(process) == -signal.SIGKILL
    assert host.limits_w() == {200.0}, "a real limit outlives the process that set it"
    await host.start()
    assert host.limits_w() == {400.0}
    assert host.fleet.jobs()["train"].state is JobState.RUNNING
    assert host.fleet.highest_epoch == 1
    assert await host.cap(200.0) == [Outcome.APPLIED] * 4
    assert host.limits_w() == {200.0}


async def test_limits_found_are_restored_not_the_defaults(host):
    host.break_down(limits_w={f"h00-d{index}": 350.0 for index in range(4)})
    process = await host.start()
    await host.until_limits(350.0, 5.0)
    assert await host.cap(200.0) == [Outcome.APPLIED] * 4
    host.kill_both(process)
    await ended(process)
    faults_path(host.folder / "devices").unlink()
    await host.start()
    assert host.limits_w() == {350.0}


async def test_gateway_that_vanishes_leaves_nothing_behind_at_the_end_of_the_lease(host):
    await host.start()
    await host.cap(200.0, duration_s=1.0)
    await host.fleet.close()
    assert host.limits_w() == {200.0}
    await host.until_limits(400.0, 3.0)


async def test_sigterm_restores_and_ends_with_zero(host):
    process = await host.start()
    await host.cap(200.0)
    await host.pause()
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == 0
    assert host.limits_w() == {400.0}
    assert not host.devices().paused.any()
    assert not (host.folder / "agent.socket").exists()
    assert json.loads((host.folder / "journal.json").read_text())["limits"] == {}


async def test_gateway_that_dies_leaves_a_child_that_ends_by_itself(host):
    process = await host.start("--orphan", "0.5")
    await host.cap(200.0, duration_s=2.0)
    await host.fleet.close()
    process.stdin.close()
    await asyncio.sleep(1.0)
    assert process.poll() is None
    assert host.limits_w() == {200.0}
    assert await ended(process) == 0
    assert host.limits_w() == {400.0}


async def test_second_agent_on_the_host_is_turned_away_and_the_first_goes_on(host):
    await host.start()
    second = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(SCRIPT), str(host.folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=START_S,
    )
    assert second.returncode == 1
    assert b"in use" in second.stderr
    assert await host.cap(200.0) == [Outcome.APPLIED] * 4


async def test_somebody_else_while_the_agent_was_dead(host):
    process = await host.start()
    await host.cap(200.0)
    host.kill_both(process)
    await ended(process)
    host.devices().limit_w[1] = 300.0
    await host.start()
    assert host.devices().limit_w.tolist() == [400.0, 300.0, 400.0, 400.0]


async def test_faults_reach_the_process(host):
    await host.start()
    host.break_down(lost=["h00-d0"], write_refused=["h00-d1"], limit_stuck=["h00-d2"])
    await asyncio.sleep(0.01)
    assert await host.cap(200.0) == [Outcome.LOST, Outcome.REFUSED, Outcome.REFUSED, Outcome.APPLIED]


async def test_caps_show_in_watts(host):
    await host.start()
    before = {reading.meter_id: reading.power_w for reading in await host.fleet.read()}
    await host.cap(150.0)
    await asyncio.sleep(1.3)
    after = {reading.meter_id: reading.power_w for reading in await host.fleet.read()}
    for device_id in ("h00-d0", "h00-d1", "h00-d2"):
        assert after[device_id] < 160.0 < before[device_id]


async def test_worker_that_dies_at_each_start_leaves_nothing_behind(host):
    keeper = await host.start()
    await host.cap(200.0, duration_s=3.0)
    await host.pause()
    (host.folder / "worker-dies").touch()
    os.kill(host.workers()[-1], signal.SIGKILL)
    await host.until_limits(400.0, 20.0)
    async with asyncio.timeout(60.0):
        while host.devices().paused.any() or len(host.workers()) < 3:  # noqa: ASYNC110 - devices set no event
            await asyncio.sleep(0.05)
    assert keeper.poll() is None
    (host.folder / "worker-dies").unlink()
    async with asyncio.timeout(60.0):
        while True:
            with contextlib.suppress(AgentUnreachable):
                await host.fleet.refresh()
                break
            await asyncio.sleep(0.1)
    assert await host.cap(200.0) == [Outcome.APPLIED] * 4


async def test_worker_killed_a_pause_goes_on_and_ends_with_its_lease(host):
    await host.start()
    assert await host.pause(duration_s=8.0) is JobState.PAUSED
    os.kill(host.workers()[-1], signal.SIGKILL)
    await asyncio.sleep(1.0)
    assert host.devices().paused.any(), "the lease runs"
    async with asyncio.timeout(30.0):
        while host.devices().paused.any():  # noqa: ASYNC110 - devices set no event
            await asyncio.sleep(0.05)


async def test_journal_from_before_a_restart_of_the_machine_is_not_followed(host):
    keeper = await host.start("--boot-id", "one")
    await host.cap(200.0)
    host.kill_both(keeper)
    await ended(keeper)
    await host.start("--boot-id", "two")
    assert host.limits_w() == {200.0}, "whoever set a limit since then is somebody else"
    assert json.loads((host.folder / "journal.json").read_text())["limits"] == {}


async def test_journal_that_cannot_be_read_refuses_caps_until_it_can(host):
    (host.folder / "journal.json").write_bytes(b"{")
    await host.start()
    assert await host.cap(200.0) == [Outcome.REFUSED] * 4
    assert len(await host.fleet.read()) == 5
    (host.folder / "journal.json").unlink()
    async with asyncio.timeout(20.0):
        while await host.cap(200.0) != [Outcome.APPLIED] * 4:  # noqa: ASYNC110 - it is looked for by itself
            await asyncio.sleep(0.1)
