"""A day that is over, as it goes into the archive, and the manifest that says what was written.

Energy is kept in whole microwatt-hours beside the meter's own figure, so that a sum over any number of rows is exact
whatever the order in which it is taken.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from gateway.domain.evidence import fingerprint
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.settlement import SettlementStatement
from hardware.device import PowerReading

FORMAT = 1
"""Of the files and the manifest; a reader of an older one says so and reads nothing."""

_UWH_A_KWH = 9
"""Decimal places from microwatt-hours to kilowatt-hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredEnergy:
    """One closed interval of one meter."""

    meter_id: str
    energy: IntervalEnergy


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedDay:
    """Everything of one local day: what the site meter read, its intervals, and the statements of events begun on it.

    ``timezone`` is the IANA name by which the day is one.
    """

    site_id: str
    day: date
    timezone: str
    readings: tuple[PowerReading, ...]
    energy: tuple[MeteredEnergy, ...]
    statements: tuple[SettlementStatement, ...]

    @property
    def content_sha256(self) -> str:
        """Over all of it, so that the same day is known again."""
        return fingerprint(
            {
                "site_id": self.site_id,
                "day": self.day.isoformat(),
                "timezone": self.timezone,
                "readings": self.readings,
                "energy": self.energy,
                "statements": self.statements,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedFile:
    """One file of a day; ``sha256`` is over its bytes."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayManifest:
    """What was written of a day. ``previous_sha256`` is over the manifest written before it, of whichever day."""

    format: int
    site_id: str
    day: str
    version: int
    timezone: str
    written_at: datetime
    content_sha256: str
    files: tuple[ClosedFile, ...]
    previous_sha256: str

    @property
    def sha256(self) -> str:
        """Over the manifest's canonical JSON, which is how it is written."""
        return fingerprint(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTotal:
    """One event over the archive: exact sums in microwatt-hours over ``intervals`` settled intervals."""

    site_id: str
    connection_id: str
    event_id: str
    statement_id: str
    intervals: int
    baseline_uwh: int
    measured_uwh: int
    delivered_uwh: int
    stated_kwh: Decimal
    amount: Decimal
    currency: str

    @property
    def delivered_kwh(self) -> Decimal:
        """The sum, exact."""
        return Decimal(self.delivered_uwh).scaleb(-_UWH_A_KWH)

    @property
    def agrees(self) -> bool:
        """Whether the statement states that sum, within its own rounding to a watt-hour and that of each interval."""
        slack = Decimal("0.0005") + Decimal(self.intervals).scaleb(-_UWH_A_KWH)
        return abs(self.delivered_kwh - self.stated_kwh) <= slack


def microwatt_hours(energy_wh: float) -> int:
    """Energy to a whole microwatt-hour, half to even. Raises ``ValueError`` or ``OverflowError`` for no number."""
    return round(energy_wh * 1_000_000)
