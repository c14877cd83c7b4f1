"""The limits of the electrical tree in virtual time: always kept, through events, failures and the way back."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.domain.tree import ElectricalTree, Node, NodeKind
from gateway.services.actuator import Actuator
from gateway.services.tree_guard import PATIENCE_S
from hardware.agent import Agent
from hardware.device import OnExpiry
from hardware.faults import Faults
from hardware.fleet import AgentFleet
from hardware.known_devices import KnownDevices
from hardware.simulated import SimulatedFleet
from protocols.grid import SignalKind
from tests.unit.gateway.services.rig import LEASE_S, SITE, Rig, WatchedLink

RACK = tuple(f"h00-d{index}" for index in range(4))
OTHERS = tuple(f"h01-d{index}" for index in range(4))


def with_rack(rig: Rig, limit_w: float, **more: float) -> None:
    """The first host's four devices of 400 W stand in a rack."""
    site = Node(node_id="lab-1", kind=NodeKind.SITE)
    rack = Node(
        node_id="r1", kind=NodeKind.RACK, parent_id="lab-1", limit_w=limit_w, host_ids=frozenset({"h00"}), **more
    )
    rig.site = replace(SITE, tree=ElectricalTree(nodes=(site, rack), overshoot_fraction=0.0))


def limits_w(rig: Rig, devices: tuple[str, ...] = RACK) -> list[float]:
    return [rig.physical.limit_w(device_id) for device_id in devices]


def watch(rig: Rig, limit_w: float, halves: int) -> tuple[dict[float, Callable[[], object]], list[float]]:
    """Adds up the rack's limits twice a second; a script for ``run``, and the sums that were over the limit."""
    over: list[float] = []

    def look() -> None:
        total_w = sum(limits_w(rig))
        if total_w > limit_w + 0.01:
            over.append(total_w)

    return {half / 2 + 0.25: look for half in range(2, halves)}, over


async def steps(actuator: Actuator, rig: Rig, seconds: int) -> str | None:
    said = None
    for _ in range(seconds):
        said = await actuator.release()
        await rig.clock.wait(rig.clock.now() + timedelta(seconds=1))
    return said


async def test_a_rack_limit_is_kept_without_an_event_and_nothing_else_is_written(rig: Rig) -> None:
    with_rack(rig, 1000.0)
    await rig.run(rig.metering(), rig.dispatch(), for_s=30)
    assert {command.device_id for command in rig.link.commands} == set(RACK)
    assert {command.lease.on_expiry for command in rig.link.commands} == {OnExpiry.HOLD}
    assert rig.readiness.parts()["dispatch"] is None
    # Also after the end: the rack needs its caps, and what it needs is held.
    assert limits_w(rig) == pytest.approx([250.0] * 4)
    assert limits_w(rig, OTHERS) == [400.0] * 4


async def test_nothing_is_written_where_the_whole_tree_has_room(rig: Rig) -> None:
    with_rack(rig, 1600.0)
    await rig.run(rig.metering(), rig.dispatch(), for_s=10)
    assert rig.link.commands == []


async def test_a_rack_stays_under_its_limit_through_an_event_and_on_the_way_back(rig: Rig) -> None:
    with_rack(rig, 1200.0)
    script, over = watch(rig, 1200.0, 118)
    await rig.take(rig.event(in_s=10, lasts_s=20, value=3.0))
    await rig.run(rig.metering(), rig.dispatch(), for_s=60, script=script)
    assert over == []
    assert limits_w(rig) == pytest.approx([300.0] * 4)
    assert limits_w(rig, OTHERS) == [400.0] * 4
    log = await rig.ledger.log("utility", "peak-1")
    assert "rack r1 (1.2 kW)" in next(line.detail for line in log if line.what == "released")
    during = [command for command in rig.link.commands if command.device_id in OTHERS]
    assert {command.lease.on_expiry for command in during} == {OnExpiry.RESTORE}


