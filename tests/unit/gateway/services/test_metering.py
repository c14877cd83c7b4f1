"""Metering: what is kept of the readings, and which intervals are closed when."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from gateway.clock import Clock
from hardware.device import PowerReading, Quality
from hardware.errors import MeterSilent
from hardware.faults import Faults
from tests.unit.gateway.services.rig import SITE, STARTS_AT, Rig

DEVICE = "h00-d0"


async def kept(rig: Rig, meter_id: str, from_s: float = 0.0, to_s: float = 1e6) -> list[PowerReading]:
    start = STARTS_AT + timedelta(seconds=from_s)
    return list(await rig.ledger.readings_between(meter_id, start, STARTS_AT + timedelta(seconds=to_s)))


class Script:
    """A meter that reads what a test says, second by second; nothing is silence."""

    def __init__(self, clock: Clock, *rounds: Sequence[PowerReading]) -> None:
        self._clock = clock
        self._rounds = list(rounds)

    async def read(self) -> tuple[PowerReading, ...]:
        if not self._rounds:
            raise MeterSilent("nothing more")
        return tuple(self._rounds.pop(0))


def reading(power_w: float, at_s: float, meter_id: str = SITE.meter_id, **more: float) -> PowerReading:
    return PowerReading(
        meter_id=meter_id,
        power_w=power_w,
        measured_at=STARTS_AT + timedelta(seconds=at_s),
        energy_j=more.get("energy_j"),
    )


async def test_every_reading_of_the_site_is_kept_and_of_devices_a_mean_a_minute(rig: Rig) -> None:
    await rig.run(rig.metering(), for_s=130)
    assert len(await kept(rig, SITE.meter_id)) >= 130
    means = await kept(rig, DEVICE)
    assert [item.measured_at for item in means] == [STARTS_AT + timedelta(minutes=minute) for minute in range(3)]


async def test_the_minute_in_which_an_event_comes_near_is_kept_then_and_not_after_it(rig: Rig) -> None:
    await rig.take(rig.event(in_s=900 + 30, lasts_s=60))
    found: list[PowerReading] = []

    async def look() -> None:
        found.extend(await kept(rig, DEVICE))

    await rig.run(rig.metering(), for_s=60, script={50: look})
    assert found[0].measured_at == STARTS_AT
    assert len(found) > 10
    assert min(one.measured_at for one in found[1:]) >= STARTS_AT + timedelta(seconds=29)


async def test_around_an_event_however_short_devices_are_kept_as_they_come(rig: Rig) -> None:
    # From 15 minutes before to 15 minutes after; a minute of event lies well inside.
    await rig.take(rig.event(in_s=300, lasts_s=60))
    await rig.run(rig.metering(), for_s=70)
    assert len(await kept(rig, DEVICE)) >= 70
    rig.clock._now = STARTS_AT + timedelta(seconds=300 + 60 + 600)
    await rig.run(rig.metering(), for_s=30)
    assert len(await kept(rig, DEVICE, from_s=960)) >= 30
    rig.clock._now = STARTS_AT + timedelta(seconds=360 + 900 + 60)
    await rig.run(rig.metering(), for_s=30)
    assert len(await kept(rig, DEVICE, from_s=1320)) == 1


async def test_the_rate_follows_an_event_that_the_ledger_could_not_tell_of_at_first(rig: Rig) -> None:
    def fail(failing: bool) -> None:
        rig.database.unreadable = failing

    async def come() -> None:
        fail(True)
        await rig.take(rig.event(in_s=30, lasts_s=60))

    await rig.run(rig.metering(), for_s=60, script={5: come, 20: lambda: fail(False)})
    assert len(await kept(rig, DEVICE, from_s=21)) >= 38


async def test_intervals_are_closed_once_and_caught_up_after_a_stop(rig: Rig) -> None:
    async def closed() -> dict[float, float]:
        found = await rig.ledger.energy_between(SITE.meter_id, STARTS_AT, STARTS_AT + timedelta(hours=1))
        return {(interval.starts_at - STARTS_AT).total_seconds(): interval.coverage_fraction for interval in found}

    await rig.run(rig.metering(), for_s=121)
    assert await closed() == {0.0: 1.0}, "the second one's last reading may still come"
    rig.clock._now += timedelta(seconds=200)
    await rig.run(rig.metering(), for_s=3)
    # The last reading, at 120 s, stands for a minute at most; after that there is nothing to close.
    assert await closed() == {0.0: 1.0, 60.0: 1.0, 120.0: 1.0}


async def test_while_the_ledger_is_locked_readings_wait_and_nothing_is_lost(rig: Rig) -> None:
    said: list[str | None] = []

    def lock(locked: bool) -> None:
        rig.database.locked = locked

    await rig.run(
        rig.metering(flush_s=1.0),
        for_s=150,
        script={
            5: lambda: lock(True),
            100: lambda: said.append(rig.readiness.parts()["ledger"]),
            140: lambda: lock(False),
        },
    )
    assert said == ["another process holds the database"]
    assert rig.readiness.parts()["ledger"] is None
    assert len(await kept(rig, SITE.meter_id)) >= 150
    first, second = await rig.ledger.energy_between(SITE.meter_id, STARTS_AT, STARTS_AT + timedelta(hours=1))
    assert (first.coverage_fraction, second.coverage_fraction) == (1.0, 1.0)


async def test_readings_that_cannot_be_right_are_kept_as_suspect(rig: Rig) -> None:
    meter = Script(rig.clock, [reading(100.0, 0)], [reading(-5.0, 1)], [reading(101.0, 2)], [reading(99.0, 0.5)])
    await rig.run(rig.metering(meter), for_s=5)
    assert [(item.power_w, item.quality) for item in await kept(rig, SITE.meter_id)] == [
        (100.0, Quality.GOOD),
        (99.0, Quality.SUSPECT),
        (-5.0, Quality.SUSPECT),
        (101.0, Quality.GOOD),
    ]


async def test_numbers_that_are_none_do_not_end_the_gateway(rig: Rig) -> None:
    meter = Script(
        rig.clock,
        [reading(math.nan, 0)],
        [reading(100.0, 1, energy_j=math.inf)],
        [reading(101.0, 2, energy_j=7.0)],
    )
    await rig.run(rig.metering(meter), for_s=5)
    assert [(item.power_w, item.energy_j) for item in await kept(rig, SITE.meter_id)] == [(100.0, None), (101.0, 7.0)]


async def test_a_mean_of_suspect_readings_is_suspect(rig: Rig) -> None:
    meter = Script(rig.clock, [reading(50.0, 0, DEVICE)], [reading(-1.0, 1, DEVICE)])
    await rig.run(rig.metering(meter), for_s=3)
    (mean,) = await kept(rig, DEVICE)
    assert mean == replace(reading(24.5, 0, DEVICE), quality=Quality.SUSPECT)


async def test_a_silent_meter_is_said_once_and_said_again_when_it_speaks(rig: Rig) -> None:
    said: list[str | None] = []
    await rig.run(
        rig.metering(),
        for_s=20,
        script={
            5: lambda: rig.physical.inject(Faults(silent_meters=frozenset({SITE.meter_id}))),
            10: lambda: said.append(rig.readiness.parts()["meter"]),
            11: lambda: rig.physical.inject(Faults()),
            13: lambda: said.append(rig.readiness.parts()["meter"]),
        },
    )
    assert said == ["no reading of the site meter 'site'", None]


async def test_what_is_held_is_stored_at_the_stop(rig: Rig) -> None:
    await rig.run(rig.metering(flush_s=3600.0), for_s=30)
    assert not rig.ledger._readings
    assert len(await kept(rig, SITE.meter_id)) >= 30
    assert len(await kept(rig, DEVICE)) == 1


async def test_a_generator_s_readings_are_kept_and_its_intervals_closed_beside_the_site_s(rig: Rig) -> None:
    rig.site = replace(SITE, generator_meter_id="generator")
    rounds = [(reading(9_000.0, second), reading(1_500.0, second, "generator")) for second in range(130)]
    await rig.run(rig.metering(Script(rig.clock, *rounds)), for_s=128)
    assert len(await kept(rig, "generator")) >= 120
    for meter_id, energy_wh in ((SITE.meter_id, 150.0), ("generator", 25.0)):
        closed = await rig.ledger.energy_between(meter_id, STARTS_AT, STARTS_AT + timedelta(minutes=3))
        assert [round(one.energy_wh, 6) for one in closed[:2]] == [energy_wh] * 2
