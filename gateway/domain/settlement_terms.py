"""What beside the verified intervals a tariff prices: what was asked and committed, and prices of the intervals.

All of it follows from the events on record, the program and what was verified, so that anybody can find it again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from math import fsum, isfinite

from gateway.domain.contract import Program
from gateway.domain.event import EventRecord
from gateway.domain.governing import governing_signal
from gateway.domain.tariff.delivery import IntervalPrice
from gateway.domain.tariff.statement import EXACT
from gateway.domain.tariff.terms import PriceBy, Tariff
from gateway.domain.verification import VerifiedInterval
from protocols.grid import EventInterval, GridEvent, SignalKind

_STEP_KW = Decimal("0.001")
_STEP_PRICE = Decimal("0.000001")
_LARGEST_W = 1e15
"""What a sender asks beyond it counts as this much, so that no value of a signal overflows a sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedInterval:
    """The price of one settled interval."""

    starts_at: datetime
    price: IntervalPrice


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementTerms:
    """``requested_kw`` is the mean reduction that was asked for over the settled time, by the settlement's baseline.

    ``awarded_kw`` is what counts against it: the request, up to ``committed_kw`` where anything was committed; the
    commitment where the event asked for no power that can be told. ``prices`` has each interval whose price is known.
    """

    requested_kw: Decimal = Decimal(0)
    committed_kw: Decimal = Decimal(0)
    awarded_kw: Decimal = Decimal(0)
    prices: tuple[PricedInterval, ...] = ()


NO_TERMS = SettlementTerms()


def settlement_terms(
    tariff: Tariff,
    program: Program,
    event: GridEvent,
    intervals: Sequence[VerifiedInterval],
    others: Iterable[EventRecord] = (),
) -> SettlementTerms:
    """The terms of one event; those that the tariff has no use for stay empty.

    ``others`` are events on record, the event itself may be among them: prices may come in events of their own.
    """
    requested_kw = committed_kw = awarded_kw = Decimal(0)
    if any((tariff.capacity, tariff.availability, tariff.performance, tariff.penalty)):
        requested_kw = _kw(_requested_w(event, program, intervals))
        committed_kw = _kw(0.0 if program.contract is None else program.contract.committed_w)
        awarded_kw = min(requested_kw, committed_kw) if requested_kw and committed_kw else requested_kw or committed_kw
    return SettlementTerms(
        requested_kw=requested_kw,
        committed_kw=committed_kw,
        awarded_kw=awarded_kw,
        prices=_prices(event, program.currency, intervals, others) if _by_series(tariff) else (),
    )


def _by_series(tariff: Tariff) -> bool:
    parts = (tariff.energy, tariff.penalty)
    return any(part is not None and part.price.by is PriceBy.SERIES for part in parts)


def _kw(power_w: float) -> Decimal:
    return Decimal(max(0.0, power_w)).scaleb(-3).quantize(_STEP_KW, rounding=ROUND_HALF_EVEN)


def _requested_w(event: GridEvent, program: Program, intervals: Sequence[VerifiedInterval]) -> float:
    """The mean over the settled time. An interval without a reading has no baseline and asks for watts only."""
    signal = governing_signal(event, program)
    whole_s = fsum(interval.duration_s for interval in intervals)
    if signal is None or not whole_s:
        return 0.0
    asked_ws = []
    for interval in intervals:
        covered_s = interval.duration_s * interval.coverage_fraction
        baseline_w = interval.baseline_wh * 3_600 / covered_s if covered_s else 0.0
        for asked, shared_s in _shared(signal.intervals, event, interval):
            asked_ws.append(shared_s * _bounded_w(_reduction_w(signal.kind, asked.value, baseline_w, program)))
    return fsum(asked_ws) / whole_s


def _bounded_w(reduction_w: float) -> float:
    return min(_LARGEST_W, max(0.0, reduction_w))


def _reduction_w(kind: SignalKind, value: float, baseline_w: float, program: Program) -> float:
    match kind:
        case SignalKind.ADJUST:
            return -value
        case SignalKind.LIMIT | SignalKind.SETPOINT:
            return baseline_w - value
        case SignalKind.CAPACITY:
            return baseline_w - value * (program.capacity_w or 0.0)
        case SignalKind.FRACTION:
            return value * baseline_w
        case SignalKind.LEVEL:
            return program.levels.get(int(value), 0.0) * baseline_w
        case _:
            return 0.0


def _shared(
    asked: Iterable[EventInterval], event: GridEvent, interval: VerifiedInterval
) -> Iterable[tuple[EventInterval, float]]:
    ends_at = interval.starts_at + timedelta(seconds=interval.duration_s)
    for one in asked:
        until = _end(one, event) or ends_at
        shared_s = (min(until, ends_at) - max(one.starts_at, interval.starts_at)).total_seconds()
        if shared_s > 0:
            yield one, shared_s


def _end(interval: EventInterval, event: GridEvent) -> datetime | None:
    if interval.duration_s is None:
        return event.ends_at
    return interval.starts_at + timedelta(seconds=interval.duration_s)


def _prices(
    event: GridEvent, currency: str, intervals: Sequence[VerifiedInterval], others: Iterable[EventRecord]
) -> tuple[PricedInterval, ...]:
    """The event's own prices before those of other events, the newest of these first."""
    name = (event.connection_id, event.event_id)
    newest = sorted(
        (one for one in others if (one.event.connection_id, one.event.event_id) != name and one.ended_at is None),
        key=lambda one: (one.first_received_at, one.event.connection_id, one.event.event_id),
        reverse=True,
    )
    sources = [event, *(one.event for one in newest if one.event.program_id == event.program_id)]
    found = []
    for interval in intervals:
        prices = (_price(source, currency, interval) for source in sources if not source.test)
        price = next((one for one in prices if one is not None), None)
        if price is not None:
            found.append(PricedInterval(starts_at=interval.starts_at, price=price))
    return tuple(found)


def _price(event: GridEvent, currency: str, interval: VerifiedInterval) -> IntervalPrice | None:
    """The mean over the interval; ``None`` where the event has no price for all of it."""
    for signal in event.signals:
        if signal.kind is not SignalKind.PRICE or signal.currency != currency:
            continue
        shares = list(_shared(signal.intervals, event, interval))
        whole_s = fsum(shared_s for _, shared_s in shares)
        if abs(whole_s - interval.duration_s) > 1e-6 or not all(isfinite(one.value) for one, _ in shares):
            continue
        values = {Decimal(repr(one.value)) for one, _ in shares}
        source = f"{signal.name} of event {event.event_id}, revision {event.revision}"
        if len(values) == 1:
            return IntervalPrice(per_kwh=values.pop(), source=source)
        with localcontext(EXACT):
            weighted = sum((Decimal(repr(one.value)) * Decimal(shared_s) for one, shared_s in shares), Decimal(0))
            mean = (weighted / Decimal(whole_s)).quantize(_STEP_PRICE, rounding=ROUND_HALF_EVEN)
        return IntervalPrice(per_kwh=mean, source=f"mean over the interval of {source}")
    return None
