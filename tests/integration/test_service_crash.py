"""A bug in any service, in the middle of an event: everything stops, caps go back, the next start goes on."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway import app
from gateway.clock import Clock, VirtualClock
from gateway.demo.stage import CONNECTION_ID, Stage, set_stage
from gateway.demo.utility import Schedule
from gateway.stages import Service, run_services
from hardware.device import DeviceView
from protocols.grid import Opt

STARTS_AT = datetime(2026, 7, 15, 22, 40, tzinfo=UTC)
SCHEDULE = Schedule(first_s=20.0, notice_s=60.0, duration_s=240.0, again_after_s=None)
CRASH_AT = STARTS_AT + timedelta(seconds=200)


class Crashing:
    """A service that runs as it should until a moment, and then has a bug."""

    def __init__(self, service: Service, at: datetime, clock: Clock) -> None:
        self._service = service
        self._at = at
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        work = asyncio.ensure_future(self._service.run(stop))
        crash = asyncio.ensure_future(self._clock.tend(self._clock.wait(self._at)))
        await asyncio.wait([work, crash], return_when=asyncio.FIRST_COMPLETED)
        work.cancel()
        raise RuntimeError("a bug")


@pytest.mark.parametrize(
    "name", ["dispatch", "metering", "settling", f"intake {CONNECTION_ID}", f"reporting {CONNECTION_ID}"]
)
async def test_a_bug_in_one_service_puts_caps_back_and_the_next_life_settles(tmp_path: Path, name: str) -> None:
    clock = VirtualClock(STARTS_AT)
    async with AsyncExitStack() as edges:
        stage = await set_stage(edges, clock, tmp_path)
        connection = app.joined_ven(CONNECTION_ID, stage.vtn, stage.record.parties, stage.settings.site.site())
        stages = [
            {key: Crashing(service, CRASH_AT, clock) if key == name else service for key, service in group.items()}
            for group in stage.stages(connection, SCHEDULE)
        ]
        with pytest.raises(ExceptionGroup) as caught:
            await run_services(stages, clock, asyncio.Event())
        assert str(caught.value.exceptions[0]) == "a bug"
        assert clock.now() >= CRASH_AT
        await stage.fleet.refresh()
        assert any(is_capped(view) for view in stage.fleet.devices().values()), "the bug struck in the event"
        fleet = stage.fleet
    await fleet.refresh()
    assert not any(is_capped(view) for view in fleet.devices().values())

    async with AsyncExitStack() as edges:
        stage = await set_stage(edges, clock, tmp_path)
        connection = app.joined_ven(CONNECTION_ID, stage.vtn, stage.record.parties, stage.settings.site.site())
        _, *services = stage.stages(connection, SCHEDULE)
        watcher = Watcher(stage, clock)
        await run_services((*services, {"watcher": watcher}), clock, watcher.done)
        assert watcher.capped, "the event went on in the next life"
        (record,) = await stage.record.ledger.events()
        (statement,) = await stage.record.ledger.statements()
        assert statement.verified.event_id == record.event.event_id
        answers = await stage.vtn.answers(record.event.event_id)
        assert [decision.opt for _, decision in answers] == [Opt.IN]


def is_capped(view: DeviceView) -> bool:
    return view.limit_w < view.cap_range.default_w - 0.5


class Watcher:
    """Waits for the statement, and notes whether anything was capped on the way."""

    def __init__(self, stage: Stage, clock: Clock) -> None:
        self._stage = stage
        self._clock = clock
        self.done = asyncio.Event()
        self.capped = False

    async def run(self, stop: asyncio.Event) -> None:
        while not await self._stage.record.ledger.statements():
            await self._clock.wait(self._clock.now() + timedelta(seconds=5), stop)
            self.capped |= any(is_capped(view) for view in self._stage.fleet.devices().values())
        self.done.set()
