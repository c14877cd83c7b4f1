"""What was agreed with the grid, program by program: how its messages are meant, and how often and when it may call."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo

from gateway.domain.tariff.terms import Part

SAME_S = 1e-6
"""Two durations that differ by less are the same."""

ALL_WEEK = frozenset(range(7))


class Direction(StrEnum):
    """Which way the site moves when it is called."""

    REDUCE = "reduce"
    INCREASE = "increase"


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """From a day of the year to another, both included, as (month, day); it may pass the new year."""

    first: tuple[int, int]
    last: tuple[int, int]

    def holds(self, day: date) -> bool:
        """Whether a day is in the season."""
        at = (day.month, day.day)
        if self.first <= self.last:
            return self.first <= at <= self.last
        return at >= self.first or at <= self.last

    def year_of(self, day: date) -> int | None:
        """The year in which the season that holds a day began, ``None`` where none does."""
        if not self.holds(day):
            return None
        return day.year if (day.month, day.day) >= self.first else day.year - 1


WHOLE_YEAR = Season(first=(1, 1), last=(12, 31))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractWindow:
    """When a call may be: on these weekdays (Monday is 0) of the season, between two times of the site's clock.

    One that ends at or before its ``from_time`` ends on the next day.
    """

    weekdays: frozenset[int] = ALL_WEEK
    from_time: time = time(0)
    to_time: time = time(0)
    season: Season = WHOLE_YEAR

    def on(self, day: date, zone: ZoneInfo) -> tuple[datetime, datetime] | None:
        """From when to when it is open, of the window that opens on a day; ``None`` where it does not."""
        if day.weekday() not in self.weekdays or not self.season.holds(day):
            return None
        last_day = day if self.to_time > self.from_time else day + timedelta(days=1)
        return datetime.combine(day, self.from_time, zone), datetime.combine(last_day, self.to_time, zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What was committed under one program, and within what bounds it may be called. ``None`` is without a bound.

    A call lies within one of the ``windows``; without any it may be at any time. A season for counting is ``season``;
    a call belongs to the day and the season in which it starts. ``rest_s`` lies between the end of a call and the next
    start.
    """

    committed_w: float
    direction: Direction = Direction.REDUCE
    windows: tuple[ContractWindow, ...] = ()
    season: Season = WHOLE_YEAR
    notice_s: float = 0.0
    min_duration_s: float = 0.0
    max_duration_s: float | None = None
    calls_per_day: int | None = None
    calls_per_season: int | None = None
    hours_per_season: float | None = None
    rest_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One demand-response program as the facility manager declared it.

    ``program_id`` is the marketContext in OpenADR 2.0b and the programID in 3.x. ``levels`` says what a SIMPLE level
    means as a fraction of the live baseline. ``signal`` names the signal that governs (upper and lower case are one);
    ``None`` leaves it to ``gateway.domain.governing.governing_signal``. ``baseline_rule`` names the rule sheet that
    settles, ``tariff`` the tariff sheet that prices. ``price_per_kwh`` is paid for a delivered kilowatt-hour, in
    ``currency`` (ISO 4217); ``agreed`` has what the contract pays for other parts of the tariff, a kilowatt or a
    kilowatt and hour. A statement may be disputed for ``dispute_days``.
    ``stacks`` says that its reductions come on top of those of other programs that stack, too; else they do not add up.
    ``contract`` bounds when and how often it may call; ``None`` where nobody said. Events of a ``mandatory`` program
    cannot be opted out of, within the bounds or not. ``capacity_w`` is what a fraction of the site's capacity is of, in
    watts; ``None`` where nobody said. ``declared_w`` is the level declared to the program, which a rule of a declared
    level holds the meter against. ``by_sites`` has what the sites below verified added up in place
    of a verification by our own meter; what they have not settled ``sites_patience_s`` after the event stays missing.
    """

    program_id: str
    levels: Mapping[int, float] = field(default_factory=dict)
    baseline_rule: str = "meter-before-after"
    price_per_kwh: Decimal = Decimal(0)
    currency: str = "USD"
    tariff: str = "flat-energy"
    agreed: Mapping[Part, Decimal] = field(default_factory=dict)
    dispute_days: float = 60.0
    signal: str | None = None
    stacks: bool = False
    mandatory: bool = False
    contract: Contract | None = None
    capacity_w: float | None = None
    declared_w: float | None = None
    by_sites: bool = False
    sites_patience_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a contract: from when to when; ``ends_at`` is ``None`` where nobody knows yet."""

    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractLeft:
    """What a contract still allows for a call at some instant; ``None`` is without a bound.

    ``rests_until`` is when the rest after the last call is over, ``None`` where it is; a call without an end that is
    known has the latest instant there is.
    """

    calls_today: int | None
    calls_this_season: int | None
    hours_this_season: float | None
    rests_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether a call is within the contract. ``reasons`` say each way in which it is not, in plain words."""

    reasons: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


def contract_left(contract: Contract, calls: Iterable[Call], at: datetime, zone: ZoneInfo) -> ContractLeft:
    """What is left for a call that starts ``at``. ``calls`` are those before it, in any order; later ones do not count.

    A call whose end is not known counts with its longest duration.
    """
    before = [call for call in calls if call.starts_at < at]
    today = at.astimezone(zone).date()
    year = contract.season.year_of(today)
    days = [(call, call.starts_at.astimezone(zone).date()) for call in before]
    in_season = [call for call, day in days if year is not None and contract.season.year_of(day) == year]
    used_h = sum(_length_s(contract, call) for call in in_season) / 3600.0
    rests = [_end(contract, call) + _rest(contract) for call in before]
    until = max(rests, default=None)
    return ContractLeft(
        calls_today=_less(contract.calls_per_day, sum(day == today for _, day in days)),
        calls_this_season=_less(contract.calls_per_season, len(in_season)),
        hours_this_season=None if contract.hours_per_season is None else max(0.0, contract.hours_per_season - used_h),
        rests_until=until if until is not None and until > at else None,
    )


def contract_fit(
    contract: Contract, calls: Iterable[Call], call: Call, *, notified_at: datetime, zone: ZoneInfo
) -> Fit:
    """Whether a call may be, given those before it. One without an end is judged by its start."""
    left = contract_left(contract, calls, call.starts_at, zone)
    return Fit(
        reasons=(
            *_by_time(contract, call, notified_at, zone),
            *_by_length(contract, call),
            *_by_count(contract, left, call, zone),
        )
    )


def _by_time(contract: Contract, call: Call, notified_at: datetime, zone: ZoneInfo) -> list[str]:
    reasons: list[str] = []
    if contract.windows and not _in_a_window(contract, call, zone):
        at = call.starts_at.astimezone(zone)
        reasons.append(f"it is not within any window of the contract: it starts on {at:%A, %-d %B at %H:%M}")
    notice_s = (call.starts_at - notified_at).total_seconds()
    if notice_s < contract.notice_s - SAME_S:
        reasons.append(f"notice of {_minutes(max(0.0, notice_s))} is under the {_minutes(contract.notice_s)} agreed")
    return reasons


def _in_a_window(contract: Contract, call: Call, zone: ZoneInfo) -> bool:
    day = call.starts_at.astimezone(zone).date()
    for window in contract.windows:
        for opens_on in (day, day - timedelta(days=1)):
            found = window.on(opens_on, zone)
            if found is not None and found[0] <= call.starts_at and (call.ends_at or call.starts_at) <= found[1]:
                return call.starts_at < found[1]
    return False


def _by_length(contract: Contract, call: Call) -> list[str]:
    if call.ends_at is None:
        return []
    length_s = (call.ends_at - call.starts_at).total_seconds()
    if length_s < contract.min_duration_s - SAME_S:
        return [f"{_minutes(length_s)} is shorter than the {_minutes(contract.min_duration_s)} agreed at the least"]
    if contract.max_duration_s is not None and length_s > contract.max_duration_s + SAME_S:
        return [f"{_minutes(length_s)} is longer than the {_minutes(contract.max_duration_s)} agreed at the most"]
    return []


def _by_count(contract: Contract, left: ContractLeft, call: Call, zone: ZoneInfo) -> list[str]:
    reasons: list[str] = []
    if left.calls_today == 0:
        reasons.append(f"all {contract.calls_per_day} calls of the day were made")
    if left.calls_this_season == 0:
        reasons.append(f"all {contract.calls_per_season} calls of the season were made")
    if left.hours_this_season is not None:
        asked_h = 0.0 if call.ends_at is None else (call.ends_at - call.starts_at).total_seconds() / 3600.0
        if left.hours_this_season <= 0.0 or asked_h > left.hours_this_season + SAME_S:
            reasons.append(
                f"{left.hours_this_season:.1f} of {contract.hours_per_season:.1f} hours of the season are left"
            )
    if left.rests_until is not None:
        reasons.append(f"the rest after the last call lasts until {left.rests_until.astimezone(zone):%H:%M on %-d %B}")
    return reasons


def _end(contract: Contract, call: Call) -> datetime:
    if call.ends_at is not None:
        return call.ends_at
    if contract.max_duration_s is None:
        # Far enough, and with room for a rest after it.
        return datetime.max.replace(tzinfo=call.starts_at.tzinfo) - _rest(contract) - timedelta(days=2)
    return call.starts_at + timedelta(seconds=contract.max_duration_s)


def _rest(contract: Contract) -> timedelta:
    return timedelta(seconds=contract.rest_s)


def _length_s(contract: Contract, call: Call) -> float:
    return (_end(contract, call) - call.starts_at).total_seconds()


def _less(most: int | None, used: int) -> int | None:
    return None if most is None else max(0, most - used)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60.0:.3g} min"
