"""Events between OpenADR 2.0b's terms and the neutral face; what a signal is to a site ``event_kinds`` says.

==================================  ==========================================================================
2.0b                                neutral
==================================  ==========================================================================
eiEventBaseline                     OTHER of the kind "baseline", in watts where it has a unit of power
priority 0, or none                 rank None; 1 is the highest and stays the lowest number
testEvent                           a test unless absent or "false"
==================================  ==========================================================================

A duration of zero is open ended, of the active period (rule 47) as of the last interval.
"""

from datetime import datetime, timedelta
from math import isfinite

from protocols.grid import (
    EventBatch,
    EventInterval,
    EventStatus,
    GridEvent,
    Opt,
    OptDecision,
    Refusal,
    Signal,
    SignalKind,
)
from protocols.openadr2b import model
from protocols.openadr2b.event_kinds import IMPORT_LIMIT, SCALES, WATTS, Faulty, complement, in_our_terms, kind_of
from protocols.openadr2b.neutral_target import read_targets, write_targets

BASELINE = "baseline"
"""The kind of a signal that is the sender's baseline: what it holds our load would be."""

_YEARS = range(1970, 3000)
_LONGEST_S = 10 * 366 * 86_400.0
"""Instants and durations beyond these are errors, and sums with them could leave the calendar."""


def read_batch(
    message: model.DistributeEvent, *, connection_id: str, raw_sha256: str, received_at: datetime
) -> EventBatch:
    """The events of one oadrDistributeEvent, which always lists all there are.

    An event that contradicts itself becomes one of the batch's ``faults`` and leaves the others alone.
    """
    events: list[GridEvent] = []
    faults: list[OptDecision] = []
    for offered in message.events:
        try:
            events.append(_read_event(offered, connection_id, raw_sha256))
        except (Faulty, OverflowError) as cause:
            descriptor = offered.event.descriptor
            faults.append(
                OptDecision(
                    connection_id=connection_id,
                    event_id=descriptor.event_id,
                    revision=descriptor.modification_number,
                    opt=Opt.OUT,
                    decided_at=received_at,
                    refusal=Refusal.INVALID,
                    detail=str(cause),
                )
            )
    return EventBatch(
        connection_id=connection_id,
        events=tuple(events),
        complete=True,
        request_id=message.request_id,
        raw_sha256=raw_sha256,
        received_at=received_at,
        faults=tuple(faults),
    )


def _read_event(offered: model.OfferedEvent, connection_id: str, raw_sha256: str) -> GridEvent:
    event = offered.event
    descriptor, period = event.descriptor, event.period
    length_s = _not_negative(period.duration, "the active period")
    if period.starts_at.year not in _YEARS:
        raise Faulty(f"the active period begins in the year {period.starts_at.year}")
    return GridEvent(
        event_id=descriptor.event_id,
        connection_id=connection_id,
        program_id=descriptor.market_context,
        revision=descriptor.modification_number,
        status=EventStatus(descriptor.status),
        created_at=descriptor.created_at,
        starts_at=period.starts_at,
        duration_s=length_s or None,
        signals=(
            *(_read_signal(signal, period) for signal in event.signal_set.signals),
            *(() if event.signal_set.baseline is None else (_read_baseline(event.signal_set.baseline),)),
        ),
        rank=descriptor.priority or None,
        test=descriptor.test_event is not None and descriptor.test_event.strip().lower() != "false",
        response_required=offered.response_required == "always",
        notification_s=_not_negative(period.notification, "the notification"),
        ramp_up_s=_signed(period.ramp_up, "the ramp-up"),
        recovery_s=_signed(period.recovery, "the recovery"),
        start_tolerance_s=_not_negative(period.start_after, "startafter"),
        targets=read_targets(event.targets),
        comment=descriptor.comment or "",
        raw_sha256=raw_sha256,
    )


def _signed(value: timedelta | None, what: str) -> float:
    seconds = 0.0 if value is None else value.total_seconds()
    if abs(seconds) > _LONGEST_S:
        raise Faulty(f"{what} has a duration of {seconds / 86_400:g} days")
    return seconds


def _not_negative(value: timedelta | None, what: str) -> float:
    seconds = _signed(value, what)
    if seconds < 0:
        raise Faulty(f"{what} has a negative duration")
    return seconds


