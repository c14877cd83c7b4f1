"""Time-of-week regression: each interval of the week has its own level, and temperature may bend it.

After Mathieu, Price, Kiliccote and Piette, "Quantifying Changes in Building Electricity Use, With Application to Demand
Response" (IEEE Trans. Smart Grid, 2011), from memory, to be checked. One model for all hours: the paper has one for
the hours in use and one for the others.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

import numpy as np
from numpy.typing import NDArray

from gateway.domain.baseline.days import midnight
from gateway.domain.baseline.history import LoadHistory, beside_meter, gather, grid_note
from gateway.domain.baseline.method import Regression
from gateway.domain.baseline.result import AdjustmentWorking, Baseline, CandidateDay, Insufficient
from gateway.domain.baseline.rule import Rule
from gateway.domain.measurement import IntervalEnergy

Event = tuple[datetime, datetime]
Slot = tuple[int, int, int, int]
"""Weekday, hour, minute and second by the clock on the wall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bend:
    """How temperature moves the load: watts a degree in each piece between ``edges_c``, from the piece's lower edge."""

    edges_c: NDArray[np.float64]
    slopes: NDArray[np.float64]

    def watts(self, temperature_c: float) -> float:
        return float(_pieces(np.array([temperature_c]), self.edges_c)[0] @ self.slopes)


def time_of_week(
    rule: Rule,
    method: Regression,
    history: Sequence[IntervalEnergy],
    *,
    event_start: datetime,
    event_end: datetime,
    timezone: tzinfo,
    excluded: Sequence[Event],
    temperature_c: Mapping[datetime, float] | None,
) -> Baseline | Insufficient:
    """Ordinary least squares over the days of the look-back that had no event.

    ``temperature_c`` is by the start of the meter's intervals, in degrees Celsius; without it the level is the mean of
    the same time of the week. An interval without a temperature is left out of a fit that has one.
    """

    def cannot(reason: str, days: tuple[CandidateDay, ...] = ()) -> Insufficient:
        return Insufficient(rule=rule.rule_id, rule_version=rule.version, reason=reason, days=days)

    load = gather(history, minimum_coverage_fraction=method.minimum_coverage_fraction)
    if load is None:
        return cannot("there are no readings at all")
    fitted, days = _fitted(method, load, event_start, timezone, [*excluded, (event_start, event_end)])
    if temperature_c is not None:
        fitted = {at: power_w for at, power_w in fitted.items() if at in temperature_c}
    by_slot: dict[Slot, list[datetime]] = defaultdict(list)
    for at in fitted:
        by_slot[_slot(at, timezone)].append(at)
    event = load.overlapping(event_start, event_end)
    for at in event:
        count = len(by_slot.get(_slot(at, timezone), []))
        words = at.astimezone(timezone).isoformat(timespec="seconds")
        if count < method.minimum_weeks:
            return cannot(
                f"{count} readings of the same time of the week as {words} in the {method.look_back_days} days before, "
                f"where the rule needs {method.minimum_weeks}",
                days,
            )
        if temperature_c is not None and at not in temperature_c:
            return cannot(f"there is no temperature for the interval at {words}", days)
    bend = _bend(method, fitted, by_slot, temperature_c or {})
    if isinstance(bend, str):
        return cannot(bend, days)
    level = {slot: _level(fitted, starts, bend, temperature_c) for slot, starts in by_slot.items()}
    found_w = [
        level[_slot(at, timezone)] + (bend.watts(temperature_c[at]) if bend and temperature_c else 0.0) for at in event
    ]
    return Baseline(
        rule=rule.rule_id,
        rule_version=rule.version,
        intervals=tuple(
            beside_meter(load, at, unadjusted_w=power_w, baseline_w=power_w)
            for at, power_w in zip(event, found_w, strict=True)
        ),
        adjustment=AdjustmentWorking(kind="none", raw=None, applied=None),
        days=days,
        notes=grid_note(load, event_start, event_end) + _beyond(event, bend, temperature_c),
    )


