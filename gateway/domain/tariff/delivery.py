"""What a tariff prices: the delivery of an event, and what was committed for a month."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import isfinite
from types import MappingProxyType

from gateway.domain.tariff.terms import Part
from gateway.domain.verification import VerifiedInterval
from hardware.device import Quality

_LARGEST_WH = 1e15
_SAME = 1e-6
_SHORTEST_S, _LONGEST_S = 1e-6, 86_400.0
_YEARS = range(1971, 9000)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalPrice:
    """A price for a kilowatt-hour in one interval, and who published it."""

    per_kwh: Decimal
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryInterval:
    """Energies are of the covered share of the interval. ``delivered_wh`` is baseline less measured, signed."""

    starts_at: datetime
    duration_s: float
    baseline_wh: float
    measured_wh: float
    delivered_wh: float
    coverage_fraction: float = 1.0
    quality: Quality = Quality.GOOD
    price: IntervalPrice | None = None

    def __post_init__(self) -> None:
        at = self.starts_at.isoformat()
        if self.starts_at.tzinfo is None:
            raise ValueError(f"the interval at {at} has no UTC offset")
        if self.starts_at.year not in _YEARS:
            raise ValueError(f"the interval at {at} is out of time")
        if not _SHORTEST_S <= self.duration_s <= _LONGEST_S:
            raise ValueError(f"the interval at {at} lasts {self.duration_s} s: above 0 and a day at most")
        if not 0 <= self.coverage_fraction <= 1:
            raise ValueError(f"the interval at {at} has a coverage of {self.coverage_fraction}, not within 0 and 1")
        for energy_wh in (self.baseline_wh, self.measured_wh, self.delivered_wh):
            if not isfinite(energy_wh) or abs(energy_wh) > _LARGEST_WH:
                raise ValueError(f"the interval at {at} has an energy of {energy_wh} Wh: at most {_LARGEST_WH:g}")
        difference_wh = self.baseline_wh - self.measured_wh - self.delivered_wh
        if abs(difference_wh) > _SAME * (abs(self.baseline_wh) + abs(self.measured_wh)) + _SAME:
            raise ValueError(f"the interval at {at}: delivered is not baseline less measured")

    @property
    def ends_at(self) -> datetime:
        """The end, left out."""
        return self.starts_at + timedelta(seconds=self.duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Hours for which the site was to be available, and the share of them in which it was."""

    hours: Decimal
    factor: Decimal

    def __post_init__(self) -> None:
        if self.hours < 0 or not 0 <= self.factor <= 1:
            raise ValueError(
                f"availability of {self.factor} over {self.hours} h: a factor within 0 and 1, hours from 0"
            )


def _no_prices() -> Mapping[Part, Decimal]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What one site did in one event.

    ``awarded_kw`` is what it was called for or cleared at, ``committed_kw`` what its contract holds ready,
    ``requested_kw`` what was asked of it. ``agreed`` are the contract's prices by part, ``currency`` (ISO 4217) the
    contract's; a tariff that has its own uses that. ``net_benefits_per_kwh`` is the month's threshold price.
    Raises ``ValueError`` for intervals that overlap or are out of order.
    """

    event_id: str
    intervals: tuple[DeliveryInterval, ...]
    committed_kw: Decimal = Decimal(0)
    awarded_kw: Decimal = Decimal(0)
    requested_kw: Decimal = Decimal(0)
    agreed: Mapping[Part, Decimal] = field(default_factory=_no_prices)
    currency: str = ""
    availability: Availability | None = None
    net_benefits_per_kwh: IntervalPrice | None = None
    capability_test: bool = False

    def __post_init__(self) -> None:
        if min(self.committed_kw, self.awarded_kw, self.requested_kw) < 0:
            raise ValueError(f"event {self.event_id}: committed, awarded and requested kW are from 0 on")
        for earlier, later in pairwise(self.intervals):
            if later.starts_at < earlier.ends_at:
                raise ValueError(
                    f"event {self.event_id}: the interval at {later.starts_at.isoformat()} begins before the one "
                    "before it ends"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month of the site's contract: ``name`` is as on its statement, such as 2026-11."""

    name: str
    committed_kw: Decimal = Decimal(0)
    agreed: Mapping[Part, Decimal] = field(default_factory=_no_prices)
    currency: str = ""
    availability: Availability | None = None


def delivery_intervals(
    verified: Sequence[VerifiedInterval], prices: Mapping[datetime, IntervalPrice] | None = None
) -> tuple[DeliveryInterval, ...]:
    """What was verified as a tariff takes it, with the price of each interval by its start, where there are any."""
    known = prices or {}
    return tuple(
        DeliveryInterval(
            starts_at=interval.starts_at,
            duration_s=interval.duration_s,
            baseline_wh=interval.baseline_wh,
            measured_wh=interval.measured_wh,
            delivered_wh=interval.delivered_wh,
            coverage_fraction=interval.coverage_fraction,
            quality=interval.quality,
            price=known.get(interval.starts_at),
        )
        for interval in verified
    )