def _read_signal(signal: model.EventSignal, period: model.Period) -> Signal:
    kind, factor = kind_of(signal)
    intervals = _read_intervals(signal, period)
    values = [in_our_terms(item.value, signal, kind, factor) for item in signal.intervals]
    return Signal(
        name=signal.name,
        kind=kind,
        intervals=tuple(
            EventInterval(starts_at=starts_at, duration_s=duration_s, value=value)
            for (starts_at, duration_s), value in zip(intervals, values, strict=True)
        ),
        dialect_kind=signal.type,
        currency=signal.unit.units if kind is SignalKind.PRICE and signal.unit is not None else None,
    )


def _read_baseline(baseline: model.EventBaseline) -> Signal:
    """What the sender holds our load would be: to be shown, so that nothing about it makes the event faulty."""
    factor = SCALES[baseline.unit.scale or "none"] if baseline.unit is not None else 1.0
    cursor = baseline.starts_at
    intervals: list[EventInterval] = []
    for item in baseline.intervals:
        starts_at = item.starts_at or cursor
        length = item.duration if item.duration is not None else baseline.duration
        readable = isfinite(item.value) and timedelta(0) < length < timedelta(seconds=_LONGEST_S)
        if not readable or starts_at.year not in _YEARS:
            break
        cursor = starts_at + length
        intervals.append(
            EventInterval(starts_at=starts_at, duration_s=length.total_seconds(), value=item.value * factor)
        )
    return Signal(name=baseline.name, kind=SignalKind.OTHER, intervals=tuple(intervals), dialect_kind=BASELINE)


def _read_intervals(signal: model.EventSignal, period: model.Period) -> list[tuple[datetime, float | None]]:
    """Start and duration of each interval. Starts accumulate, unless the sender says them (some do).

    Raises ``Faulty`` where intervals overlap, end before they begin, or do not fill the active period.
    """
    end = period.starts_at + period.duration if period.duration else None
    cursor: datetime | None = period.starts_at
    stated = False
    spans: list[tuple[datetime, float | None]] = []
    for index, interval in enumerate(signal.intervals):
        last = index == len(signal.intervals) - 1
        starts_at = interval.starts_at or cursor
        if starts_at is None or cursor is None or starts_at < cursor or starts_at.year not in _YEARS:
            raise Faulty(f"signal {signal.name}: interval {index} begins before the one before it ends, or never")
        stated = stated or interval.starts_at is not None
        duration_s = None if interval.duration is None else _not_negative(interval.duration, f"interval {index}")
        if duration_s is None and not last:
            following = signal.intervals[index + 1].starts_at
            if following is None:
                raise Faulty(f"signal {signal.name}: interval {index} has no duration")
            duration_s = (following - starts_at).total_seconds()
        elif duration_s is None and end is not None:
            duration_s = (end - starts_at).total_seconds()
        open_ended = duration_s is None or (last and interval.duration == timedelta(0))
        if (duration_s or 0.0) <= 0 and (not open_ended or (end is not None and starts_at >= end)):
            raise Faulty(f"signal {signal.name}: interval {index} lasts no time")
        spans.append((starts_at, duration_s or None))
        cursor = starts_at + timedelta(seconds=duration_s) if duration_s else None
    if end is not None and cursor is not None and (cursor > end or (cursor < end and not stated)):
        length_s = (cursor - period.starts_at).total_seconds()
        raise Faulty(
            f"signal {signal.name}: the intervals take {length_s:g} s, "
            f"the active period {period.duration.total_seconds():g} s"
        )
    return spans


def status_at(event: GridEvent, now: datetime) -> EventStatus:
    """What to say of our own event at ``now``; near is from the ramp before its start on, where it has one."""
    if event.status is EventStatus.CANCELLED:
        return EventStatus.CANCELLED
    if event.ends_at is not None and now >= event.ends_at:
        return EventStatus.COMPLETED
    if now >= event.starts_at:
        return EventStatus.ACTIVE
    if now >= event.starts_at + timedelta(seconds=min(0.0, event.ramp_up_s)):
        return EventStatus.NEAR
    return EventStatus.FAR


