"""A site's metered load without a fault, and faults to put into it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from random import Random
from types import MappingProxyType
from zoneinfo import ZoneInfo

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.vee.finding import Kind

BRUSSELS = ZoneInfo("Europe/Brussels")
NEW_YORK = ZoneInfo("America/New_York")
QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)


def first_instant(day: date, zone: tzinfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def clean_load(
    first: date, days: int, zone: tzinfo, *, seed: int = 1, step: timedelta = QUARTER
) -> list[IntervalEnergy]:
    """Intervals from the first midnight to the last: a bow over the day, less at the week's end, and some noise."""
    chance = Random(seed)
    at, end = first_instant(first, zone), first_instant(first + timedelta(days=days), zone)
    found = []
    while at < end:
        local = at.astimezone(zone)
        hour = local.hour + local.minute / 60
        weekend = 0.7 if local.weekday() >= 5 else 1.0
        power_w = 100_000 * weekend * (1 + 0.5 * math.sin(math.pi * (hour - 6) / 12)) * chance.uniform(0.95, 1.05)
        hours = step / HOUR
        found.append(
            IntervalEnergy(
                starts_at=at, duration_s=step.total_seconds(), energy_wh=power_w * hours, coverage_fraction=1.0
            )
        )
        at += step
    return found


def register(intervals: Sequence[IntervalEnergy], *instants: datetime) -> list[tuple[datetime, float]]:
    """What a register that began at 5 MWh says at the instants, which lie on the intervals' grid."""
    return [(at, 5e6 + math.fsum(one.energy_wh for one in intervals if one.starts_at < at)) for at in instants]


@dataclass(frozen=True, slots=True)
class Faulty:
    """Intervals with a fault, the kind to be named over ``[starts_at, ends_at)``, and what may be named beside."""

    intervals: list[IntervalEnergy]
    kind: Kind
    starts_at: datetime
    ends_at: datetime
    beside: frozenset[Kind] = frozenset()


def gap(load: Sequence[IntervalEnergy], slot: int, count: int) -> Faulty:
    kept = [*load[:slot], *load[slot + count :]]
    beside = frozenset({Kind.DAY_COUNT, Kind.CLOCK_STEP} if count == 4 else {Kind.DAY_COUNT})
    return Faulty(kept, Kind.GAP, load[slot].starts_at, load[slot + count - 1].ends_at, beside)


def not_covered(load: Sequence[IntervalEnergy], slot: int, count: int) -> Faulty:
    hollow = [replace(one, energy_wh=0.0, coverage_fraction=0.0) for one in load[slot : slot + count]]
    return replace(gap(load, slot, count), intervals=[*load[:slot], *hollow, *load[slot + count :]])


def same_again(load: Sequence[IntervalEnergy], slot: int, count: int) -> Faulty:
    again = load[slot : slot + count]
    beside = frozenset({Kind.DAY_COUNT})
    return Faulty([*load, *again], Kind.DUPLICATE, again[0].starts_at, again[-1].ends_at, beside)


def contradicted(load: Sequence[IntervalEnergy], slot: int, count: int) -> Faulty:
    again = [replace(one, energy_wh=one.energy_wh * 1.1) for one in load[slot : slot + count]]
    beside = frozenset({Kind.DAY_COUNT, Kind.CLOCK_STEP} if count == 4 else {Kind.DAY_COUNT})
    return Faulty([*load, *again], Kind.DUPLICATE, again[0].starts_at, again[-1].ends_at, beside)


def overlapping(load: Sequence[IntervalEnergy], slot: int, count: int) -> Faulty:
    long = replace(load[slot], duration_s=900.0 * (count + 1), energy_wh=load[slot].energy_wh * (count + 1))
    beside = frozenset({Kind.LENGTH})
    return Faulty([*load[:slot], long, *load[slot + 1 :]], Kind.OVERLAP, load[slot + 1].starts_at, long.ends_at, beside)


