"""The gateway's side over links that answer, fail, or answer nonsense."""

import math
from dataclasses import replace

import pytest

from hardware.agent_links import LocalLink
from hardware.device import Outcome
from hardware.errors import AgentUnreachable, MeterSilent, WireError
from hardware.faults import Faults
from hardware.fleet import AgentFleet
from hardware.job import JobState, Verb
from hardware.simulated import SimulatedFleet
from hardware.wire import Applied, Failed, Readings


class Breakable:
    """A link that can be told what to answer instead."""

    def __init__(self, agent) -> None:
        self._link = LocalLink(agent)
        self.instead = None

    async def request(self, message):
        if isinstance(self.instead, Exception):
            raise self.instead
        return await self._link.request(message) if self.instead is None else self.instead

    async def close(self) -> None:
        return


@pytest.fixture
def links(stand):
    """Two agents: the stand's host ``h00``, and ``h01`` with two devices."""
    from hardware.agent import Agent

    other = SimulatedFleet(hosts=1, devices_per_host=2, seed=7, now=stand.now, first_host=1, site_meter_id=None)
    second = Agent(host_id="h01", devices=other, jobs=other, boot_s=lambda: stand.now_s)
    return [Breakable(stand.agent()), Breakable(second)]


@pytest.fixture
async def fleet(links):
    made = AgentFleet(links)
    await made.refresh()
    return made


async def test_devices_and_jobs_of_all_agents(fleet):
    assert list(fleet.devices()) == ["h00-d0", "h00-d1", "h00-d2", "h00-d3", "h01-d0", "h01-d1"]
    assert {"train", "serve"} < set(fleet.jobs())
    assert len(fleet.jobs()) > 2


async def test_commands_go_to_their_agents_and_results_come_in_order(fleet, stand):
    lease = stand.cap(250.0).lease
    asked = ["h01-d1", "h00-d2", "nowhere", "h01-d0", "h00-d0"]
    commands = [replace(stand.cap(200.0 + 10 * index), device_id=key) for index, key in enumerate(asked)]
    results = await fleet.apply([replace(command, lease=lease) for command in commands])
    assert [result.device_id for result in results] == asked
    assert [result.applied_w for result in results] == [200.0, 210.0, None, 230.0, 240.0]
    assert results[2].outcome is Outcome.LOST
    assert fleet.devices()["h01-d0"].limit_w == 230.0


async def test_restore_everywhere(fleet, stand):
    await fleet.apply([stand.cap(250.0), replace(stand.cap(250.0), device_id="h01-d0")])
    results = await fleet.restore(list(fleet.devices()), 1)
    assert {result.applied_w for result in results} == {400.0}
    assert {view.limit_w for view in fleet.devices().values()} == {400.0}


async def test_jobs_are_paused_and_known_as_paused(fleet, stand):
    (result,) = await fleet.act([stand.pause()])
    assert (result.outcome, result.state) == (Outcome.APPLIED, JobState.PAUSED)
    assert fleet.jobs()["train"].state is JobState.PAUSED
    await fleet.act([stand.pause(Verb.RESUME)])
    assert fleet.jobs()["train"].state is JobState.RUNNING
    (unknown,) = await fleet.act([stand.pause(job_id="nobody")])
    assert unknown.outcome is Outcome.LOST


async def test_dead_agent_does_not_stop_the_others(fleet, links, stand):
    links[0].instead = AgentUnreachable("gone")
    results = await fleet.apply([stand.cap(250.0), replace(stand.cap(250.0), device_id="h01-d0")])
    assert [result.outcome for result in results] == [Outcome.TIMED_OUT, Outcome.APPLIED]
    assert [reading.meter_id for reading in await fleet.read()] == ["h01-d0", "h01-d1"]
    results = await fleet.restore(["h00-d0", "h01-d0"], 1)
    assert [result.outcome for result in results] == [Outcome.TIMED_OUT, Outcome.APPLIED]
    (paused,) = await fleet.act([stand.pause()])
    assert paused.outcome is Outcome.TIMED_OUT
    await fleet.refresh()
    assert "h00-d0" in fleet.devices(), "as last heard of"


async def test_no_agent_at_all(links):
    for link in links:
        link.instead = AgentUnreachable("gone")
    fleet = AgentFleet(links)
    with pytest.raises(AgentUnreachable, match="gone"):
        await fleet.refresh()
    with pytest.raises(MeterSilent, match="gone"):
        await fleet.read()
    assert fleet.devices() == {}
    with pytest.raises(AgentUnreachable, match="no agent"):
        await AgentFleet([]).refresh()


@pytest.mark.parametrize(
    "nonsense",
    [
        Applied(results=()),
        Readings(readings=()),
        Failed(error="DeviceLost", detail="the bus is gone"),
        WireError("half a message"),
    ],
)
async def test_answer_that_does_not_fit_is_a_refusal(fleet, links, stand, nonsense):
    links[0].instead = nonsense
    (result,) = await fleet.apply([stand.cap(250.0)])
    assert result.outcome is Outcome.REFUSED
    assert result.detail


async def test_highest_epoch_of_all_agents(fleet, stand):
    assert fleet.highest_epoch == 0
    await fleet.apply([stand.cap(250.0, epoch=5), replace(stand.cap(250.0, epoch=7), device_id="h01-d0")])
    await fleet.refresh()
    assert fleet.highest_epoch == 7


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
async def test_number_that_is_none_is_refused_beside_good_ones(fleet, stand, number):
    results = await fleet.apply(
        [stand.cap(number), stand.cap(250.0, device=1), stand.cap(250.0, device=2, duration_s=number)]
    )
    assert [result.outcome for result in results] == [Outcome.REFUSED, Outcome.APPLIED, Outcome.REFUSED]


async def test_lost_device_is_absent_and_back_when_it_is_back(fleet, stand):
    stand.fleet.inject(Faults(lost=frozenset({"h00-d0"})))
    await fleet.apply([stand.cap(250.0)])
    assert not fleet.devices()["h00-d0"].present
    stand.fleet.inject(Faults())
    await fleet.apply([stand.cap(250.0)])
    assert fleet.devices()["h00-d0"].present


async def test_nothing_asked_is_nothing_done(fleet):
    assert await fleet.apply([]) == ()
    assert await fleet.restore([], 1) == ()
    assert await fleet.act([]) == ()