def _fitted(
    method: Regression, load: LoadHistory, event_start: datetime, zone: tzinfo, closed: Sequence[Event]
) -> tuple[dict[datetime, float], tuple[CandidateDay, ...]]:
    """The readings that the fit stands on, in order of time, and what was looked at, the latest day first."""
    own = event_start.astimezone(zone).date()
    found: list[list[tuple[datetime, float]]] = []
    days = []
    for count in range(1, method.look_back_days + 1):
        day = own - timedelta(days=count)
        opens, closes = midnight(day, zone), midnight(day + timedelta(days=1), zone)
        starts = [at for at in load.overlapping(opens, closes) if at >= opens]
        held = any(start < closes and end > opens for start, end in closed)
        read = [(at, power_w) for at in starts if (power_w := load.at(at)) is not None]
        found.append([] if held else read)
        days.append(_day(day, held=held, read=len(read), asked=len(starts)))
    return dict(sorted(reading for one in found for reading in one)), tuple(days)


def _day(day: date, *, held: bool, read: int, asked: int) -> CandidateDay:
    detail = f"{asked - read} of {asked} intervals are missing" if read < asked else ""
    reason = "event day" if held else "selected" if read else "incomplete"
    return CandidateDay(date=day.isoformat(), selected=reason == "selected", reason=reason, detail=detail)


def _slot(at: datetime, zone: tzinfo) -> Slot:
    local = at.astimezone(zone)
    return local.weekday(), local.hour, local.minute, local.second


def _bend(
    method: Regression,
    fitted: Mapping[datetime, float],
    by_slot: Mapping[Slot, Sequence[datetime]],
    temperature_c: Mapping[datetime, float],
) -> _Bend | str | None:
    """The temperature's part, fitted within the times of the week; in words why there is none where one is wanted.

    With a level for each time of the week, least squares of the whole is least squares of what differs from the
    time's own mean (Frisch, Waugh and Lovell).
    """
    if not temperature_c:
        return None
    seen_c = np.array([temperature_c[at] for at in fitted])
    if not np.isfinite(seen_c).all():
        return "a temperature is no finite number"
    edges_c = np.linspace(seen_c.min(), seen_c.max(), method.temperature_pieces + 1)
    left, right = [], []
    for starts in by_slot.values():
        pieces = _pieces(np.array([temperature_c[at] for at in starts]), edges_c)
        power_w = np.array([fitted[at] for at in starts])
        left.append(pieces - pieces.mean(axis=0))
        right.append(power_w - power_w.mean())
    slopes, _, rank, _ = np.linalg.lstsq(np.concatenate(left), np.concatenate(right))
    if rank < method.temperature_pieces:
        return (
            f"the temperature varies too little at the same time of the week to tell {method.temperature_pieces} "
            f"pieces from {seen_c.min():g} to {seen_c.max():g} degrees Celsius apart: evaluate without temperature"
        )
    return _Bend(edges_c=edges_c, slopes=slopes)


def _pieces(temperature_c: NDArray[np.float64], edges_c: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of a temperature lies in each piece; the first and the last go on beyond the edges."""
    lower, upper = edges_c[:-1].copy(), edges_c[1:].copy()
    low, high = np.zeros_like(lower), upper - lower
    low[0], high[-1] = -np.inf, np.inf
    return np.clip(temperature_c[:, None] - lower, low, high)


def _level(
    fitted: Mapping[datetime, float],
    starts: Sequence[datetime],
    bend: _Bend | None,
    temperature_c: Mapping[datetime, float] | None,
) -> float:
    """The level of one time of the week: what is left of its mean beside the temperature's part."""
    moved_w = [bend.watts(temperature_c[at]) if bend and temperature_c else 0.0 for at in starts]
    return (math.fsum(fitted[at] for at in starts) - math.fsum(moved_w)) / len(starts)


def _beyond(
    event: Sequence[datetime], bend: _Bend | None, temperature_c: Mapping[datetime, float] | None
) -> tuple[str, ...]:
    if bend is None or temperature_c is None:
        return ()
    low, high = bend.edges_c[0], bend.edges_c[-1]
    beyond = sum(not low <= temperature_c[at] <= high for at in event)
    note = f"{beyond} intervals are colder or warmer than any fitted: the line of {low:g} to {high:g} degrees goes on"
    return (note,) if beyond else ()
