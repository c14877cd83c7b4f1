"""The counterparty's statement held against ours, line by line, each difference with what it looks like."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from gateway.domain.settlement import SettlementStatement
from gateway.domain.tariff.statement import EXACT

KWH_TOLERANCE: Final = Decimal("0.0005")
"""Half of the last digit of a statement: what differs by less is rounding."""

FIGURES: Final = ("baseline_kwh", "measured_kwh", "delivered_kwh")
_THOUSAND: Final = Decimal(1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterpartyInterval:
    """One interval as the counterparty states it, in kWh; ``None`` where it states none."""

    starts_at: datetime
    duration_s: float
    baseline_kwh: Decimal | None = None
    measured_kwh: Decimal | None = None
    delivered_kwh: Decimal | None = None

    def __post_init__(self) -> None:
        if self.starts_at.tzinfo is None:
            raise ValueError(f"the interval at {self.starts_at.isoformat()} has no UTC offset")
        if not 0 < self.duration_s <= 86_400:
            raise ValueError(f"the interval at {self.starts_at.isoformat()} lasts {self.duration_s} s")


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterpartyStatement:
    """What the counterparty states of one event. ``reference`` is its own name for it.

    Raises ``ValueError`` for an interval that is there twice, or that overlaps the one before it.
    """

    reference: str
    party: str
    event_id: str
    currency: str
    amount: Decimal
    delivered_kwh: Decimal | None = None
    intervals: tuple[CounterpartyInterval, ...] = ()

    def __post_init__(self) -> None:
        for earlier, later in pairwise(sorted(self.intervals, key=lambda one: one.starts_at)):
            if later.starts_at < earlier.starts_at + timedelta(seconds=earlier.duration_s):
                raise ValueError(
                    f"intervals at {earlier.starts_at.isoformat()} and {later.starts_at.isoformat()} overlap: "
                    "each stretch of time once"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedStatement:
    """A counterparty's statement, against which of ours it was held, and who handed it in when."""

    statement_id: str
    statement: CounterpartyStatement
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LineDifference:
    """One figure that the two state otherwise; a side that does not state it is empty.

    ``reason`` says in plain words what it looks like: it is what a dispute goes on.
    """

    figure: str
    ours: str
    theirs: str
    difference: Decimal | None
    reason: str
    starts_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """``compared`` counts the figures that both state. They agree where ``differences`` is empty."""

    statement_id: str
    reference: str
    party: str
    compared: int
    differences: tuple[LineDifference, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether both state the same."""
        return not self.differences


def reconcile(ours: SettlementStatement, theirs: CounterpartyStatement) -> Reconciliation:
    """Hold the two against each other. Energy within half a watt-hour is the same; money is the same to the last digit.

    Raises ``ValueError`` where the statement is of another event.
    """
    if theirs.event_id != ours.verified.event_id:
        raise ValueError(
            f"statement {theirs.reference} is of event {theirs.event_id}, ours of {ours.verified.event_id}: "
            "nothing to compare"
        )
    stated = _ours_by_interval(ours)
    heard = {one.starts_at: one for one in theirs.intervals}
    compared, found = 1, list(_of_money(ours, theirs))
    if theirs.delivered_kwh is not None:
        compared += 1
        found += _of_figure("delivered_kwh", ours.delivered_kwh, theirs.delivered_kwh, None, "")
    if heard:
        shifted = _shift(stated, heard)
        for starts_at in sorted({*stated, *heard}):
            count, differing = _of_interval(starts_at, stated.get(starts_at), heard.get(starts_at), shifted)
            compared += count
            found += differing
    return Reconciliation(
        statement_id=ours.statement_id,
        reference=theirs.reference,
        party=theirs.party,
        compared=compared,
        differences=tuple(found),
    )


@dataclass(frozen=True, slots=True)
class _Stated:
    duration_s: float
    figures: Mapping[str, Decimal]


def _ours_by_interval(ours: SettlementStatement) -> dict[datetime, _Stated]:
    return {
        one.starts_at: _Stated(
            one.duration_s,
            {
                "baseline_kwh": _kwh(one.baseline_wh),
                "measured_kwh": _kwh(one.measured_wh),
                "delivered_kwh": _kwh(one.delivered_wh),
            },
        )
        for one in ours.verified.intervals
    }


def _kwh(energy_wh: float) -> Decimal:
    return EXACT.scaleb(Decimal(energy_wh).quantize(Decimal("0.001"), context=EXACT), -3)


def _of_money(ours: SettlementStatement, theirs: CounterpartyStatement) -> Iterable[LineDifference]:
    if ours.currency != theirs.currency:
        yield LineDifference(
            figure="currency", ours=ours.currency, theirs=theirs.currency, difference=None, reason="another currency"
        )
    elif ours.amount != theirs.amount:
        yield LineDifference(
            figure=f"amount {ours.currency}",
            ours=str(ours.amount),
            theirs=str(theirs.amount),
            difference=theirs.amount - ours.amount,
            reason=_money_reason(ours, theirs),
        )


def _money_reason(ours: SettlementStatement, theirs: CounterpartyStatement) -> str:
    if ours.unpriced:
        return f"ours is not priced: {ours.unpriced}"
    if theirs.amount == -ours.amount:
        return "the other sign"
    if theirs.delivered_kwh is not None and abs(theirs.delivered_kwh - ours.delivered_kwh) <= KWH_TOLERANCE:
        if abs(theirs.amount - ours.amount) <= Decimal("0.01") * max(1, len(theirs.intervals)):
            return "the same energy, rounded otherwise"
        return "the same energy at another price or under other terms"
    return "it follows the energy"


def _of_interval(
    starts_at: datetime, stated: _Stated | None, heard: CounterpartyInterval | None, shifted: timedelta | None
) -> tuple[int, list[LineDifference]]:
    if stated is None or heard is None:
        missing = "ours" if stated is None else "theirs"
        length_s = heard.duration_s if heard is not None else stated.duration_s if stated is not None else 0.0
        line = LineDifference(
            figure="interval",
            ours="" if stated is None else f"{length_s:g} s",
            theirs="" if heard is None else f"{length_s:g} s",
            difference=None,
            reason=_moved(shifted) or f"{missing} has no interval there",
            starts_at=starts_at,
        )
        return 0, [line]
    if abs(heard.duration_s - stated.duration_s) > 1e-6:
        line = LineDifference(
            figure="interval",
            ours=f"{stated.duration_s:g} s",
            theirs=f"{heard.duration_s:g} s",
            difference=None,
            reason="another length of interval",
            starts_at=starts_at,
        )
        return 0, [line]
    compared = 0
    found: list[LineDifference] = []
    for figure in FIGURES:
        value: Decimal | None = getattr(heard, figure)
        if value is not None:
            compared += 1
            found += _of_figure(figure, stated.figures[figure], value, starts_at, _moved(shifted))
    return compared, found


def _of_figure(
    figure: str, ours: Decimal, theirs: Decimal, starts_at: datetime | None, moved: str
) -> Iterable[LineDifference]:
    if abs(theirs - ours) > KWH_TOLERANCE:
        yield LineDifference(
            figure=figure.replace("_kwh", " kWh"),
            ours=str(ours),
            theirs=str(theirs),
            difference=theirs - ours,
            # A shift explains every figure; what one of them looks like beside it is chance.
            reason=moved or _energy_reason(figure, ours, theirs) or "another reading or baseline",
            starts_at=starts_at,
        )


def _energy_reason(figure: str, ours: Decimal, theirs: Decimal) -> str:
    if abs(theirs + ours) <= KWH_TOLERANCE:
        return "the other sign"
    if theirs == 0 and ours < 0 and figure == "delivered_kwh":
        return "a negative reduction set to zero"
    for factor, what in ((_THOUSAND, "Wh given as kWh"), (1 / _THOUSAND, "MWh given as kWh")):
        if ours and abs(theirs / ours / factor - 1) < Decimal("0.001"):
            return f"looks like {what}"
    return ""


def _moved(shifted: timedelta | None) -> str:
    if shifted is None:
        return ""
    hours = shifted.total_seconds() / 3600
    return f"all their intervals look shifted by {hours:+g} h: local time, or stamps at the end?"


def _shift(stated: Mapping[datetime, _Stated], heard: Mapping[datetime, CounterpartyInterval]) -> timedelta | None:
    """By how much all of their intervals stand apart from ours where nothing else differs, ``None`` for no shift."""
    ours, theirs = sorted(stated), sorted(heard)
    if not ours or len(ours) != len(theirs) or ours == theirs:
        return None
    shifts = {later - earlier for earlier, later in zip(ours, theirs, strict=True)}
    same = all(_is_as(stated[earlier], heard[later]) for earlier, later in zip(ours, theirs, strict=True))
    return shifts.pop() if len(shifts) == 1 and same else None


def _is_as(stated: _Stated, heard: CounterpartyInterval) -> bool:
    values: Sequence[tuple[Decimal, Decimal | None]] = [
        (stated.figures[figure], getattr(heard, figure)) for figure in FIGURES
    ]
    return all(value is None or abs(value - own) <= KWH_TOLERANCE for own, value in values)
