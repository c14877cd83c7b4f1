"""Prints what one whole control step of a simulated site costs in CPU time, and how well the loop follows.

256 devices in 32 jobs, a target a quarter under the site's power, a virtual second a step, all in process: the site
advances, is read through its agent, the control loop steps, the budget is shared out, caps are written. Measured as
the service does it (what changed is written, and all of it at every fifth step to renew the leases), which the bound is
for, the same under an electrical tree whose racks bind (2 feeds, 8 racks, 32 hosts, each with a limit), and with every
cap written at every step, the worst there is.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

import structlog

from gateway.domain.allocate import Allocator
from gateway.domain.control import ControlState, step
from gateway.domain.fleet import allocation_jobs, device_caps
from gateway.domain.tree import ElectricalTree, Node, NodeKind
from gateway.services.tree_guard import TreeGuard
from hardware.agent import Agent
from hardware.agent_links import LocalLink
from hardware.device import CapCommand, Lease, PowerReading
from hardware.fleet import AgentFleet
from hardware.simulated import SITE_METER_ID, SimulatedFleet
from hardware.workloads import WORKLOADS, SimulatedJob

HOSTS, DEVICES_PER_HOST = 32, 8
REST_STEPS, STEPS = 60, 600
REDUCTION = 0.25
RENEW_STEPS = 5
BOUND_MS = 3.0


class Loop:
    """A simulated site with one job a host, and the control loop around it."""

    def __init__(self, *, write_all: bool, tree: ElectricalTree | None = None) -> None:
        self.write_all = write_all
        self.guard = TreeGuard(tree)
        self.now = datetime(2026, 7, 1, 16, tzinfo=UTC)
        self.boot_s = 0.0
        names, tiers = sorted(WORKLOADS), ("flex1", "flex2", "flex3", "flex2")
        self.simulated = SimulatedFleet(
            hosts=HOSTS,
            devices_per_host=DEVICES_PER_HOST,
            seed=1,
            now=lambda: self.now,
            jobs=[
                SimulatedJob(
                    job_id=f"job-{host:02d}",
                    workload=names[host % len(names)],
                    tier=tiers[host // len(names) % len(tiers)],
                    devices=DEVICES_PER_HOST,
                )
                for host in range(HOSTS)
            ],
        )
        agent = Agent(host_id="bench", devices=self.simulated, jobs=self.simulated, boot_s=lambda: self.boot_s)
        self.fleet = AgentFleet([LocalLink(agent)])
        self.state = ControlState()
        self.target_w: float | None = None
        self.readings: tuple[PowerReading, ...] = ()
        self.caps_w: dict[str, float] = {}
        self.written_w: dict[str, float] = {}
        self.site_w: list[float] = []
        self.writes = 0
        self.sequence = 0

    async def prepare(self) -> None:
        """What is done once a fleet, not at each step."""
        await self.fleet.refresh()
        self.views = tuple(self.fleet.jobs().values())
        self.ranges = {device_id: view.cap_range for device_id, view in self.fleet.devices().items()}
        self.allocator = Allocator(allocation_jobs(self.views, ranges=self.ranges))

    async def advance(self) -> None:
        self.now += timedelta(seconds=1.0)
        self.boot_s += 1.0
        self.simulated.limit_w("h00-d0")

    async def read(self) -> None:
        self.readings = await self.fleet.read()

    async def decide(self) -> None:
        power_w = {reading.meter_id: reading.power_w for reading in self.readings}
        site_w = power_w.pop(SITE_METER_ID)
        self.site_w.append(site_w)
        stepped = step(
            self.state,
            target_w=self.target_w,
            site_w=site_w,
            fleet_w=sum(power_w.values()),
            dt_s=1.0,
            floor_w=self.allocator.floor_w,
            ceiling_w=self.allocator.ceiling_w,
        )
        self.state = stepped.state
        self.writes += stepped.changed
        if stepped.fleet_budget_w is not None and (stepped.changed or self.write_all):
            self.caps_w = device_caps(self.allocator.solve(stepped.fleet_budget_w), self.views, self.ranges)

    async def apply(self) -> None:
        self.sequence += 1
        lease = Lease(epoch=1, sequence=self.sequence, duration_s=15.0)
        everything = self.write_all or self.sequence % RENEW_STEPS == 0
        caps_w: Mapping[str, float] = self.caps_w
        if self.guard.watches:
            allowed = self.guard.allowed(self.fleet.devices(), caps_w, (), self.now)
            caps_w = caps_w if allowed is None else allowed.caps_w
        commands = [
            CapCommand(device_id=device_id, cap_w=cap_w, lease=lease)
            for device_id, cap_w in caps_w.items()
            if everything or self.written_w.get(device_id) != cap_w
        ]
        self.written_w = dict(caps_w)
        if commands:
            self.guard.take(await self.fleet.apply(commands))


def tree() -> ElectricalTree:
    """Racks with room for two thirds of what their devices could draw; hosts, feeds and the site bind less."""
    top_w = 400.0 * DEVICES_PER_HOST
    nodes = [Node(node_id="site", kind=NodeKind.SITE, limit_w=0.8 * HOSTS * top_w)]
    nodes += [
        Node(node_id=f"f{feed}", kind=NodeKind.FEED, parent_id="site", limit_w=0.75 * HOSTS / 2 * top_w)
        for feed in range(2)
    ]
    nodes += [
        Node(node_id=f"r{rack}", kind=NodeKind.RACK, parent_id=f"f{rack % 2}", limit_w=0.66 * HOSTS / 8 * top_w)
        for rack in range(8)
    ]
    nodes += [
        Node(
            node_id=f"h{host}",
            kind=NodeKind.HOST,
            parent_id=f"r{host % 8}",
            limit_w=0.9 * top_w,
            host_ids=frozenset({f"h{host:02d}"}),
        )
        for host in range(HOSTS)
    ]
    return ElectricalTree(nodes=tuple(nodes))


async def measure(name: str, loop: Loop) -> float:
    await loop.prepare()
    parts: dict[str, Callable[[], Awaitable[None]]] = {
        "advance": loop.advance,
        "read": loop.read,
        "decide": loop.decide,
        "apply": loop.apply,
    }
    spent: dict[str, list[float]] = {part: [] for part in parts}
    for second in range(REST_STEPS + STEPS):
        if second == REST_STEPS:
            loop.target_w = (1.0 - REDUCTION) * statistics.fmean(loop.site_w)
        for part, work in parts.items():
            began = time.process_time()
            await work()
            if second >= REST_STEPS:
                spent[part].append((time.process_time() - began) * 1000.0)
    whole: list[float] = [sum(times) for times in zip(*spent.values(), strict=True)]
    listed = ", ".join(f"{part} {statistics.fmean(times):.2f}" for part, times in spent.items())
    print(
        f"{name:>20}: {statistics.fmean(whole):.2f} ms of CPU a step for {len(loop.ranges)} devices"
        f" ({listed}); median {statistics.median(whole):.2f}, p95 {statistics.quantiles(whole, n=20)[-1]:.2f}"
    )
    return statistics.median(whole)


async def main() -> bool:
    loop = Loop(write_all=True)
    all_ms = await measure("every cap written", loop)
    service_ms = await measure("as the service does", Loop(write_all=False))
    tree_ms = await measure("under a tree", Loop(write_all=False, tree=tree()))
    for what, cost_ms in (
        ("as the service does", service_ms),
        ("under a tree", tree_ms),
        ("every cap written", all_ms),
    ):
        verdict = "kept" if cost_ms < BOUND_MS else "BROKEN"
        print(f"bound: {BOUND_MS:.2f} ms in {HOSTS} jobs, {what}: {verdict}")
    report_tracking(loop)
    return service_ms < BOUND_MS


def report_tracking(loop: Loop) -> None:
    if loop.target_w is None:
        return
    held_w = loop.site_w[REST_STEPS + 1 :]
    under = next(second for second, site_w in enumerate(held_w, start=1) if site_w <= loop.target_w)
    steady = [site_w / loop.target_w - 1.0 for site_w in held_w[30:]]
    print(
        f"target {loop.target_w / 1000:.2f} kW reached in {under} s; mean over {len(held_w)} s"
        f" {statistics.fmean(held_w) / loop.target_w - 1.0:+.3%}, then {min(steady):+.2%} to {max(steady):+.2%},"
        f" sd {statistics.pstdev(steady):.2%}; {loop.writes} new budgets"
    )


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    sys.exit(0 if asyncio.run(main()) else 1)
