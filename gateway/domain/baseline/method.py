"""What a baseline rule may do: one frozen shape for each kind of sheet. ``rule.py`` says what the keys mean."""

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.domain.evidence import ADDED


class AdjustmentKind(StrEnum):
    """How the day's own load beside the event moves the baseline."""

    NONE = "none"
    MULTIPLICATIVE = "multiplicative"
    ADDITIVE = "additive"


class Refill(StrEnum):
    """What becomes of a day type with too few days: event days are taken back, the highest first, up to the minimum."""

    NONE = "none"
    HIGHEST_EVENT_LOAD = "highest-event-load"
    """Highest by their load in the event's hours."""

    HIGHEST_DAY_LOAD = "highest-day-load"
    """Highest by their load around the clock."""


class Selection(StrEnum):
    """Which of the latest eligible days form the mean."""

    ALL = "all"
    LAST = "last"
    HIGHEST = "highest"
    MIDDLE = "middle"
    """As many of the highest as of the lowest are dropped."""

    NEAREST = "nearest"
    """Those whose load is most like the event day's own, outside the event."""


class RankBy(StrEnum):
    """Which load makes a day high or low."""

    EVENT_LOAD = "event-load"
    DAY_LOAD = "day-load"


class LowUse(StrEnum):
    """What a day's load in the event's hours is held against, to leave out days of low use."""

    CANDIDATE_MEAN = "candidate-mean"
    """The mean of the latest days up to the target, taken anew whenever a day leaves them."""

    RUNNING_MEAN = "running-mean"
    """The mean of the days accepted so far on the way back; the highest day seeds it."""


class Anchor(StrEnum):
    """The instant that a rule counts from."""

    START = "start"
    """The event's start; of a meter before the event the ramp's start, which may be earlier."""

    NOTICE = "notice"
    """When the site was told of the event: what it does afterwards moves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """``from_h`` and ``to_h`` are hours relative to ``anchor``; a ``clamp`` of ``None`` bounds nothing.

    ``after_from_h`` and ``after_to_h`` are a second window, in hours from the event's end. With ``search_back_h`` the
    first window moves back, up to so far, to the latest place where it is complete and holds no event.
    """

    kind: AdjustmentKind
    from_h: float = 0.0
    to_h: float = 0.0
    clamp: tuple[float, float] | None = None
    anchor: Anchor = field(default=Anchor.START, metadata=ADDED)
    after_from_h: float = field(default=0.0, metadata=ADDED)
    after_to_h: float = field(default=0.0, metadata=ADDED)
    search_back_h: float = field(default=0.0, metadata=ADDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayType:
    """Days that are like each other; ``weekdays`` count from 0, a Monday. ``holidays``: a holiday is of this type.

    Of the latest ``target_days`` eligible days ``select_days`` form the mean (all of them for ``None``), weighted by
    ``weights`` in the order of their rank (alike where there are none). ``with_event_days``: days with events count.
    """

    name: str
    weekdays: tuple[int, ...]
    holidays: bool
    target_days: int
    minimum_days: int
    select_days: int | None = field(default=None, metadata=ADDED)
    weights: tuple[float, ...] = field(default=(), metadata=ADDED)
    with_event_days: bool = field(default=False, metadata=ADDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayMatching:
    """Mean of earlier days that are like the event's day, adjusted by the day itself.

    ``first_day_back`` is the latest day looked at, counted back from the day of ``count_from``. ``extended_days`` is
    how far back is looked where ``look_back_days`` hold too few. ``low_use_fraction`` of ``low_use`` is the least load
    of a day. ``apart_h`` are the hours beside the event that do not count in the comparison of the nearest days.
    """

    look_back_days: int
    calendar: str
    exclude_event_days: bool
    refill: Refill
    selection: Selection
    day_types: tuple[DayType, ...]
    adjustment: Adjustment
    minimum_coverage_fraction: float
    first_day_back: int = field(default=1, metadata=ADDED)
    count_from: Anchor = field(default=Anchor.START, metadata=ADDED)
    extended_days: int | None = field(default=None, metadata=ADDED)
    holidays_on_weekends: bool = field(default=True, metadata=ADDED)
    exclude_clock_change_days: bool = field(default=False, metadata=ADDED)
    low_use: LowUse | None = field(default=None, metadata=ADDED)
    low_use_fraction: float = field(default=0.0, metadata=ADDED)
    rank_by: RankBy = field(default=RankBy.EVENT_LOAD, metadata=ADDED)
    apart_h: float = field(default=0.0, metadata=ADDED)
    never_negative: bool = field(default=False, metadata=ADDED)
    fallback: str = field(default="", metadata=ADDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterBeforeAfter:
    """Flat, from the last ``length_s`` seconds before the anchor; with ``align_s`` from a whole step of the clock."""

    length_s: float
    anchor: Anchor = field(default=Anchor.START, metadata=ADDED)
    align_s: float | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SameDay:
    """Flat, from hours of the event's own day: before its start (negative hours) and after its end."""

    before_h: tuple[float, float]
    after_h: tuple[float, float]
    minimum_coverage_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredLevel:
    """Flat, at the level that was declared to the programme."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorOutput:
    """What a generator behind the meter gives more than it does on ``typical`` days."""

    typical: DayMatching


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """A level for each time of the week, and a line of so many pieces in the temperature where it is given.

    ``minimum_weeks`` is the least number of readings of a time of the week.
    """

    look_back_days: int
    minimum_weeks: int
    temperature_pieces: int
    minimum_coverage_fraction: float


Method = DayMatching | MeterBeforeAfter | SameDay | DeclaredLevel | GeneratorOutput | Regression
