"""Checking meter data on record, proposing estimates for what is missing or wrong, and edits of single intervals."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Protocol

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.meter_import import RegisterReading
from gateway.domain.vee.edit import Edit, EditError, Method, resolve
from gateway.domain.vee.estimate import Estimates, estimate
from gateway.domain.vee.finding import Finding
from gateway.domain.vee.rule import VeeRules
from gateway.domain.vee.validate import unchecked, validate
from gateway.services.meter_data import MeterData, SettledFrom
from hardware.device import Quality

AROUND = timedelta(days=1)
"""So far around an interval that is edited it is looked what intervals the meter has."""

UNLIKELY_TIMES = 5.0
"""So many times what is on record around it an edit has to say that it is meant."""


class CheckedFrom(SettledFrom, Protocol):
    """What checking asks of a record; a ``Ledger`` answers it."""

    async def registers_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[RegisterReading, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What is checked of a meter: imported intervals where any stand in the period, else our own; edits laid over.

    ``intervals`` are those of the period and of the days beside it that like days may be taken from.
    """

    meter_id: str
    start: datetime
    end: datetime
    of_imports: bool
    interval_s: float
    intervals: tuple[IntervalEnergy, ...]
    registers: tuple[RegisterReading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found, and what could not be looked for, in words."""

    findings: tuple[Finding, ...]
    unchecked: tuple[str, ...]


async def series_of(
    record: CheckedFrom,
    meter_id: str,
    start: datetime,
    end: datetime,
    *,
    beside: timedelta = timedelta(),
    interval_s: float = 300.0,
) -> Series:
    """What stands of a meter's energy in ``[start, end)`` and for so long ``beside`` it.

    ``interval_s`` is taken where there is nothing in the period to tell the length from.
    """
    data = MeterData(record)
    of_imports = bool(await data.imported_between(meter_id, start, end))
    between = data.known_between if of_imports else data.series_between
    found = await between(meter_id, start - beside, end + beside)
    lengths = Counter(one.duration_s for one in found if start <= one.starts_at < end)
    return Series(
        meter_id=meter_id,
        start=start,
        end=end,
        of_imports=of_imports,
        interval_s=min(lengths, key=lambda one: (-lengths[one], one)) if lengths else interval_s,
        intervals=found,
        registers=await record.registers_between(meter_id, start, end + timedelta(microseconds=1)),
    )


def check(series: Series, *, zone: tzinfo, rules: VeeRules) -> Checked:
    """Validate a period. Raises ``ValueError`` as ``validate``."""
    registers = [(one.at, one.energy_wh) for one in series.registers]
    return Checked(
        findings=validate(
            series.intervals,
            interval_s=series.interval_s,
            zone=zone,
            start=series.start,
            end=series.end,
            rules=rules,
            registers=registers,
        ),
        unchecked=unchecked(
            series.intervals,
            interval_s=series.interval_s,
            zone=zone,
            start=series.start,
            end=series.end,
            rules=rules,
            registers=registers,
        ),
    )


def propose(series: Series, *, zone: tzinfo, rules: VeeRules, by: str, at: datetime) -> Estimates:
    """Edits for what is missing or suspect, and why there is none for the rest. Raises ``ValueError`` as ``check``."""
    return estimate(
        series.intervals,
        findings=check(series, zone=zone, rules=rules).findings,
        meter_id=series.meter_id,
        interval_s=series.interval_s,
        zone=zone,
        start=series.start,
        end=series.end,
        rules=rules,
        registers=[(one.at, one.energy_wh) for one in series.registers],
        by=by,
        at=at,
    )


async def edit_of(
    record: CheckedFrom,
    *,
    edit_id: str,
    meter_id: str,
    starts_at: datetime,
    energy_wh: float | None,
    method: Method,
    quality: Quality,
    reason: str,
    by: str,
    at: datetime,
    unlikely: bool = False,
) -> Edit:
    """The edit of the interval that begins then: the one on record, or the one that is missing there.

    Raises ``EditError`` (a ``ValueError``) where none of the meter's intervals begins then, for what ``Edit`` refuses,
    and (unless ``unlikely``) for energy far beyond all that is on record around it; ``LookupError`` where nothing is.
    """
    around = await series_of(record, meter_id, starts_at - AROUND, starts_at + AROUND)
    exact = [
        one
        for one in await MeterData(record).series_between(meter_id, starts_at, starts_at + timedelta(microseconds=1))
        if one.starts_at == starts_at
    ]
    if not exact and not around.intervals:
        raise LookupError(
            f"nothing is on record of meter {meter_id!r} within a day of {starts_at.isoformat()}, so that the length "
            "of its intervals cannot be told"
        )
    edit = Edit(
        edit_id=edit_id,
        meter_id=meter_id,
        starts_at=starts_at,
        duration_s=exact[0].duration_s if exact else around.interval_s,
        energy_wh=energy_wh,
        quality=quality,
        reason=reason,
        by=by,
        at=at,
        method=method,
    )
    if not exact:
        resolve(around.intervals, (edit,))
    if not unlikely:
        _refuse_unlikely(edit, around.intervals)
    return edit


def _refuse_unlikely(edit: Edit, around: Sequence[IntervalEnergy]) -> None:
    """A typing error in an edit is money within seconds: what no neighbour comes near has to be meant."""
    powers_w = [
        one.energy_wh * 3_600 / (one.duration_s * one.coverage_fraction) for one in around if one.coverage_fraction
    ]
    if edit.energy_wh is None or not powers_w:
        return
    power_w, highest_w, lowest_w = edit.energy_wh * 3_600 / edit.duration_s, max(powers_w), min(powers_w)
    if power_w > UNLIKELY_TIMES * max(highest_w, 0.0) or power_w < UNLIKELY_TIMES * min(lowest_w, 0.0):
        raise EditError(
            edit.edit_id,
            f"{edit.energy_wh / 1000:g} kWh over {edit.duration_s / 60:g} min are {power_w / 1000:g} kW, and within a "
            f"day around it the meter said {lowest_w / 1000:.3g} to {highest_w / 1000:.3g} kW: where it is meant, say "
            "--although-unlikely",
        )
