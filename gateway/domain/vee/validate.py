"""Validation: everything that cannot be right about one meter's intervals, each with figures and what to do.

Only ``validate`` judges; nothing is changed. What could not be judged at all is said by ``unchecked``.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, tzinfo

from gateway.domain.measurement import IntervalEnergy, worst
from gateway.domain.vee.finding import Finding, Severity, in_order
from gateway.domain.vee.registers import RegisterReading, by_instant, check_registers, unit_shows
from gateway.domain.vee.rule import VeeRules
from gateway.domain.vee.series import History, Series, arrange
from gateway.domain.vee.times import check_times
from gateway.domain.vee.values import check_values
from hardware.device import Quality


def validate(
    intervals: Sequence[IntervalEnergy],
    *,
    interval_s: float,
    zone: tzinfo,
    start: datetime,
    end: datetime,
    rules: VeeRules,
    registers: Sequence[RegisterReading] = (),
) -> tuple[Finding, ...]:
    """What is wrong with one meter's intervals in ``[start, end)``, in order of time.

    ``interval_s`` is the length that the meter's intervals should have, ``zone`` that of the site. Intervals outside
    the period are history for like days and are not judged. ``registers`` are readings of the meter's running register
    ``(at, watt-hours)``; those outside the period are left out. Intervals with a coverage of 0 are as if they were not
    there. The order of neither matters. Raises ``ValueError`` as ``arrange``.
    """
    series = _arranged(intervals, interval_s=interval_s, zone=zone, start=start, end=end, rules=rules)
    history = History(series, rules.like_days)
    return in_order(
        (
            *check_times(series),
            *check_values(series, history, rules),
            *check_registers(series, history, rules, registers),
        )
    )


def unchecked(
    intervals: Sequence[IntervalEnergy],
    *,
    interval_s: float,
    zone: tzinfo,
    start: datetime,
    end: datetime,
    rules: VeeRules,
    registers: Sequence[RegisterReading] = (),
) -> tuple[str, ...]:
    """What ``validate`` of the same arguments cannot see, in sentences, so that silence is not taken for a pass."""
    series = _arranged(intervals, interval_s=interval_s, zone=zone, start=start, end=end, rules=rules)
    history = History(series, rules.like_days)
    said = []
    if sum(series.begin_us <= at <= series.end_us for at in by_instant(registers)) < 2:
        said.append("Sum check: two readings of the register within the period are needed.")
    if not unit_shows(series):
        said.append(
            "Unit: over an hour mean kW and kWh are one number, so that one written as the other cannot be seen."
        )
    if rules.highest_power_w is None:
        said.append("Highest power: nobody told the most that the site can draw.")
    known = series.within(series.begin_us, series.end_us)
    lonely = sum(len(history.nearest(at)) < rules.like_days.least_days for at in known)
    if lonely:
        said.append(
            f"Like days: {lonely} of {len(known)} intervals have fewer than {rules.like_days.least_days} like days "
            f"within {rules.like_days.within_days} days, and were held against their neighbours only."
        )
    return tuple(said)


def marked(intervals: Sequence[IntervalEnergy], findings: Sequence[Finding]) -> tuple[IntervalEnergy, ...]:
    """The intervals in the order given, those that lie in a suspect finding marked as suspect. Energies stay."""
    suspect = [finding for finding in findings if finding.severity is Severity.SUSPECT]
    return tuple(
        replace(one, quality=worst((one.quality, Quality.SUSPECT)))
        if any(finding.touches(one) for finding in suspect)
        else one
        for one in intervals
    )


def _arranged(
    intervals: Sequence[IntervalEnergy],
    *,
    interval_s: float,
    zone: tzinfo,
    start: datetime,
    end: datetime,
    rules: VeeRules,
) -> Series:
    return arrange(
        intervals,
        interval_s=interval_s,
        zone=zone,
        start=start,
        end=end,
        least_coverage_fraction=rules.least_coverage_fraction,
    )
