"""A whole fleet in any state: what must hold whatever fails (ARCHITECTURE.md, safety), looked at after every step.

Two gateways, the older one still sending, over three hosts of keeper and worker each, under an electrical tree, with a
network that loses, delays and repeats; deaths at any write; restarts of machines; other writers; clocks that are set.
Beside the machine, the smallest examples of what it found and of what easily goes wrong.

What may take a node over its limit is somebody else's hand (an older gateway's, too, at a host that the newer has not
spoken to yet) and a machine's restart (its devices forget their caps). That it holds is promised anew once a gateway
has looked at everything (``calm``), but for limits that a device was found under in place of our cap: they are left as
they are until the next release, and what cannot be kept for them is said. One may begin while no host answers.
"""

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.domain.electrical import NOTHING_W
from gateway.domain.tree import ElectricalTree, Node, NodeKind, wire
from gateway.ledger import CapOutcome
from gateway.services.actuator import Actuator
from hardware.device import CapCommand, CapResult, OnExpiry, Outcome
from hardware.errors import AgentUnreachable, HardwareError
from hardware.faults import Faults
from hardware.fleet import AgentFleet
from hardware.job import JobState, Verb
from hardware.known_devices import KnownDevices
from hardware.limit_terms import Ceilings
from hardware.restraint_end import LONGEST_AGAIN_S
from hardware.simulated import SimulatedFleet
from hardware.wire import Act, Acted, Applied, Apply, Reply, Request, Restore
from hardware.workloads import CAP_RANGE, SimulatedJob
from tests.whole_host import WholeHost

HOSTS, EACH = 3, 2
LEASE_S = 6.0
TICK_S = 1.0
LONGEST_PAUSE_S = 20.0
SLACK_W = 1e-3

HOST = st.integers(0, HOSTS - 1)
DEVICE = st.integers(0, HOSTS * EACH - 1)
CAPS_W = st.dictionaries(DEVICE, st.sampled_from([105.0, 155.0, 205.0, 255.0, 305.0, 355.0, 50.0, 1000.0]), min_size=1)
OTHERS_W = st.sampled_from([float(limit) for limit in range(110, 401, 10)])
WAYS = st.lists(
    st.sampled_from(["", "", "", "request lost", "answer lost", "late", "twice"]), min_size=HOSTS, max_size=HOSTS
)
WELL = ("",) * HOSTS


def tree(*, rack_w: float | None, site_w: float | None) -> ElectricalTree:
    """Two hosts in a rack, one in another; limits are for the sum of caps, beside overhead and overshoot."""
    site = Node(node_id="s", kind=NodeKind.SITE, limit_w=None if site_w is None else 80.0 + 1.03 * site_w)
    racks = [
        Node(node_id="r1", kind=NodeKind.RACK, parent_id="s", overhead_w=50.0, host_ids=frozenset({"h00", "h01"})),
        Node(node_id="r2", kind=NodeKind.RACK, parent_id="s", overhead_w=30.0, host_ids=frozenset({"h02"})),
    ]
    racks[0] = replace(racks[0], limit_w=None if rack_w is None else 50.0 + 1.03 * rack_w)
    return ElectricalTree(nodes=(site, *racks), overshoot_fraction=0.03)


TREES = {
    "none": None,
    "one rack": tree(rack_w=1000.0, site_w=None),
    "rack and site": tree(rack_w=1100.0, site_w=1500.0),
    "site": tree(rack_w=None, site_w=1300.0),
}


class Record:
    """What the actuator keeps of outcomes; nobody reads it."""

    def note_outcomes(self, outcomes: Sequence[CapOutcome]) -> None:
        return


class Wall:
    """A clock that somebody sets."""

    def __init__(self, world: "FleetStates") -> None:
        self._world = world

    def now(self) -> datetime:
        return self._world.now() + timedelta(seconds=self._world.wall_off_s)


class Way:
    """A gateway's way to one host; how it does is the machine's to say."""

    def __init__(self, world: "FleetStates", host: WholeHost) -> None:
        self._world = world
        self._host = host

    async def request(self, message: Request) -> Reply:
        world, host = self._world, self._host
        how = world.ways.get(host.host_id, "")
        if host in world.cut or how == "request lost":
            raise AgentUnreachable("cut")
        if isinstance(message, Apply | Restore | Act):
            if how == "late":
                world.late.append((host, host.desk, message))
                raise AgentUnreachable("on its way for too long")
            world.sent.append((host, host.desk, message))
        reply = await world.deliver(host, message)
        if how == "twice":
            with suppress(AgentUnreachable):
                await world.deliver(host, message)
        if how == "answer lost":
            raise AgentUnreachable("the answer was lost")
        return reply

    async def close(self) -> None:
        return


