"""One scenario played once, with one seed: the whole gateway, its utility and its site in virtual time."""

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

from gateway import app
from gateway.clock import VirtualClock
from gateway.domain.settlement import SettlementStatement
from gateway.ledger import Ledger
from gateway.simulation.life import CONNECTION_ID, GatewayLife
from gateway.simulation.recorder import Recorder, Recording
from gateway.simulation.scenario import FaultPart, Scenario, Stretch
from gateway.simulation.site import PlayedSite
from gateway.simulation.utility import Utility
from protocols.grid import Opt


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedEvent:
    """What the gateway knows of one event after the scenario; times in seconds from its start.

    ``baseline_w`` is the frozen live baseline, ``lowest_w`` the lowest target. ``statement`` is ``None`` where nothing
    was settled; ``hold`` is the time of the event in which the target is not on its way.
    """

    event_id: str
    received_s: float
    starts_s: float
    ends_s: float
    ramp_from_s: float
    recovered_s: float
    hold: tuple[float, float]
    baseline_w: float
    lowest_w: float
    shortfall_w: float
    reason: str
    regulation: tuple[float, float] | None
    statement: SettlementStatement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A scenario, played: what was recorded, its events, and the commands that reached the agent.

    ``refused`` are events that the gateway opted out of, each with its reason; nothing came of those ``unanswered``.
    ``told_of_the_meter`` are the changes that the site's metering told of: when, which part, and what is wrong with it.
    """

    scenario: Scenario
    seed: int
    recording: Recording
    events: tuple[PlayedEvent, ...]
    refused: tuple[tuple[str, str], ...]
    unanswered: tuple[str, ...]
    told_of_the_meter: tuple[tuple[float, str, str | None], ...]
    cap_commands: int
    restores: int


async def play(
    scenario: Scenario, *, seed: int, folder: Path, tell: Callable[[float], None] = lambda _: None
) -> Played:
    """Play it; the records go into ``folder``, which the caller throws away. ``tell`` hears how far it is, 0 to 1."""
    clock = VirtualClock(scenario.zero)
    site = PlayedSite(scenario, seed, clock)
    recorder = Recorder(scenario, site, clock)
    async with AsyncExitStack() as edges:
        theirs = await edges.enter_async_context(
            app.open_record(f"sqlite+aiosqlite:///{folder}/utility.db", migrate=True)
        )
        numbers = count(1)
        vtn = app.built_in_vtn(CONNECTION_ID, theirs.parties, clock, new_id=lambda: f"{next(numbers):08d}")
        gateway = GatewayLife(scenario, site=site, vtn=vtn, clock=clock, folder=folder)
        utility = Utility(scenario, program=vtn, clock=clock, mean_w=recorder.mean_w)
        for stretch in scenario.stretches():
            await _play_stretch(
                _Parts(scenario=scenario, clock=clock, site=site, recorder=recorder, gateway=gateway, utility=utility),
                stretch,
                tell,
            )
        async with app.open_record(gateway.url, migrate=True) as record:
            events, refused, unanswered = await _events(record.ledger, scenario, utility)
    return Played(
        scenario=scenario,
        seed=seed,
        recording=recorder.recording(),
        events=events,
        refused=refused,
        unanswered=unanswered,
        told_of_the_meter=tuple(gateway.told_of_the_meter),
        cap_commands=site.agent.cap_commands,
        restores=site.agent.restores,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    scenario: Scenario
    clock: VirtualClock
    site: PlayedSite
    recorder: Recorder
    gateway: GatewayLife
    utility: Utility


async def _play_stretch(parts: _Parts, stretch: Stretch, tell: Callable[[float], None]) -> None:
    """Skip to the stretch, start a gateway, and end it when the stretch is over."""
    clock, scenario = parts.clock, parts.scenario
    await clock.wait(scenario.at(stretch.from_s))
    over = asyncio.Event()

    def done(time_s: float) -> None:
        tell(min(1.0, time_s / scenario.duration_s))

    async with asyncio.TaskGroup() as group:

        async def conduct() -> None:
            await parts.gateway.start(group)
            # Only now: what began earlier would have time pass while databases are opened.
            others = [parts.recorder.run(parts.gateway, over, done), parts.utility.run(stretch, over)]
            others += [_go_wrong(parts, fault, group) for fault in scenario.fault if _within(fault, stretch)]
            tasks = [group.create_task(clock.tend(work)) for work in others]
            await clock.wait(scenario.at(math.ceil(stretch.to_s)))
            over.set()
            for task in tasks[2:]:
                task.cancel()
            with clock.aside():
                await asyncio.wait(tasks)
                await parts.gateway.end()

        await group.create_task(clock.tend(conduct()))


def _within(fault: FaultPart, stretch: Stretch) -> bool:
    return stretch.from_s <= fault.at_s < stretch.to_s


async def _go_wrong(parts: _Parts, fault: FaultPart, group: asyncio.TaskGroup) -> None:
    """Let one thing go wrong in its time, and be well again."""
    clock = parts.clock
    at = parts.scenario.at(fault.at_s)
    await clock.wait(at)
    match fault.what:
        case "hosts_lost":
            hosts = parts.scenario.fleet.host_ids
            parts.site.lose(hosts[: math.ceil(fault.share * len(hosts))])
        case "hosts_silent":
            hosts = parts.scenario.fleet.host_ids
            parts.site.hang(hosts[-math.ceil(fault.share * len(hosts)) :])
        case "gateway_killed":
            await parts.gateway.kill()
        case _:
            parts.site.meter.go_wrong(fault)
    if fault.lasts_s is None:
        return
    await clock.wait(at + timedelta(seconds=fault.lasts_s))
    match fault.what:
        case "hosts_lost":
            parts.site.lose(())
        case "hosts_silent":
            parts.site.hang(())
        case "gateway_killed":
            await parts.gateway.start(group)
        case _:
            parts.site.meter.go_wrong(None)


async def _events(
    ledger: Ledger, scenario: Scenario, utility: Utility
) -> tuple[tuple[PlayedEvent, ...], tuple[tuple[str, str], ...], tuple[str, ...]]:
    """What the record holds of each event, events that were opted out of, and those that came to nothing."""
    statements = {statement.verified.event_id: statement for statement in await ledger.statements()}
    found: list[PlayedEvent] = []
    refused: list[tuple[str, str]] = []
    missing: list[str] = []
    for asked in scenario.events():
        record, plan = await ledger.event(CONNECTION_ID, asked.id), await ledger.plan(CONNECTION_ID, asked.id)
        if record is not None and record.decision is not None and record.decision.opt is Opt.OUT:
            refused.append((asked.id, record.decision.detail))
            continue
        if record is None or plan is None or not plan.intervals:
            missing.append(asked.id)
            continue
        starts_s = (record.event.starts_at - scenario.zero).total_seconds()
        ends_s = starts_s + asked.duration_s
        hold = (starts_s + max(0.0, asked.ramp_s), ends_s + min(0.0, asked.recovery_s))
        recovery_s = max(0.0, asked.recovery_s)
        if asked.cancelled_s is not None:
            # What was cut short has no recovery.
            ends_s, recovery_s = asked.cancelled_s, 0.0
            hold = (hold[0], min(hold[1], ends_s))
        if hold[0] >= hold[1]:
            missing.append(asked.id)
            continue
        found.append(
            PlayedEvent(
                event_id=asked.id,
                received_s=(record.first_received_at - scenario.zero).total_seconds(),
                starts_s=starts_s,
                ends_s=ends_s,
                ramp_from_s=starts_s + min(0.0, asked.ramp_s),
                recovered_s=ends_s + recovery_s,
                hold=hold,
                baseline_w=plan.baseline_w,
                lowest_w=min(min(interval.start_w, interval.end_w) for interval in plan.intervals),
                shortfall_w=plan.shortfall_w,
                reason=plan.reason,
                regulation=utility.basepoints.get(asked.id),
                statement=statements.get(asked.id),
            )
        )
    return tuple(found), tuple(refused), tuple(missing)
