"""The site's meter out of several: the best one that speaks well, under one name.

All meters are read each time, so that a fallback is known to work before it is needed, and takes over within the same
second. A meter that failed must speak well for a while before it is preferred again: two meters never agree to the
watt, and control would see each change between them as a step of load.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from hardware.device import PowerMeter, PowerReading, Quality
from hardware.device_sum import DeviceSum, OverheadRange, Verdict, reconcile
from hardware.errors import HardwareError, MeterSilent
from hardware.meter_watch import Plausible, Watch

_DISAGREES = {
    Verdict.METER_LOW: "under the sum of the devices and their least overhead",
    Verdict.METER_HIGH: "over the sum of the devices and their most overhead",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A meter in an order of preference. The readings of an ``estimate`` are always suspect: nobody measured them."""

    name: str
    meter: PowerMeter
    plausible: Plausible = field(default_factory=Plausible)
    estimate: bool = False


class _Standing:
    """How one source is doing."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.reading: PowerReading | None = None
        self.fault: str | None = None
        self.well_reads = 0
        self._watch = Watch(source.plausible)

    async def ask(self) -> PowerReading | str:
        """The one reading, or in words why there is none."""
        try:
            readings = await self.source.meter.read()
        except (HardwareError, OSError) as fault:
            return str(fault) or type(fault).__name__
        return readings[0] if len(readings) == 1 else f"gave {len(readings)} readings instead of one"

    def judge(self, answer: PowerReading | str, *, now: datetime, devices_w: float | None) -> None:
        """Note what it said."""
        if isinstance(answer, str):
            self.reading, self.fault = None, answer
        else:
            self.fault = self._watch.fault(answer, now=now, devices_w=devices_w)
            self.reading = answer if self.fault is None else None
        self.well_reads = 0 if self.reading is None else self.well_reads + 1


class FailoverMeter(PowerMeter):
    """The reading of the first of ``sources`` that can be trusted, given under ``meter_id``.

    A source that is not the active one is preferred to it after ``return_after_reads`` good readings in a row. With
    ``devices`` and ``overhead`` the reading is held against the sum of the devices, and is suspect as long as they
    disagree: no control is to follow a lie, however short. That the meter is at fault is said after ``patience_reads``
    disagreements in a row, and it stays suspect then until they agree again. The energy register is given for the first
    source only: another meter's register does not continue it.

    ``on_change(part, reason)`` is told once for each change: a source that fails or is well again (reason ``None``),
    a source of lower preference that takes over or the first that is back, a reconciliation that fails or is well
    again. Parts are ``site meter NAME``, ``site meter`` and ``site meter against devices``.
    """

    def __init__(
        self,
        *,
        meter_id: str,
        sources: Sequence[Source],
        now: Callable[[], datetime],
        devices: DeviceSum | None = None,
        overhead: OverheadRange | None = None,
        return_after_reads: int = 30,
        patience_reads: int = 5,
        on_change: Callable[[str, str | None], None] = lambda _part, _reason: None,
    ) -> None:
        if not sources or len({source.name for source in sources}) < len(sources):
            raise ValueError("a site meter needs sources, each with a name of its own")
        self._meter_id = meter_id
        self._standings = tuple(_Standing(source) for source in sources)
        self._now = now
        self._devices = devices
        self._overhead = overhead
        self._return_after_reads = return_after_reads
        self._patience_reads = patience_reads
        self._on_change = on_change
        self._active: _Standing | None = None
        self._disagreements = 0
        self._verdict = Verdict.AGREES
        self._faults: dict[str, str | None] = {}

    @property
    def active(self) -> str | None:
        """Name of the source whose reading was given last, ``None`` while all are silent."""
        return None if self._active is None else self._active.source.name

    def faults(self) -> Mapping[str, str | None]:
        """Each part and what is wrong with it, ``None`` where all is well."""
        return dict(self._faults)

    async def read(self) -> tuple[PowerReading, ...]:
        """One reading. Raises ``MeterSilent`` where no source has one that can be believed."""
        answers = await asyncio.gather(*(standing.ask() for standing in self._standings))
        now = self._now()
        total = None if self._devices is None else self._devices.total()
        devices_w = None if total is None else total.power_w
        for standing, answer in zip(self._standings, answers, strict=True):
            standing.judge(answer, now=now, devices_w=devices_w)
        self._active = self._best()
        reading = None if self._active is None else self._active.reading
        if self._active is not None and reading is not None:
            self._reconcile(reading, devices_w, estimate=self._active.source.estimate)
        self._tell()
        if self._active is None or reading is None:
            text = "; ".join(f"{standing.source.name}: {standing.fault}" for standing in self._standings)
            raise MeterSilent(text, device_id=self._meter_id)
        return (self._given(reading, self._active),)

    def _best(self) -> _Standing | None:
        usable = [standing for standing in self._standings if standing.reading is not None]
        trusted = [
            standing
            for standing in usable
            if standing is self._active or standing.well_reads >= self._return_after_reads
        ]
        return next(iter(trusted or usable), None)

    def _reconcile(self, reading: PowerReading, devices_w: float | None, *, estimate: bool) -> None:
        """Without a sum, or of an estimate made from it, there is nothing to hold against: it stands as it stood."""
        if self._overhead is None or devices_w is None or estimate:
            return
        verdict = reconcile(reading.power_w, devices_w, self._overhead)
        self._disagreements = 0 if verdict is Verdict.AGREES else self._disagreements + 1
        if verdict is Verdict.AGREES or self._disagreements >= self._patience_reads:
            self._verdict = verdict

    def _given(self, reading: PowerReading, standing: _Standing) -> PowerReading:
        doubtful = standing.source.estimate or self._verdict is not Verdict.AGREES or self._disagreements > 0
        return replace(
            reading,
            meter_id=self._meter_id,
            energy_j=reading.energy_j if standing is self._standings[0] else None,
            quality=Quality.SUSPECT if doubtful else reading.quality,
        )

    def _tell(self) -> None:
        for standing in self._standings:
            self._note(f"site meter {standing.source.name}", standing.fault)
        first = self._standings[0].source.name
        if self._active is None:
            self._note("site meter", "no source speaks")
        else:
            self._note("site meter", None if self.active == first else f"read from {self.active} instead of {first}")
        self._note("site meter against devices", _DISAGREES.get(self._verdict))

    def _note(self, part: str, reason: str | None) -> None:
        before = self._faults.get(part)
        self._faults[part] = reason
        # Another fault of a silent meter is no news; another meter taking over is.
        if (before is None) is not (reason is None) or (part == "site meter" and before != reason):
            self._on_change(part, reason)


class WithGenerator(PowerMeter):
    """What ``meters`` read, and the output of a generator beside it under ``meter_id``.

    The generator's meter may be silent: ``on_change(part, reason)`` is told once a change, and the others go on.
    """

    def __init__(
        self,
        *,
        meters: PowerMeter,
        generator: PowerMeter,
        meter_id: str,
        on_change: Callable[[str, str | None], None] = lambda _part, _reason: None,
    ) -> None:
        self._meters = meters
        self._generator = generator
        self._meter_id = meter_id
        self._on_change = on_change
        self._silent = False

    async def read(self) -> tuple[PowerReading, ...]:
        """All readings. Raises as ``meters`` does."""
        readings, output = await asyncio.gather(self._meters.read(), self._output())
        return (*readings, *output)

    async def _output(self) -> tuple[PowerReading, ...]:
        reason = None
        readings: tuple[PowerReading, ...] = ()
        try:
            readings = await self._generator.read()
        except (HardwareError, OSError) as fault:
            reason = str(fault) or type(fault).__name__
        if self._silent is not (reason is not None):
            self._silent = reason is not None
            self._on_change("generator meter", reason)
        return tuple(replace(reading, meter_id=self._meter_id) for reading in readings[:1])


class SiteAndDevices(PowerMeter):
    """The devices' readings, then the site's: what the gateway reads each second.

    The devices come first, since the site is held against them. One of the two may be silent.
    """

    def __init__(self, *, devices: DeviceSum, site: PowerMeter) -> None:
        self._devices = devices
        self._site = site

    async def read(self) -> tuple[PowerReading, ...]:
        """All readings. Raises ``MeterSilent`` where there is none at all."""
        readings: list[PowerReading] = []
        faults: list[HardwareError | OSError] = []
        for meter in (self._devices, self._site):
            try:
                readings += await meter.read()
            except (HardwareError, OSError) as fault:
                faults.append(fault)
        if not readings:
            raise MeterSilent("; ".join(str(fault) or type(fault).__name__ for fault in faults)) from faults[0]
        return tuple(readings)