class Gateway:
    """One life of a gateway: its own view of the fleet, and what it is asked to hold."""

    def __init__(self, world: "FleetStates", epoch: int, fleet: AgentFleet, tree: ElectricalTree | None) -> None:
        self.epoch = epoch
        self.fleet = fleet
        self.actuator = Actuator(
            fleet=fleet,
            ledger=Record(),  # type: ignore[arg-type]
            clock=Wall(world),  # type: ignore[arg-type]
            epoch=epoch,
            lease_s=LEASE_S,
            tree=tree,
        )
        self.wanted: tuple[dict[str, float], list[str]] | None = None
        self._steps = 0

    async def step(self) -> str | None:
        """What ``Dispatch`` does once a second."""
        self._steps += 1
        if self._steps % 3 == 1:
            with suppress(HardwareError):
                await self.fleet.refresh()
        return await (self.actuator.release() if self.wanted is None else self.actuator.hold(*self.wanted))


class FleetStates(RuleBasedStateMachine):
    @initialize(
        found_w=st.lists(OTHERS_W, min_size=HOSTS * EACH, max_size=HOSTS * EACH),
        ceiling_w=st.sampled_from([None, None, 275.0]),
        tree=st.sampled_from(["none", *TREES]),
        alone=st.booleans(),
    )
    def begin(self, found_w, ceiling_w, tree, alone):
        """``alone``: no other writer and no restart of a machine, so that the tree must hold all the time."""
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.now_s, self.wall_off_s = 1000.0, 0.0
        self.tree, self.alone = TREES[tree], alone
        self.ceilings = Ceilings(default_w=ceiling_w)
        self.hosts = [self.host(number) for number in range(HOSTS)]
        self.ids = [device_id for host in self.hosts for device_id in host.device_ids]
        self.host_of = {device_id: host for host in self.hosts for device_id in host.device_ids}
        self.wiring = (
            None if self.tree is None else wire(self.tree, {key: host.host_id for key, host in self.host_of.items()})
        )
        self.outside_w: dict[str, float] = {}
        self.should_be_w: dict[str, float] = {}
        self.unsure: set[str] = set()
        # Devices that somebody else, or a restart, has set since the beginning.
        self.others: set[str] = set()
        self.asked: tuple[WholeHost, Request] | None = None
        self.ways: dict[str, str] = {}
        self.cut: set[WholeHost] = set()
        # Each with the worker that it was sent to.
        self.late: list[tuple[WholeHost, object, Request]] = []
        self.sent: list[tuple[WholeHost, object, Request]] = []
        # What each device was told last and acted on: epoch and sequence, and what may come of it at its lease's end.
        self.epoch_of: dict[WholeHost, int] = dict.fromkeys(self.hosts, 0)
        self.heard: dict[str, tuple[int, int]] = {}
        self.on_expiry: dict[str, set[OnExpiry]] = {}
        self.lease_until_s: dict[str, float] = {}
        self.unguarded_s: dict[WholeHost, float] = dict.fromkeys(self.hosts, 0.0)
        self.paused_since_s: dict[str, float] = {}
        for device_id, limit_w in zip(self.ids, found_w, strict=True):
            self.outside(device_id, limit_w)
        self.unsure.clear()
        self.others.clear()
        for host in self.hosts:
            self.run(host.start())
        self.epoch = 0
        self.gateways: list[Gateway] = []
        self.new_gateway()

    def host(self, number: int) -> WholeHost:
        job = SimulatedJob(job_id=f"j{number}", workload="finetune-8b", tier="flex3", devices=1, max_pause_s=20.0)
        fleet = SimulatedFleet(
            hosts=1,
            devices_per_host=EACH,
            seed=1,
            now=self.now,
            jobs=[job],
            site_meter_id=None,
            first_host=number,
            time_passes=False,
        )
        return WholeHost(
            number,
            fleet=fleet,
            folder=Path(self.folder.name),
            now_s=lambda: self.now_s,
            about_to_write=self.about_to_write,
            ceilings=self.ceilings,
        )

    def now(self) -> datetime:
        return datetime(2026, 7, 1, tzinfo=UTC) + timedelta(seconds=self.now_s)

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(work)

    # What is true of the devices.

    def limit_w(self, device_id: str) -> float:
        host = self.host_of[device_id]
        return host.fleet._state.limit_w.item(host.fleet._index[device_id])

    def goal_w(self, device_id: str) -> float:
        return min(self.outside_w[device_id], max(self.ceilings.of(device_id), CAP_RANGE.min_w))

    def is_paused(self, host: WholeHost) -> bool:
        return bool(host.fleet._state.paused[0])

    def on_disk(self, host: WholeHost) -> dict[str, Any]:
        return json.loads(host.journal_path.read_text()) if host.journal_path.exists() else {"limits": {}, "paused": []}

    def outside(self, device_id: str, limit_w: float) -> None:
        """Somebody else sets a limit."""
        host = self.host_of[device_id]
        host.fleet.inject(replace(host.faults, limits_w={device_id: limit_w}))
        self.outside_w[device_id] = self.should_be_w[device_id] = limit_w
        self.on_expiry.pop(device_id, None)
        self.lease_until_s.pop(device_id, None)
        self.unsure.add(device_id)
        self.others.add(device_id)

    def nodes_over(self, limits_w: dict[str, float]) -> dict[str, float]:
        """By how much each node is over its limit, with what is in force."""
        if self.wiring is None:
            return {}
        over_w = self.wiring.sums([limits_w[key] for key in self.wiring.device_ids]) - self.wiring.budget_w
        return {node.node_id: over for node, over in zip(self.wiring.nodes, over_w.tolist(), strict=False)}

    def above(self, device_id: str) -> set[str]:
        if self.wiring is None:
            return set()
        column = self.wiring.paths[:, self.wiring.device_ids.index(device_id)]
        return {self.wiring.nodes[index].node_id for index in column if index < len(self.wiring.nodes)}

    # What is looked at at every write and every answer.

    def about_to_write(self, host: WholeHost, device_id: str, limit_w: float) -> None:
        """What must hold of every write, whoever makes it and why."""
        was_w, most_w = self.limit_w(device_id), min(self.outside_w[device_id], self.ceilings.of(device_id))
        assert CAP_RANGE.min_w <= limit_w <= most_w, "in the range, and not over the limit found or the ceiling"
        found_w, written_w, _, hold = self.on_disk(host)["limits"][device_id]
        # What was put back no higher than the ceiling is found there again.
        assert found_w in {self.outside_w[device_id], self.goal_w(device_id)}, "what is put back is what was found"
        assert limit_w in {written_w, self.goal_w(device_id)}, "on disk before it is written"
        if limit_w > was_w + SLACK_W:
            if self.asked is None:
                assert OnExpiry.RESTORE in self.on_expiry[device_id], "what is to be held is not raised by a host"
                assert not hold
            self.may_rise(device_id, limit_w)
        faults = host.faults
        if device_id not in faults.lost | faults.hanging | faults.write_refused | faults.limit_stuck:
            self.should_be_w[device_id] = limit_w

    def may_rise(self, device_id: str, limit_w: float) -> None:
        if any(self.above(other) & self.above(device_id) for other in self.unsure):
            return
        over_w = self.nodes_over({key: self.limit_w(key) for key in self.ids} | {device_id: limit_w})
        for node_id in self.above(device_id):
            assert over_w[node_id] <= SLACK_W, f"{device_id} up to {limit_w:g} W takes {node_id} over its limit"

    async def deliver(self, host: WholeHost, request: Request) -> Reply:
        """Have a host answer, and look at what came of it."""
        if isinstance(request, Apply | Restore | Act):
            await host.tick()  # So that what ends by itself has ended before.
        before = ({key: self.limit_w(key) for key in host.device_ids}, self.is_paused(host))
        self.asked = (host, request)
        self.note_lease(host, request)
        try:
            reply = await host.answer(request)
        finally:
            self.asked = None
        after = ({key: self.limit_w(key) for key in host.device_ids}, self.is_paused(host))
        if isinstance(reply, Applied | Acted):
            self.look_at_answer(host, request, reply, before)
            if max(self.epochs(request), default=0) < self.epoch_of[host]:
                assert before == after, "an epoch that is over changes nothing"
            self.epoch_of[host] = max(self.epoch_of[host], *self.epochs(request))
        return reply

    def look_at_answer(self, host: WholeHost, request: Request, reply: Applied | Acted, before: Any) -> None:
        """What is said of each device and job is true of it at this moment."""
        if isinstance(request, Apply):
            for command, result in zip(request.commands, reply.results, strict=True):
                self.look_at_cap(host, command, result, before[0])
        elif isinstance(request, Restore):
            for result in reply.results:
                said, key = (request.epoch, request.sequence or 0), result.device_id
                if said < self.heard.get(key, (0, 0)):
                    assert self.limit_w(key) == before[0][key], "what is stale changes nothing"
                elif result.outcome is Outcome.APPLIED:
                    self.heard[key] = said
                    self.look_at_restore(host, result)
        else:
            for done in reply.results:
                if done.outcome in {Outcome.APPLIED, Outcome.CLAMPED}:
                    assert self.is_paused(host) is (done.verb is Verb.PAUSE)
                    assert done.state is (JobState.PAUSED if done.verb is Verb.PAUSE else JobState.RUNNING)

    @staticmethod
    def epochs(request: Request) -> list[int]:
        if isinstance(request, Restore):
            return [request.epoch]
        if isinstance(request, Apply):
            return [command.lease.epoch for command in request.commands]
        return [action.lease.epoch for action in request.actions] if isinstance(request, Act) else []

    def note_lease(self, host: WholeHost, request: Request) -> None:
        """What may come of caps that are on their way, even where the host dies at it."""
        if isinstance(request, Apply):
            for command in request.commands:
                key, lease = command.device_id, command.lease
                if lease.epoch >= self.epoch_of[host] and (lease.epoch, lease.sequence) > self.heard.get(key, (0, 0)):
                    self.on_expiry.setdefault(key, set()).add(lease.on_expiry)
                    until_s = self.now_s + lease.duration_s
                    self.lease_until_s[key] = max(until_s, self.lease_until_s.get(key, until_s))
        elif isinstance(request, Restore):
            # What cannot be put back now, of a device that is lost, goes back as soon as it can.
            said = (request.epoch, request.sequence or 0)
            for key in set(request.device_ids) & set(self.on_expiry):
                if request.epoch >= self.epoch_of[host] and said >= self.heard.get(key, (0, 0)):
                    self.on_expiry[key].add(OnExpiry.RESTORE)

    def look_at_cap(self, host: WholeHost, command: CapCommand, result: CapResult, before_w: dict[str, float]) -> None:
        key, lease = command.device_id, command.lease
        said, limit_w = (lease.epoch, lease.sequence), self.limit_w(key)
        if lease.epoch < self.epoch_of[host]:
            assert result.outcome is Outcome.REFUSED
            assert limit_w == before_w[key], "an epoch that is over changes nothing"
            return
        if said <= self.heard.get(key, (0, 0)):
            assert limit_w == before_w[key], "what is stale or was heard changes nothing"
            return
        if result.outcome in {Outcome.APPLIED, Outcome.CLAMPED}:
            assert result.applied_w == limit_w, "what is said to be in force is in force"
            assert limit_w <= max(command.cap_w, CAP_RANGE.min_w) + 0.5
            assert result.outcome is Outcome.CLAMPED or abs(limit_w - command.cap_w) <= 0.5
            self.heard[key] = said
            if lease.epoch < self.epoch:
                # The newer gateway has not spoken to this host yet, and knows nothing of it.
                self.unsure.add(key)
            self.on_expiry[key] = {lease.on_expiry}
            self.lease_until_s[key] = self.now_s + lease.duration_s

    def look_at_restore(self, host: WholeHost, result: CapResult) -> None:
        key = result.device_id
        assert self.limit_w(key) in {self.outside_w[key], self.goal_w(key)}, "put back"
        assert result.applied_w == self.limit_w(key)
        # Where the keeper died at it the entry is due until it has been looked at again.
        assert host.keeper is None or result.fault or key not in self.on_disk(host)["limits"]
        self.on_expiry.pop(key, None)
        self.lease_until_s.pop(key, None)

    # What happens.

    def steer(self, gateway: Gateway, ways: Sequence[str]) -> str | None:
        self.ways = {host.host_id: way for host, way in zip(self.hosts, ways, strict=True)}
        said = self.run(gateway.step())
        self.ways = {}
        return said

    @rule(caps_w=CAPS_W, paused=st.sets(HOST), ways=WAYS, old=st.booleans())
    def hold(self, caps_w, paused, ways, old):
        gateway = self.gateways[0 if old else -1]
        gateway.wanted = ({self.ids[at]: cap_w for at, cap_w in caps_w.items()}, [f"j{at}" for at in sorted(paused)])
        self.steer(gateway, ways)

    @rule(ways=WAYS, old=st.booleans())
    def release(self, ways, old):
        gateway = self.gateways[0 if old else -1]
        gateway.wanted = None
        self.steer(gateway, ways)

    @rule(ways=WAYS, old=st.booleans())
    def go_on(self, ways, old):
        self.steer(self.gateways[0 if old else -1], ways)

    @rule(seconds=st.sampled_from([1, 2, 5, 25]))
    def all_goes_on(self, seconds):
        for _ in range(seconds):
            self.pass_time()
            for gateway in self.gateways:
                self.steer(gateway, WELL)

    @rule(seconds=st.sampled_from([1, 3, 8, 25]))
    def gateways_stand_still(self, seconds):
        for _ in range(seconds):
            self.pass_time()

    def pass_time(self) -> None:
        self.now_s += TICK_S
        for host in self.hosts:
            if not host.guarded:
                self.unguarded_s[host] = self.now_s
            self.run(host.tick())
        self.leases_that_ended_are_over()

    @rule()
    def new_gateway(self):
        """Another one begins, above every epoch that was heard of; the one before it may go on sending."""
        self.gateways = [*self.gateways[-1:], self.gateway(self.tree)]

    def gateway(self, tree: ElectricalTree | None) -> Gateway:
        # Each life of a gateway has the same folder of state; an older one that goes on sending has no right to it.
        fleet = AgentFleet(
            [Way(self, host) for host in self.hosts], None, KnownDevices(Path(self.folder.name) / "known")
        )
        with suppress(HardwareError):
            self.run(fleet.refresh())
        self.epoch = max(self.epoch, fleet.highest_epoch) + 1
        return Gateway(self, self.epoch, fleet, tree)

    @precondition(lambda self: len(self.gateways) > 1)
    @rule()
    def old_gateway_dies(self):
        del self.gateways[0]

    @precondition(lambda self: self.late)
    @rule(index=st.integers(0, 7), again=st.booleans())
    def late_message_comes(self, index, again):
        one = self.late[index % len(self.late)]
        if not again:
            self.late.remove(one)
        self.bring(*one)

    @precondition(lambda self: self.sent)
    @rule(back=st.integers(0, 7))
    def message_comes_again(self, back):
        self.bring(*self.sent[-1 - back % len(self.sent)])

    def bring(self, host: WholeHost, desk: object, message: Request) -> None:
        if desk is not host.desk:
            return  # What was on its way to a process goes with it.
        with suppress(AgentUnreachable):
            self.run(self.deliver(host, message))

    def forget_messages(self, host: WholeHost) -> None:
        """They were on their way to a process that has died."""
        self.late = [one for one in self.late if one[0] is not host]
        self.sent = [one for one in self.sent if one[0] is not host]
        for device_id in host.device_ids:
            self.heard.pop(device_id, None)

    @rule(at=HOST, who=st.sampled_from(["worker_dies", "keeper_dies", "both_die", "agent_is_stopped"]))
    def somebody_dies(self, at, who):
        getattr(self, who)(at)

    def worker_dies(self, at):
        self.forget_messages(self.hosts[at])
        self.run(self.hosts[at].kill_worker())

    def keeper_dies(self, at):
        self.hosts[at].keeper_is_dead()

    def both_die(self, at):
        self.forget_messages(self.hosts[at])
        self.run(self.hosts[at].kill_both())

    def agent_is_stopped(self, at):
        self.forget_messages(self.hosts[at])
        self.run(self.hosts[at].stop())

    @rule(at=HOST)
    def what_is_down_starts(self, at):
        self.run(self.hosts[at].start())

    @rule(at=HOST, keeper=st.booleans(), calls=st.integers(0, 4))
    def doom(self, at, keeper, calls):
        process = self.hosts[at].of_keeper if keeper else self.hosts[at].of_worker
        if process is not None:
            process.calls_to_live = calls

    @precondition(lambda self: not self.alone)
    @rule(at=HOST)
    def machine_restarts(self, at):
        host = self.hosts[at]
        self.forget_messages(host)
        self.run(host.restart_machine())
        host.fleet._state.paused[:] = False
        for device_id in host.device_ids:
            self.outside(device_id, CAP_RANGE.default_w)

    @precondition(lambda self: not self.alone)
    @rule(at=DEVICE, limit_w=OTHERS_W)
    def somebody_else_writes(self, at, limit_w):
        device_id = self.ids[at]
        ours = self.on_disk(self.host_of[device_id])["limits"].get(device_id)
        # What is set to just what we wrote cannot be told from ours.
        if ours is None or min(abs(limit_w - ours[1]), abs(limit_w - ours[2])) > 1.0:
            self.outside(device_id, limit_w)

    @rule(kind=st.sampled_from(["lost", "write_refused", "limit_stuck", "hanging", ""]), at=DEVICE)
    def break_down(self, kind, at):
        host = self.host_of[self.ids[at]]
        if not kind:
            self.heal(self.hosts.index(host))
            return
        host.faults = Faults(**{kind: frozenset({self.ids[at]})})
        host.fleet.inject(host.faults)

    def heal(self, at):
        self.hosts[at].faults = Faults()
        self.hosts[at].fleet.inject(Faults())

    @rule(at=HOST)
    def network_is_cut_or_back(self, at):
        self.cut ^= {self.hosts[at]}

    @rule(step_s=st.sampled_from([-3600.0, -4.0, -1.5, 3.0, 3600.0]))
    def wall_clock_is_set(self, step_s):
        self.wall_off_s += step_s

    @rule()
    def calm(self):
        """All is well for a while, and one gateway looks after everything."""
        self.all_well()
        if not self.gateways[-1].fleet.devices():
            return
        del self.gateways[:-1]
        gateway = self.gateways[-1]
        gateway.wanted = None
        for _ in range(int(LEASE_S) + 4):
            self.pass_time()
            said = self.steer(gateway, WELL)
        assert said is None, said
        self.unsure.clear()
        self.tree_is_kept_as_far_as_can_be()

    def all_well(self) -> None:
        self.late.clear()
        self.cut.clear()
        for at, host in enumerate(self.hosts):
            self.heal(at)
            for process in (host.of_keeper, host.of_worker):
                if process is not None:
                    process.calls_to_live = None
        self.pass_time()
        for host in self.hosts:
            self.run(host.start())

    def tree_is_kept_as_far_as_can_be(self) -> None:
        actuator = self.gateways[-1].actuator
        limits_w = {key: self.limit_w(key) for key in self.ids}
        left = set(actuator.not_ours)
        assert left <= self.others, "a limit that nobody else set is not left alone"
        assert all(limits_w[key] == self.outside_w[key] for key in left), "what somebody else set is left as it is"
        least_w = {key: limits_w[key] if key in left else CAP_RANGE.min_w for key in self.ids}
        least_over_w = self.nodes_over(least_w)
        for node_id, over_w in self.nodes_over(limits_w).items():
            assert over_w <= max(SLACK_W, least_over_w[node_id] + SLACK_W), f"{node_id} is over its limit"
            if over_w >= NOTHING_W:
                assert f" {node_id} (" in (actuator.shortfall or ""), f"nobody is told that {node_id} is over its limit"

    # What is looked at after every step.

    @invariant()
    def nobody_but_agents_writes(self):
        if hasattr(self, "loop"):
            for device_id in self.ids:
                limit_w = self.limit_w(device_id)
                assert limit_w == self.should_be_w[device_id]
                assert CAP_RANGE.min_w <= limit_w <= self.outside_w[device_id]

    def leases_that_ended_are_over(self) -> None:
        """After a turn of every host: no cap outlives a lease that restores, no pause its maximum."""
        for device_id, on_expiry in self.on_expiry.items():
            host = self.host_of[device_id]
            faults = host.faults
            wrong = device_id in faults.lost | faults.hanging | faults.write_refused | faults.limit_stuck
            over = self.now_s >= max(self.lease_until_s[device_id], self.unguarded_s[host])
            if host.guarded and not host.orphaned and over and not wrong and on_expiry == {OnExpiry.RESTORE}:
                limit_w = self.limit_w(device_id)
                assert limit_w in {self.outside_w[device_id], self.goal_w(device_id)}, "no cap outlives its lease"
        for host in self.hosts:
            if not (self.is_paused(host) and host.guarded):
                self.paused_since_s.pop(host.host_id, None)
                continue
            since_s = self.paused_since_s.setdefault(host.host_id, self.now_s)
            assert self.now_s - since_s <= LONGEST_PAUSE_S + LONGEST_AGAIN_S + TICK_S

    def teardown(self):
        if not hasattr(self, "loop"):
            return
        try:
            self.everything_is_as_found_in_the_end()
        finally:
            for host in self.hosts:
                self.run(host.kill_both())
            self.loop.close()
            self.folder.cleanup()

    def everything_is_as_found_in_the_end(self) -> None:
        """After all leases, and a last gateway that no tree binds."""
        self.all_well()
        for _ in range(int(LONGEST_PAUSE_S)):
            self.pass_time()
        self.wiring = None
        last = self.gateway(None)
        for _ in range(4):
            self.pass_time()
            said = self.steer(last, WELL)
        assert said is None, said
        for device_id in self.ids:
            assert self.limit_w(device_id) in {self.outside_w[device_id], self.goal_w(device_id)}
        for host in self.hosts:
            assert not self.is_paused(host)
            assert not self.on_disk(host)["limits"]
            assert not self.on_disk(host)["paused"]