def write_event(event: GridEvent, *, now: datetime) -> model.OfferedEvent:
    """The event in 2.0b's terms, with the status and the current values that it has at ``now``.

    Raises ``ValueError`` for what 2.0b cannot say: signals of kind OTHER that are not its own, targets without an
    element. Durations are rounded to whole seconds, which is all that 2.0b has; starts are not.
    """
    return model.OfferedEvent(
        event=model.EiEvent(
            descriptor=model.EventDescriptor(
                event_id=event.event_id,
                modification_number=event.revision,
                market_context=event.program_id,
                created_at=event.created_at,
                status=status_at(event, now).value,
                priority=event.rank or 0,
                test_event="true" if event.test else "false",
                comment=event.comment or None,
            ),
            period=model.Period(
                starts_at=event.starts_at,
                duration=whole_seconds(event.duration_s or 0.0),
                start_after=_or_none(event.start_tolerance_s),
                notification=_or_none(event.notification_s),
                ramp_up=_or_none(event.ramp_up_s),
                recovery=_or_none(event.recovery_s),
            ),
            signal_set=model.SignalSet(
                signals=tuple(
                    _write_signal(signal, f"signal-{index}", event, now)
                    for index, signal in enumerate(event.signals)
                    if signal.dialect_kind != BASELINE
                ),
                baseline=next(
                    (_write_baseline(signal, event) for signal in event.signals if signal.dialect_kind == BASELINE),
                    None,
                ),
            ),
            targets=write_targets(event.targets),
        ),
        response_required="always" if event.response_required else "never",
    )


def whole_seconds(seconds: float) -> timedelta:
    """A duration as 2.0b can write it."""
    return timedelta(seconds=round(seconds))


def _or_none(seconds: float) -> timedelta | None:
    return whole_seconds(seconds) if seconds else None


def _write_signal(signal: Signal, signal_id: str, event: GridEvent, now: datetime) -> model.EventSignal:
    name, kind, unit = {
        SignalKind.LEVEL: ("SIMPLE", "level", None),
        SignalKind.ADJUST: ("LOAD_DISPATCH", "delta", WATTS),
        SignalKind.SETPOINT: ("LOAD_DISPATCH", "setpoint", WATTS),
        SignalKind.FRACTION: ("LOAD_DISPATCH", "multiplier", None),
        SignalKind.LIMIT: (IMPORT_LIMIT, "setpoint", WATTS),
        SignalKind.PRICE: ("ELECTRICITY_PRICE", "price", _per_kwh(signal.currency)),
        SignalKind.CAPACITY: ("LOAD_CONTROL", "x-loadControlCapacity", None),
        SignalKind.NOTICE: (signal.name, signal.dialect_kind, None),
        SignalKind.OTHER: (signal.name, signal.dialect_kind, None),
    }[signal.kind]
    values = [complement(item.value) if signal.kind is SignalKind.FRACTION else item.value for item in signal.intervals]
    active = status_at(event, now) is EventStatus.ACTIVE
    running = [value for item, value in zip(signal.intervals, values, strict=True) if active and item.starts_at <= now]
    return model.EventSignal(
        name=name,
        type=kind,
        signal_id=signal_id,
        intervals=tuple(
            model.SignalInterval(value=value, starts_at=starts_at, duration=duration, uid=str(index))
            for index, (value, (starts_at, duration)) in enumerate(
                zip(values, _write_spans(signal, event), strict=True)
            )
        ),
        unit=unit,
        current_value=running[-1] if running else 0.0,
    )


def _write_baseline(signal: Signal, event: GridEvent) -> model.EventBaseline:
    ends_at = [item.starts_at + timedelta(seconds=item.duration_s or 0.0) for item in signal.intervals]
    starts_at = signal.intervals[0].starts_at if signal.intervals else event.starts_at
    return model.EventBaseline(
        baseline_id=f"baseline-{event.event_id}",
        name=signal.name,
        starts_at=starts_at,
        duration=whole_seconds((max(ends_at, default=starts_at) - starts_at).total_seconds()),
        intervals=tuple(
            model.SignalInterval(
                value=item.value,
                starts_at=item.starts_at,
                duration=whole_seconds(item.duration_s or 0.0),
                uid=str(index),
            )
            for index, item in enumerate(signal.intervals)
        ),
        unit=WATTS,
    )


def _write_spans(signal: Signal, event: GridEvent) -> list[tuple[datetime | None, timedelta]]:
    """Durations in whole seconds whose sum is rounded once; starts are said only where there are gaps."""
    begins = [(item.starts_at - event.starts_at).total_seconds() for item in signal.intervals]
    ends = [begin + (item.duration_s or 0.0) for begin, item in zip(begins, signal.intervals, strict=True)]
    if all(abs(begin - end) < 1e-3 for begin, end in zip(begins, [0.0, *ends], strict=False)):
        return [(None, timedelta(seconds=round(end) - round(begin))) for begin, end in zip(begins, ends, strict=True)]
    return [(item.starts_at, whole_seconds(item.duration_s or 0.0)) for item in signal.intervals]


def _per_kwh(currency: str | None) -> model.ItemBase | None:
    if currency is None:
        return None
    return model.ItemBase(kind="currencyPerKWh", description="currencyPerKWh", units=currency, scale="none")