async def test_a_release_raises_only_into_room_that_is_confirmed(rig: Rig) -> None:
    with_rack(rig, 1000.0)
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await actuator.hold(dict(zip(RACK, (400.0, 400.0, 100.0, 100.0), strict=True)), ())
    await actuator.hold(dict(zip(RACK, (400.0, 400.0, 100.0, 100.0), strict=True)), ())
    assert limits_w(rig) == pytest.approx([400.0, 400.0, 100.0, 100.0])
    assert "waiting for room under rack r1" in str(await actuator.release())
    assert limits_w(rig) == pytest.approx([250.0, 250.0, 100.0, 100.0])
    await actuator.release()
    assert limits_w(rig) == pytest.approx([250.0] * 4)
    assert await actuator.release() is None


async def test_nothing_rises_beside_a_host_that_was_not_heard_of_yet(rig: Rig) -> None:
    with_rack(rig, 1000.0)
    await rig.fleet.refresh()
    await steps(rig.actuator(), rig, 3)
    assert limits_w(rig) == pytest.approx([250.0] * 4)
    site, rack = rig.site.tree.nodes
    roomy = replace(rack, limit_w=2000.0, host_ids=frozenset({"h00", "h77"}))
    rig.site = replace(rig.site, tree=ElectricalTree(nodes=(site, roomy), overshoot_fraction=0.0))
    successor = rig.actuator()
    await steps(successor, rig, int(PATIENCE_S) - 2)
    assert limits_w(rig) == pytest.approx([250.0] * 4), "the other host may draw all that the rack has left"
    assert {command.lease.on_expiry for command in rig.link.commands} == {OnExpiry.HOLD}
    assert limits_w(rig, OTHERS) == [400.0] * 4
    await steps(successor, rig, 6)
    assert limits_w(rig) == [400.0] * 4, "a host that was taken out does not keep the others down for ever"


async def test_the_others_go_down_for_a_device_that_does_not_confirm(rig: Rig) -> None:
    with_rack(rig, 1000.0)
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await steps(actuator, rig, 3)
    assert limits_w(rig) == pytest.approx([250.0] * 4)
    rig.physical.inject(Faults(write_refused=frozenset({"h00-d3"}), limits_w={"h00-d3": 400.0}))
    await steps(actuator, rig, int(LEASE_S))
    # It has 400 W by somebody's hand: 600 W are left for three.
    assert limits_w(rig) == pytest.approx([200.0, 200.0, 200.0, 400.0])


async def test_a_lost_device_may_still_draw_all_it_can(rig: Rig) -> None:
    with_rack(rig, 1000.0)
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await steps(actuator, rig, 3)
    rig.physical.inject(Faults(lost=frozenset({"h00-d3"})))
    await rig.fleet.refresh()
    # At once, and not only when its cap would be renewed.
    await steps(actuator, rig, 1)
    assert limits_w(rig, RACK[:3]) == pytest.approx([200.0] * 3)
    rig.physical.inject(Faults())
    await rig.fleet.refresh()
    await steps(actuator, rig, int(LEASE_S))
    assert limits_w(rig) == pytest.approx([250.0] * 4)


async def test_what_cannot_be_kept_is_said_at_once_and_written_into_the_event(rig: Rig) -> None:
    with_rack(rig, 350.0)
    await rig.take(rig.event(in_s=5, lasts_s=20))
    await rig.run(rig.metering(), rig.dispatch(), for_s=12)
    assert limits_w(rig) == pytest.approx([100.0] * 4)
    said = str(rig.readiness.parts()["dispatch"])
    assert "rack r1 (0.35 kW): up to 0.05 kW over the limit" in said
    assert (await rig.words()).count("shortfall") == 1