SOME = settings(
    max_examples=80,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
# The same each time: what many more find is `make soak`'s to tell, and no change's fault.
FleetStates.TestCase.settings = settings(SOME, derandomize=True)
TestFleetStates = FleetStates.TestCase


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_more_states():
    run_state_machine_as_test(FleetStates, settings=settings(SOME, max_examples=3000, stateful_step_count=50))


def machine(tree: str = "one rack", *, ceiling_w: float | None = None) -> FleetStates:
    made = FleetStates()
    made.begin([400.0] * HOSTS * EACH, ceiling_w, tree, alone=True)
    return made


def test_a_lost_device_that_is_back_is_not_raised_where_there_is_no_room():
    run = machine()
    run.all_goes_on(2)
    assert [run.limit_w(device_id) for device_id in run.ids[:4]] == [250.0] * 4
    run.break_down("lost", 0)
    run.new_gateway()
    run.release(["request lost"] * HOSTS, old=False)
    run.heal(0)
    # It counts with the top of its range, and the other host does not hear that it is to go down for it.
    run.release(["", "request lost", ""], old=False)
    assert [run.limit_w(device_id) for device_id in run.ids[:4]] == [250.0, 200.0, 250.0, 250.0]
    run.calm()
    run.teardown()


def test_nothing_rises_under_a_node_that_is_over_where_an_answer_was_lost_and_leases_may_have_ended():
    run = FleetStates()
    run.begin([120.0, 390.0, 290.0, 390.0, 120.0, 310.0], None, "rack and site", alone=True)
    # The first host goes down and nobody hears of it; the third is not reached, and the site stays over its limit.
    run.release(["answer lost", "", "late"], old=False)
    run.gateways_stand_still(25)
    run.hold({1: 50.0}, set(), WELL, old=False)
    assert run.limit_w("h00-d0") < 120.0
    run.calm()
    run.teardown()


def test_a_pause_that_is_asked_for_again_after_its_lease_is_not_said_to_hold():
    run = machine("none")
    run.hold({0: 105.0}, {0}, WELL, old=False)
    run.gateways_stand_still(8)
    run.message_comes_again(0)
    assert not run.is_paused(run.hosts[0])
    run.teardown()


def test_a_pause_that_was_cut_to_its_maximum_is_not_said_to_hold_after_it_either():
    run = machine("none")
    run.hold({0: 105.0}, {0}, WELL, old=False)
    run.all_goes_on(17)
    renewal = next(one for one in reversed(run.sent) if isinstance(one[2], Act))
    run.gateways_stand_still(8)
    assert not run.is_paused(run.hosts[0])
    run.bring(*renewal)
    run.teardown()


def test_two_pauses_with_nothing_between_them_are_one_and_end_at_the_tested_maximum():
    run = machine("none")
    run.hold({0: 105.0}, {0}, WELL, old=False)
    run.all_goes_on(9)
    run.hold({0: 105.0}, set(), WELL, old=False)
    run.hold({0: 105.0}, {0}, WELL, old=False)
    run.all_goes_on(12)
    assert not run.is_paused(run.hosts[0])
    run.teardown()


def test_a_gateway_that_begins_counts_with_a_host_that_it_cannot_reach():
    run = machine()
    run.all_goes_on(2)
    run.network_is_cut_or_back(0)
    run.new_gateway()
    run.old_gateway_dies()
    for _ in range(3):
        run.all_goes_on(25)
    # Two devices that may have 400 W each leave 200 W of the rack's 1000 W.
    assert [run.limit_w(device_id) for device_id in run.ids[:4]] == pytest.approx([250.0, 250.0, 100.0, 100.0])
    run.calm()
    run.teardown()


def test_the_keeper_dies_at_the_write_that_puts_back():
    run = machine("none", ceiling_w=275.0)
    run.hold({0: 105.0, 1: 105.0}, set(), WELL, old=False)
    run.doom(0, keeper=True, calls=1)
    run.release(WELL, old=False)
    run.pass_time()
    run.teardown()


def test_a_put_back_that_comes_late_does_not_undo_a_cap_nor_a_cap_a_put_back():
    run = machine("none")
    run.hold({0: 105.0}, set(), WELL, old=False)
    run.release(["late", "", ""], old=False)
    run.hold({0: 155.0}, set(), WELL, old=False)
    run.late_message_comes(0, again=False)
    assert run.limit_w("h00-d0") == 155.0
    run.hold({0: 105.0}, set(), ["late", "", ""], old=False)
    run.release(WELL, old=False)
    run.late_message_comes(0, again=False)
    assert run.limit_w("h00-d0") == 400.0
    run.teardown()


def test_what_a_lost_device_was_to_put_back_it_puts_back_once_it_is_there_again():
    run = FleetStates()
    run.begin([110.0] * HOSTS * EACH, None, "one rack", alone=True)
    run.worker_dies(1)
    for _ in range(6):
        run.new_gateway()
    run.go_on(["request lost", "", ""], old=False)
    run.all_goes_on(1)
    for _ in range(3):
        run.new_gateway()
    # A host that is away counts with its most, so that what the others have is to be held.
    run.hold({0: 105.0}, set(), WELL, old=False)
    assert run.on_expiry["h00-d0"] == {OnExpiry.HOLD}
    run.new_gateway()
    run.new_gateway()
    run.break_down("lost", 0)
    run.release(WELL, old=False)
    run.new_gateway()
    run.what_is_down_starts(1)
    # There is room again, and all are to go back: the lost one cannot just now.
    run.go_on(WELL, old=False)
    assert [run.limit_w(device_id) for device_id in run.ids[:2]] == [100.0, 110.0]
    run.all_well()
    assert run.limit_w("h00-d0") == 110.0
    run.teardown()


def test_an_older_gateway_and_a_command_that_comes_late_change_nothing():
    run = machine("none")
    run.hold({0: 105.0}, {0}, ["late", "", ""], old=False)
    run.new_gateway()
    run.hold({0: 205.0}, set(), WELL, old=False)
    run.late_message_comes(0, again=True)
    run.hold({0: 155.0, 1: 155.0}, {0}, WELL, old=True)
    assert [run.limit_w(device_id) for device_id in run.ids[:2]] == [205.0, 400.0]
    run.teardown()


def test_a_cap_lasts_through_its_workers_death_and_ends_with_its_lease():
    run = machine("none")
    run.hold({0: 105.0}, {0}, WELL, old=False)
    run.worker_dies(0)
    run.gateways_stand_still(int(LEASE_S) - 1)
    assert (run.limit_w("h00-d0"), run.is_paused(run.hosts[0])) == (105.0, True)
    run.what_is_down_starts(0)
    run.gateways_stand_still(1)
    assert (run.limit_w("h00-d0"), run.is_paused(run.hosts[0])) == (400.0, False)
    run.teardown()


def test_a_pause_that_is_renewed_for_ever_ends_at_its_tested_maximum():
    run = machine("none")
    run.hold({0: 105.0}, {0}, WELL, old=False)
    run.worker_dies(0)
    run.what_is_down_starts(0)
    run.all_goes_on(25)
    assert (run.limit_w("h00-d0"), run.is_paused(run.hosts[0])) == (105.0, False)
    run.teardown()


def test_somebody_elses_limit_is_left_in_the_tree_and_when_a_keeper_dies():
    run = machine()
    run.all_goes_on(2)
    run.alone = False
    run.somebody_else_writes(0, 390.0)
    run.keeper_dies(0)
    run.all_goes_on(2)
    run.what_is_down_starts(0)
    run.all_goes_on(5)
    run.calm()
    run.teardown()


def test_somebody_elses_limits_are_left_until_the_release_though_their_rack_is_over_and_that_is_said():
    run = machine()
    run.all_goes_on(2)
    run.alone = False
    for at in range(3):
        run.somebody_else_writes(at, 390.0)
    run.calm()
    # 1000 W are the rack's: the fourth at its floor is all that may be done for it.
    assert [run.limit_w(device_id) for device_id in run.ids[:4]] == [390.0, 390.0, 390.0, 100.0]
    assert "rack r1 (1.08 kW): up to 0.28 kW over" in str(run.gateways[-1].actuator.shortfall)
    run.hold({4: 205.0}, set(), WELL, old=False)
    run.calm()
    assert run.nodes_over({device_id: run.limit_w(device_id) for device_id in run.ids})["r1"] <= SLACK_W
    assert run.gateways[-1].actuator.shortfall is None
    run.teardown()


def test_a_limit_that_was_left_to_somebody_else_counts_as_last_heard_when_it_is_asked_for_again():
    run = FleetStates()
    run.begin([240.0, 240.0, 240.0, 240.0, 400.0, 400.0], None, "one rack", alone=False)
    run.all_goes_on(2)
    run.somebody_else_writes(0, 260.0)
    run.calm()
    run.somebody_else_writes(0, 400.0)
    run.calm()
    run.hold({4: 105.0}, set(), WELL, old=False)
    # Its own host does not hear that it is to go down: the other one must not rise into what it has.
    run.release(["request lost", "", ""], old=False)
    assert [run.limit_w(device_id) for device_id in run.ids[:4]] == [400.0, 200.0, 200.0, 200.0]
    run.calm()
    run.teardown()


def test_a_worker_that_dies_before_it_told_of_a_cap_that_is_to_be_held_leaves_it_held():
    run = machine()
    run.all_goes_on(2)
    run.alone = False
    run.somebody_else_writes(0, 380.0)
    run.all_goes_on(1)
    run.new_gateway()
    run.old_gateway_dies()
    # It dies right after its first write.
    run.doom(0, keeper=False, calls=1)
    run.go_on(WELL, old=False)
    assert run.hosts[0].desk is None
    held_w = run.limit_w("h00-d0")
    assert held_w < 380.0
    run.gateways_stand_still(3)
    assert run.limit_w("h00-d0") == held_w
    run.calm()
    run.teardown()


def test_caps_that_the_tree_needs_stay_through_all_deaths():
    run = machine()
    run.all_goes_on(2)
    for at in range(HOSTS):
        run.both_die(at)
    run.gateways_stand_still(8)
    for at in range(HOSTS):
        run.what_is_down_starts(at)
    assert [run.limit_w(device_id) for device_id in run.ids[:4]] == [250.0] * 4
    run.calm()
    run.teardown()
