"""What a tariff may consist of. Prices are in its currency for a kilowatt-hour, a kilowatt or a kilowatt and hour."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from enum import StrEnum


class TariffError(ValueError):
    """A delivery that a tariff cannot price as it stands; the text says what is missing or wrong."""


class PriceBy(StrEnum):
    """Where a price comes from."""

    FIXED = "fixed"
    """The sheet states it."""
    AGREED = "agreed"
    """The contract of the site states it."""
    SERIES = "series"
    """Each interval has its own, of a market."""


class Over(StrEnum):
    """Over what span of an event a figure is formed."""

    INTERVAL = "interval"
    HOUR = "hour"
    """Hours of UTC, so those of the clock in every zone that is whole hours away from it."""
    EVENT = "event"


class Netting(StrEnum):
    """Over what span amounts with their signs add up before a clamp sees them."""

    INTERVAL = "interval"
    EVENT = "event"
    MONTH = "month"


class Per(StrEnum):
    """How often a kilowatt is paid for."""

    EVENT = "event"
    MONTH = "month"


class CapacityBy(StrEnum):
    """Which kilowatts are paid for."""

    AWARD = "award"
    COMMITMENT = "commitment"
    DELIVERED = "delivered"
    """The mean over the event; never under zero."""
    UNCALLED = "uncalled"
    """What was committed and in no event of the month requested."""


class Part(StrEnum):
    """The part of a tariff to which a line belongs."""

    ENERGY = "energy"
    CAPACITY = "capacity"
    AVAILABILITY = "availability"
    PERFORMANCE = "performance"
    """Figures that other lines use as factor; they are worth nothing by themselves."""
    PENALTY = "penalty"
    TOTAL = "total"
    """Bounds and rounding of the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """``value`` is ``None`` unless the sheet states it."""

    by: PriceBy
    value: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyTerms:
    """Payment for delivered energy times ``loss_factor``.

    With ``clamped`` the amount over each span of ``netting`` is not under zero. With ``net_benefits`` an interval whose
    price is under the month's threshold is neither paid nor charged (FERC Order 745).
    """

    price: Price
    netting: Netting
    clamped: bool
    loss_factor: Decimal
    net_benefits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityTerms:
    """Payment for kilowatts."""

    price: Price
    per: Per
    by: CapacityBy


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilityTerms:
    """Payment for each awarded (by month: committed) kilowatt and hour of availability, times its factor."""

    price: Price
    per: Per


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """From a ratio of delivered to awarded energy (included) to another (left out; ``None`` is without end).

    What was delivered counts up to ``cap_ratio`` of the award (``None``: all of it) and is paid times ``pay_factor``.
    """

    from_ratio: Decimal
    to_ratio: Decimal | None
    pay_factor: Decimal
    cap_ratio: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TieredPerformance:
    """The tier of the event, or of each interval by itself, decides what is paid. Tiers rise and leave no gap."""

    over: Over
    tiers: tuple[Tier, ...]
    applies_to: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalPerformance:
    """The mean of the intervals' ratios, each within 0 and 1, is the factor; from ``pass_mark`` on it is 1."""

    pass_mark: Decimal
    applies_to: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PenaltyTerms:
    """In each span: (award x ``threshold_ratio`` - delivered) x price x ``factor``, where that is above zero."""

    over: Over
    threshold_ratio: Decimal
    factor: Decimal
    price: Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """Bounds on a part (``None``: the whole) of an event or a month.

    On the amount; on paid energy for ``ceiling_kwh``, which only the energy part has.
    """

    part: Part | None
    per: Per
    floor: Decimal | None = None
    ceiling: Decimal | None = None
    ceiling_kwh: Decimal | None = None


class RoundingMode(StrEnum):
    """What becomes of a half."""

    HALF_EVEN = "half-even"
    HALF_UP = "half-up"

    @property
    def decimal_mode(self) -> str:
        """The name that ``decimal`` has for it."""
        return ROUND_HALF_EVEN if self is RoundingMode.HALF_EVEN else ROUND_HALF_UP


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """Steps of energy, power, hours, ratios and money. With ``each_line`` every line is rounded, else the total is."""

    energy_kwh: Decimal
    power_kw: Decimal
    hours: Decimal
    ratio: Decimal
    money: Decimal
    mode: RoundingMode
    each_line: bool

    def rounded(self, value: Decimal, step: Decimal) -> Decimal:
        """To a step; a zero has no sign."""
        found = value.quantize(step, rounding=self.mode.decimal_mode)
        return abs(found) if found.is_zero() else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """One tariff as its sheet states it. ``currency`` is ISO 4217, or ``agreed`` where the contract names it.

    What is not payable, of intervals that rest on estimates or on suspect readings, is neither credited nor charged.
    """

    tariff_id: str
    version: str
    title: str
    source: str
    clause: str
    read: str
    currency: str
    rounding: Rounding
    estimates_payable: bool
    suspect_payable: bool
    capability_tests_payable: bool
    energy: EnergyTerms | None = None
    capacity: CapacityTerms | None = None
    availability: AvailabilityTerms | None = None
    performance: TieredPerformance | IntervalPerformance | None = None
    penalty: PenaltyTerms | None = None
    caps: tuple[Cap, ...] = ()