def merged(load: Sequence[IntervalEnergy], slot: int, count: int) -> Faulty:
    energy_wh = math.fsum(one.energy_wh for one in load[slot : slot + count + 1])
    long = replace(load[slot], duration_s=900.0 * (count + 1), energy_wh=energy_wh)
    beside = frozenset({Kind.DAY_COUNT})
    kept = [*load[:slot], long, *load[slot + count + 1 :]]
    return Faulty(kept, Kind.LENGTH, long.starts_at, long.ends_at, beside)


def late_clock(load: Sequence[IntervalEnergy], slot: int, count: int) -> Faulty:
    late = [replace(one, starts_at=one.starts_at + timedelta(minutes=5)) for one in load[slot : slot + count]]
    beside = frozenset({Kind.GAP, Kind.OVERLAP, Kind.DAY_COUNT})
    kept = [*load[:slot], *late, *load[slot + count :]]
    return Faulty(kept, Kind.CLOCK_STEP, late[0].starts_at, late[-1].ends_at, beside)


def put_back_by_an_hour(load: Sequence[IntervalEnergy], slot: int, count: int) -> Faulty:
    """From a slot on the meter's clock is an hour late: an hour is there twice, and the last one is missing."""
    del count
    late = [replace(one, starts_at=one.starts_at - HOUR) for one in load[slot:]]
    beside = frozenset({Kind.DUPLICATE, Kind.GAP, Kind.DAY_COUNT})
    return Faulty([*load[:slot], *late], Kind.CLOCK_STEP, load[slot - 4].starts_at, load[slot].starts_at, beside)


def put_forward_by_an_hour(load: Sequence[IntervalEnergy], slot: int, count: int) -> Faulty:
    del count
    early = [replace(one, starts_at=one.starts_at + HOUR) for one in load[slot:]]
    beside = frozenset({Kind.GAP, Kind.DAY_COUNT})
    return Faulty([*load[:slot], *early], Kind.CLOCK_STEP, load[slot].starts_at, load[slot + 4].starts_at, beside)


def spike(load: Sequence[IntervalEnergy], slot: int, count: int) -> Faulty:
    del count
    high = replace(load[slot], energy_wh=load[slot].energy_wh * 20)
    return Faulty([*load[:slot], high, *load[slot + 1 :]], Kind.SPIKE, high.starts_at, high.ends_at)


def stuck(load: Sequence[IntervalEnergy], slot: int, count: int) -> Faulty:
    same = [replace(one, energy_wh=load[slot].energy_wh) for one in load[slot : slot + count + 7]]
    kept = [*load[:slot], *same, *load[slot + count + 7 :]]
    return Faulty(kept, Kind.STUCK, same[0].starts_at, same[-1].ends_at)


def negative(load: Sequence[IntervalEnergy], slot: int, count: int) -> Faulty:
    turned = [replace(one, energy_wh=-one.energy_wh) for one in load[slot : slot + count]]
    kept = [*load[:slot], *turned, *load[slot + count :]]
    return Faulty(kept, Kind.NEGATIVE, turned[0].starts_at, turned[-1].ends_at)


FAULTS: Mapping[str, Callable[[Sequence[IntervalEnergy], int, int], Faulty]] = MappingProxyType(
    {
        one.__name__: one
        for one in (
            gap, not_covered, same_again, contradicted, overlapping, merged, late_clock, put_back_by_an_hour,
            put_forward_by_an_hour, spike, stuck, negative,
        )
    }
)  # fmt: skip
"""Faults by name: of a clean load, from a slot on, over a count of slots where the fault has a length of its own."""


def local_time_as_utc(load: Sequence[IntervalEnergy], zone: tzinfo) -> list[IntervalEnergy]:
    """Each interval under its local stamp, taken for UTC."""
    return [replace(one, starts_at=one.starts_at.astimezone(zone).replace(tzinfo=UTC, fold=0)) for one in load]


def without_offset(load: Sequence[IntervalEnergy], zone: tzinfo) -> list[IntervalEnergy]:
    """Each interval under its local stamp without an offset, read back in its zone: of two alike the first is taken."""
    naive = [one.starts_at.astimezone(zone).replace(tzinfo=None, fold=0) for one in load]
    return [
        replace(one, starts_at=at.replace(tzinfo=zone).astimezone(UTC)) for one, at in zip(load, naive, strict=True)
    ]