async def test_a_gateway_that_was_killed_leaves_the_caps_and_the_next_one_takes_over(rig: Rig) -> None:
    with_rack(rig, 1000.0)
    await rig.fleet.refresh()
    await steps(rig.actuator(), rig, 3)
    await rig.clock.wait(rig.clock.now() + timedelta(seconds=3 * LEASE_S))
    rig.link._agent.expire()  # type: ignore[attr-defined]  # the agent's own tick
    assert limits_w(rig) == pytest.approx([250.0] * 4)
    rig.epoch += 1
    script, over = watch(rig, 1000.0, 38)
    await rig.run(rig.metering(), rig.dispatch(), for_s=20, script=script)
    assert over == []
    assert limits_w(rig) == pytest.approx([250.0] * 4)


async def test_a_tree_that_is_no_longer_declared_lets_go_of_what_it_held(rig: Rig) -> None:
    with_rack(rig, 1000.0)
    await rig.fleet.refresh()
    await steps(rig.actuator(), rig, 3)
    rig.site, rig.epoch = SITE, 2
    assert await rig.actuator().release() is None
    assert rig.capped() == 0


async def test_the_import_limit_is_the_roots_and_holds_without_an_event(rig: Rig) -> None:
    root = Node(node_id="lab-1", kind=NodeKind.SITE, limit_w=2500.0, overhead_w=100.0)
    rig.site = replace(SITE, tree=ElectricalTree(nodes=(root,), overshoot_fraction=0.0), import_limit_w=2500.0)
    await rig.run(rig.metering(), rig.dispatch(), for_s=5)
    assert sum(limits_w(rig, RACK + OTHERS)) == pytest.approx(2400.0)


class TwoHosts:
    """A rack with two hosts of two devices each, every host behind an agent of its own."""

    def __init__(self, rig: Rig, limit_w: float) -> None:
        self.physical = [
            SimulatedFleet(hosts=1, devices_per_host=2, seed=1, now=rig.clock.now, first_host=host) for host in (0, 1)
        ]
        began_at = rig.clock.now()

        def boot_s() -> float:
            return (rig.clock.now() - began_at).total_seconds()

        self.agents = [
            Agent(host_id=f"h{host:02d}", devices=physical, jobs=physical, boot_s=boot_s)
            for host, physical in enumerate(self.physical)
        ]
        self.links = [WatchedLink(agent) for agent in self.agents]
        rig.fleet = AgentFleet(self.links)
        root = Node(node_id="lab-1", kind=NodeKind.SITE)
        rack = Node(
            node_id="r1",
            kind=NodeKind.RACK,
            parent_id="lab-1",
            limit_w=limit_w,
            host_ids=frozenset({"h00", "h01"}),
        )
        rig.site = replace(SITE, tree=ElectricalTree(nodes=(root, rack), overshoot_fraction=0.0))

    def limits_w(self) -> list[float]:
        return [device.limit_w for physical in self.physical for device in physical.devices()]


async def test_when_an_agent_dies_its_rack_makes_room_for_the_worst_it_can_draw(rig: Rig) -> None:
    rack = TwoHosts(rig, 1200.0)
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await steps(actuator, rig, 2)
    assert rack.limits_w() == pytest.approx([300.0] * 4)
    rack.links[1].cut = True
    said = await steps(actuator, rig, int(LEASE_S))
    # Its two devices may draw 800 W; 400 W are left for the other two.
    assert rack.limits_w() == pytest.approx([200.0, 200.0, 300.0, 300.0])
    assert "timed_out" in str(said)
    # It comes back, and everybody has a share again, without ever being over.
    rack.links[1].cut = False
    over = []
    for _ in range(int(LEASE_S)):
        await steps(actuator, rig, 1)
        over.append(sum(rack.limits_w()) > 1200.01)
    assert not any(over)
    assert rack.limits_w() == pytest.approx([300.0] * 4)


