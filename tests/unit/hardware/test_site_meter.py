from datetime import UTC, datetime, timedelta

import pytest

from hardware.device import PowerReading, Quality
from hardware.device_sum import DeviceSum, EstimatedMeter, OverheadRange
from hardware.errors import MeterSilent
from hardware.meter_watch import Plausible
from hardware.site_meter import FailoverMeter, SiteAndDevices, Source, WithGenerator

START = datetime(2026, 7, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now_at = START

    def now(self) -> datetime:
        return self.now_at


class Meter:
    """Says what the test sets; ``None`` is silence."""

    def __init__(self, clock: Clock, power_w: float | None, *, energy_j: float | None = None) -> None:
        self.clock = clock
        self.power_w = power_w
        self.energy_j = energy_j
        self.readings = 1
        self.quality = Quality.GOOD
        self.fault: Exception = MeterSilent("silent")

    async def read(self) -> tuple[PowerReading, ...]:
        if self.power_w is None:
            raise self.fault
        reading = PowerReading(
            meter_id="whatever",
            power_w=self.power_w,
            measured_at=self.clock.now(),
            energy_j=self.energy_j,
            quality=self.quality,
        )
        return (reading,) * self.readings


class Stand:
    """Two meters, ``main`` and ``spare``, over a fleet of one device."""

    def __init__(self, *, estimate: bool = False, overhead: OverheadRange | None = None, **rules: float) -> None:
        self.clock = Clock()
        self.main = Meter(self.clock, 1000.0, energy_j=7.0)
        self.spare = Meter(self.clock, 1010.0, energy_j=9.0)
        self.device = Meter(self.clock, 800.0)
        self.devices = DeviceSum(
            devices=self.device, expected=lambda: ["whatever"], site_meter_id="site", now=self.clock.now
        )
        self.changes: list[tuple[str, str | None]] = []
        sources = [
            Source(name="main", meter=self.main, plausible=Plausible(min_w=0.0, max_w=2000.0, **rules)),
            Source(name="spare", meter=self.spare),
        ]
        if estimate:
            guess = EstimatedMeter(meter_id="x", devices=self.devices, overhead_w=200.0)
            sources.append(Source(name="sum", meter=guess, estimate=True))
        self.site = FailoverMeter(
            meter_id="site",
            sources=sources,
            now=self.clock.now,
            devices=self.devices,
            overhead=overhead,
            return_after_reads=3,
            patience_reads=2,
            on_change=lambda part, reason: self.changes.append((part, reason)),
        )
        self.all = SiteAndDevices(devices=self.devices, site=self.site)

    async def read(self, seconds: int = 1) -> list[tuple[float, str | None]]:
        """So many readings, one a second: watts and the source."""
        found = []
        for _ in range(seconds):
            self.clock.now_at += timedelta(seconds=1)
            (reading,) = (one for one in await self.all.read() if one.meter_id == "site")
            found.append((reading.power_w, self.site.active))
        return found

    async def site_reading(self) -> PowerReading:
        self.clock.now_at += timedelta(seconds=1)
        return (await self.all.read())[-1]


async def test_the_first_that_speaks_under_one_name() -> None:
    stand = Stand()
    assert await stand.site_reading() == PowerReading(
        meter_id="site", power_w=1000.0, measured_at=stand.clock.now(), energy_j=7.0
    )
    assert (stand.site.active, stand.changes) == ("main", [])
    assert set(stand.site.faults().values()) == {None}


async def test_the_next_one_takes_over_in_the_same_reading_and_gives_back_after_a_while() -> None:
    stand = Stand()
    await stand.read()
    stand.main.power_w = None
    assert await stand.read() == [(1010.0, "spare")]
    assert (await stand.site_reading()).energy_j is None  # Its register does not continue the first one's.
    stand.main.power_w = 990.0
    assert await stand.read(4) == [(1010.0, "spare")] * 2 + [(990.0, "main")] * 2
    assert stand.changes == [
        ("site meter main", "silent"),
        ("site meter", "read from spare instead of main"),
        ("site meter main", None),
        ("site meter", None),
    ]


async def test_a_meter_that_comes_and_goes_is_not_preferred() -> None:
    stand = Stand()
    await stand.read()
    sources = []
    for second in range(12):
        stand.main.power_w = None if second % 3 == 0 else 1000.0
        sources += [source for _, source in await stand.read()]
    assert sources == ["spare"] * 12


async def test_a_meter_on_trial_is_better_than_none() -> None:
    stand = Stand()
    stand.spare.power_w = None
    await stand.read()
    stand.main.power_w = None
    with pytest.raises(MeterSilent, match="site: main: silent; spare: silent"):
        await stand.site.read()
    assert (stand.site.active, stand.site.faults()["site meter"]) == (None, "no source speaks")
    stand.main.power_w = 1000.0
    assert await stand.read() == [(1000.0, "main")]


async def test_an_impossible_power_and_a_stuck_one_are_not_given() -> None:
    stand = Stand(stuck_after_s=5.0)
    stand.main.power_w = 2000.5
    assert await stand.read() == [(1010.0, "spare")]
    assert stand.site.faults()["site meter main"] == "2000.5 W is not between 0 W and 2000 W"
    stand.main.power_w = 1000.0
    for second in range(8):
        stand.device.power_w = 800.0 + 50.0 * second
        await stand.read()
    fault = stand.site.faults()["site meter main"]
    assert fault is not None
    assert fault.startswith("stuck at 1000 W")
    assert stand.site.active == "spare"


@pytest.mark.parametrize("fault", [OSError("no route"), TimeoutError(), MeterSilent("gone")])
async def test_expected_faults_end_in_their_meter(fault: Exception) -> None:
    stand = Stand()
    stand.main.power_w, stand.main.fault = None, fault
    assert await stand.read() == [(1010.0, "spare")]
    assert stand.site.faults()["site meter main"] == (str(fault) or "TimeoutError")


async def test_a_bug_is_not_hidden() -> None:
    stand = Stand()
    stand.main.power_w, stand.main.fault = None, ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await stand.read()


async def test_a_source_with_two_readings_is_none() -> None:
    stand = Stand()
    stand.main.readings = 2
    assert await stand.read() == [(1010.0, "spare")]
    assert stand.site.faults()["site meter main"] == "gave 2 readings instead of one"


async def test_an_estimate_is_the_last_resort_and_suspect() -> None:
    # It would never agree with that overhead: it is made from the devices and not held against them.
    stand = Stand(estimate=True, overhead=OverheadRange(min_w=0.0, max_w=100.0))
    stand.main.power_w = stand.spare.power_w = None
    await stand.read(5)
    reading = await stand.site_reading()
    assert stand.site.faults()["site meter against devices"] is None
    assert (reading.power_w, reading.quality, stand.site.active) == (1000.0, Quality.SUSPECT, "sum")


async def test_what_the_meter_says_of_itself_is_kept() -> None:
    stand = Stand()
    stand.main.quality = Quality.ESTIMATED
    assert (await stand.site_reading()).quality is Quality.ESTIMATED


async def test_a_meter_that_disagrees_with_the_devices_is_suspect_at_once_and_at_fault_after_a_while() -> None:
    stand = Stand(overhead=OverheadRange(min_w=100.0, max_w=300.0))
    qualities = []
    for site_w in (1000.0, 850.0, 1000.0, 850.0, 850.0, 850.0, 1000.0, 1200.0, 1200.0):
        stand.main.power_w = site_w
        qualities.append((await stand.site_reading()).quality)
    good, suspect = Quality.GOOD, Quality.SUSPECT
    assert qualities == [good, suspect, good, suspect, suspect, suspect, good, suspect, suspect]
    # The single one was not worth a word.
    assert stand.changes == [
        ("site meter against devices", "under the sum of the devices and their least overhead"),
        ("site meter against devices", None),
        ("site meter against devices", "over the sum of the devices and their most overhead"),
    ]


async def test_without_a_sum_the_verdict_stands() -> None:
    stand = Stand(overhead=OverheadRange(min_w=100.0, max_w=300.0))
    stand.main.power_w = 850.0
    await stand.read(2)
    stand.device.power_w = None
    for _ in range(15):
        reading = await stand.site_reading()
    assert (reading.power_w, reading.quality) == (850.0, Quality.SUSPECT)


async def test_site_and_devices_each_without_the_other() -> None:
    stand = Stand()
    stand.device.power_w = None
    assert [one.meter_id for one in await stand.all.read()] == ["site"]
    stand.main.power_w = stand.spare.power_w = None
    with pytest.raises(MeterSilent, match="silent; site: main: silent"):
        await stand.all.read()
    stand.device.power_w = 800.0
    assert [one.meter_id for one in await stand.all.read()] == ["whatever"]


def test_sources_have_names_of_their_own() -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="name of its own"):
        FailoverMeter(meter_id="site", sources=[], now=clock.now)
    with pytest.raises(ValueError, match="name of its own"):
        FailoverMeter(meter_id="site", sources=[Source(name="a", meter=Meter(clock, 1.0))] * 2, now=clock.now)


async def test_a_generator_that_is_silent_is_told_once_and_leaves_the_others_alone() -> None:
    clock = Clock()
    site, generator = Meter(clock, 9_000.0), Meter(clock, 1_500.0)
    told: list[tuple[str, str | None]] = []
    meters = WithGenerator(
        meters=site, generator=generator, meter_id="generator", on_change=lambda part, why: told.append((part, why))
    )
    assert [(one.meter_id, one.power_w) for one in await meters.read()] == [
        ("whatever", 9_000.0),
        ("generator", 1_500.0),
    ]
    generator.power_w = None
    for _ in range(2):
        assert [one.power_w for one in await meters.read()] == [9_000.0]
    generator.power_w = 1_400.0
    await meters.read()
    assert told == [("generator meter", "silent"), ("generator meter", None)]
    site.power_w = None
    with pytest.raises(MeterSilent):
        await meters.read()
