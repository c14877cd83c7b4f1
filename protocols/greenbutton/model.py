"""What a Green Button feed says of one usage point, in neutral terms: watts, watt-hours, aware UTC instants.

Values are never negative for their direction alone: a meter has one series for energy taken from the grid and
another for energy given to it. Only a net series has a sign, positive for what is taken.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Quality(StrEnum):
    """How far a reading can be trusted; the words are those of the meters' face."""

    GOOD = "good"
    ESTIMATED = "estimated"
    SUSPECT = "suspect"


class Flow(StrEnum):
    """Which way the energy goes."""

    FORWARD = "forward"
    """From the grid to the customer: consumption, import."""
    REVERSE = "reverse"
    """From the customer to the grid: export, a positive number."""
    NET = "net"
    """Forward less reverse, with its sign."""


class Statistic(StrEnum):
    """What a power is of its interval."""

    AVERAGE = "average"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    UNSTATED = "unstated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingType:
    """What a meter's readings are.

    ``interval_s`` is the usual length of an interval, ``None`` where none is said. ``power_of_ten`` is the resolution
    that values travel with, from -12 to 12: 3 is whole kilowatt-hours, and what is written is rounded to it.
    ``primary_metered`` is metered at the voltage of the supply, transformer losses included. ``tou`` and
    ``consumption_tier`` other than 0 say that the series holds only the part of that time of use or tier.
    """

    flow: Flow = Flow.FORWARD
    interval_s: int | None = None
    power_of_ten: int = 0
    primary_metered: bool = False
    tou: int = 0
    consumption_tier: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalReading:
    """Energy over ``[starts_at, starts_at + duration_s)``; the duration is a whole number of seconds above 0."""

    starts_at: datetime
    duration_s: int
    energy_wh: float
    quality: Quality = Quality.GOOD

    @property
    def ends_at(self) -> datetime:
        """The first instant after it."""
        return self.starts_at + timedelta(seconds=self.duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerReading:
    """Power over an interval, as the series' statistic says, or at an instant where ``duration_s`` is 0."""

    starts_at: datetime
    duration_s: int
    power_w: float
    quality: Quality = Quality.GOOD

    @property
    def ends_at(self) -> datetime:
        """The first instant after it; the instant itself where it has no duration."""
        return self.starts_at + timedelta(seconds=self.duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterReading:
    """What a running register showed at an instant. Energy is the difference of two, unless it rolled over."""

    read_at: datetime
    register_wh: float
    quality: Quality = Quality.GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergySeries:
    """Energy of one meter by interval, in order of time, without overlap. ``meter_id`` is unique in its feed."""

    meter_id: str
    title: str = ""
    type: ReadingType = ReadingType()
    readings: tuple[IntervalReading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSeries:
    """Power of one meter, in order of time, without overlap."""

    meter_id: str
    title: str = ""
    type: ReadingType = ReadingType()
    statistic: Statistic = Statistic.UNSTATED
    readings: tuple[PowerReading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSeries:
    """Readings of one meter's register, in order of time."""

    meter_id: str
    title: str = ""
    type: ReadingType = ReadingType()
    readings: tuple[RegisterReading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTime:
    """LocalTimeParameters: how local time is made of UTC. It is for show: instants in a feed are UTC all the same.

    ``tz_offset_s`` is standard time less UTC (west is negative), ``dst_offset_s`` what summer adds. The rules are bit
    maps of month, day and hour in eight hexadecimal digits (DstRuleType); ``FFFFFFFF`` is no daylight saving.
    """

    tz_offset_s: int
    dst_offset_s: int = 0
    dst_start_rule: str = "FFFFFFFF"
    dst_end_rule: str = "FFFFFFFF"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageData:
    """What was metered at one usage point.

    Titles have no blanks around them. ``remarks`` is what somebody should know who takes the data: what was passed
    over or taken for granted in reading it, in words; it is no part of the data and is not written.
    """

    usage_point_id: str
    title: str = ""
    energy: tuple[EnergySeries, ...] = ()
    power: tuple[PowerSeries, ...] = ()
    registers: tuple[RegisterSeries, ...] = ()
    local_time: LocalTime | None = None
    remarks: tuple[str, ...] = field(default=(), compare=False)