async def test_a_gateway_that_begins_counts_with_a_host_that_it_cannot_reach(rig: Rig, tmp_path: Path) -> None:
    rack = TwoHosts(rig, 1200.0)
    rig.fleet = AgentFleet(rack.links, None, KnownDevices(tmp_path / "known"))
    await rig.fleet.refresh()
    await steps(rig.actuator(), rig, 2)
    assert rack.limits_w() == pytest.approx([300.0] * 4)
    rack.links[1].cut = True
    rig.fleet = AgentFleet(rack.links, None, KnownDevices(tmp_path / "known"))
    await rig.fleet.refresh()
    successor = rig.actuator()
    await steps(successor, rig, int(PATIENCE_S) + 10)
    # What it cannot reach may draw 800 W, however long it lasts.
    assert rack.limits_w()[:2] == pytest.approx([200.0, 200.0])
    rack.links[1].cut = False
    await rig.fleet.refresh()
    await steps(successor, rig, int(LEASE_S))
    assert rack.limits_w() == pytest.approx([300.0] * 4)


async def test_during_an_event_too_an_agent_that_is_away_counts_at_its_worst(rig: Rig) -> None:
    rack = TwoHosts(rig, 1200.0)
    await rig.fleet.refresh()
    actuator = rig.actuator()
    caps_w = {f"h0{host}-d{index}": 280.0 for host in (0, 1) for index in (0, 1)}
    await actuator.hold(caps_w, ())
    rack.links[1].cut = True
    for _ in range(int(LEASE_S)):
        await actuator.hold(caps_w, ())
        await rig.clock.wait(rig.clock.now() + timedelta(seconds=1))
    assert rack.limits_w()[:2] == pytest.approx([200.0, 200.0])


async def test_limits_that_fit_by_themselves_make_room_too_for_an_agent_that_is_away(rig: Rig) -> None:
    rack = TwoHosts(rig, 1000.0)
    for host, physical in enumerate(rack.physical):
        physical.inject(Faults(limits_w={f"h0{host}-d{index}": 240.0 for index in (0, 1)}))
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await steps(actuator, rig, 2)
    rack.links[1].cut = True
    await steps(actuator, rig, int(LEASE_S))
    assert rack.limits_w()[:2] == pytest.approx([100.0, 100.0])
    rack.links[1].cut = False
    await steps(actuator, rig, int(LEASE_S))
    assert rack.limits_w() == pytest.approx([240.0] * 4)


async def test_what_was_held_goes_back_when_its_rack_has_room_also_during_an_event(rig: Rig) -> None:
    rack = TwoHosts(rig, 1200.0)
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await actuator.hold({}, ())
    assert rack.limits_w() == pytest.approx([300.0] * 4)
    # The second host is taken out of the fleet.
    rig.fleet = AgentFleet(rack.links[:1])
    await rig.fleet.refresh()
    actuator._fleet = rig.fleet
    for _ in range(int(PATIENCE_S) + 2):
        await actuator.hold({"h00-d0": 200.0}, ())
        await rig.clock.wait(rig.clock.now() + timedelta(seconds=1))
    assert rack.limits_w()[:2] == [200.0, 400.0]


async def test_the_last_release_goes_as_far_as_there_is_room_and_says_what_stays(rig: Rig) -> None:
    with_rack(rig, 1000.0)
    await rig.fleet.refresh()
    actuator = rig.actuator()
    wanted_w = dict(zip(RACK, (400.0, 400.0, 100.0, 100.0), strict=True)) | dict.fromkeys(OTHERS, 200.0)
    await actuator.hold(wanted_w, ())
    await actuator.hold(wanted_w, ())
    with capture_logs() as lines:
        assert await actuator.put_back() is None
    assert limits_w(rig) == pytest.approx([250.0] * 4)
    assert limits_w(rig, OTHERS) == [400.0] * 4
    assert [line["reason"] for line in lines if line["event"] == "caps_stay"] == [
        "rack r1 (1 kW): no room for all at their full limit, 4 devices keep a cap"
    ]


async def test_somebody_elses_limit_counts_at_what_it_is(rig: Rig) -> None:
    with_rack(rig, 1000.0)
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await steps(actuator, rig, 2)
    rig.physical.inject(Faults(limits_w={"h00-d0": 370.0}))
    await steps(actuator, rig, int(LEASE_S))
    assert limits_w(rig) == pytest.approx([370.0, 210.0, 210.0, 210.0])
    rig.physical.inject(Faults(limits_w={"h00-d0": 391.0}))
    await rig.fleet.refresh()
    await steps(actuator, rig, 1)
    assert limits_w(rig) == pytest.approx([391.0, 203.0, 203.0, 203.0])


async def test_a_gateway_that_stood_still_past_its_leases_is_sure_of_nothing(rig: Rig) -> None:
    with_rack(rig, 1000.0)
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await actuator.hold(dict.fromkeys(RACK, 150.0), ())
    await rig.clock.wait(rig.clock.now() + timedelta(seconds=2 * LEASE_S))
    # Any host may have been started anew meanwhile: nothing rises before it was heard.
    await actuator.release()
    assert limits_w(rig) == pytest.approx([150.0] * 4)
    await actuator.release()
    assert limits_w(rig) == pytest.approx([250.0] * 4)


async def test_limits_found_that_fit_are_watched_and_restored_by_their_hosts(rig: Rig) -> None:
    with_rack(rig, 1000.0)
    rig.physical.inject(Faults(limits_w=dict.fromkeys(RACK, 240.0)))
    await rig.fleet.refresh()
    actuator = rig.actuator()
    assert await actuator.release() is None
    assert actuator.held_back is None
    await actuator.hold(dict.fromkeys(RACK, 150.0), ())
    assert {command.lease.on_expiry for command in rig.link.commands} == {OnExpiry.RESTORE}
    assert limits_w(rig) == pytest.approx([150.0] * 4)
    await rig.clock.wait(rig.clock.now() + timedelta(seconds=2 * LEASE_S))
    rig.link._agent.expire()  # type: ignore[attr-defined]  # the agent's own tick
    assert limits_w(rig) == pytest.approx([240.0] * 4)
    assert await actuator.put_back() is None
    rig.link.commands.clear()
    assert limits_w(rig) == pytest.approx([240.0] * 4)


async def test_names_in_the_tree_that_nobody_has_are_told_once(rig: Rig) -> None:
    root = Node(node_id="lab-1", kind=NodeKind.SITE, limit_w=9000.0, host_ids=frozenset({"gpu-07"}))
    rig.site = replace(SITE, tree=ElectricalTree(nodes=(root,)))
    with capture_logs() as lines:
        await rig.run(rig.metering(), rig.dispatch(), for_s=25)
    assert [line["names"] for line in lines if line["event"] == "tree_names_unknown"] == [("gpu-07",)]


async def test_a_plan_counts_on_no_more_than_the_tree_has_room_for(rig: Rig) -> None:
    with_rack(rig, 800.0)
    # A limit far above: all that can be had is what the rack and the other host allow, and nothing is short.
    await rig.take(rig.event(in_s=5, lasts_s=60, kind=SignalKind.LIMIT, value=50_000.0))
    dispatch = rig.dispatch()
    await rig.run(rig.metering(), dispatch, for_s=15)
    plan = await rig.ledger.plan("utility", "peak-1")
    assert plan is not None
    caps_w = {command.device_id: command.cap_w for command in rig.link.commands}
    assert max(caps_w[device_id] for device_id in RACK) <= 200.01
    busy_w = [reading for reading in rig.ledger.latest_readings().values() if reading.meter_id in RACK]
    assert sum(reading.power_w for reading in busy_w) <= 800.0 * 1.03
    ceiling_w = dispatch._reach.allocator((), {}).ceiling_w
    rig.site = SITE
    unlimited = rig.dispatch()
    await unlimited._reach.refresh(rig.clock.now(), holding=False)
    assert ceiling_w < unlimited._reach.allocator((), {}).ceiling_w - 400.0
