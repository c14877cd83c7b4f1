"""Events between OpenADR 3's terms and the neutral face. What each payload type is: ``event_kinds``.

================================  ==============================================================================
OpenADR 3                         neutral
================================  ==============================================================================
modificationDateTime              revision, in microseconds since 1970; it is also the event's *now*
priority (lower is more)          rank, the same
a window of no duration           CANCELLED, where it is at the beginning of time; else a contradiction
deleted                           absent from a batch that lists all there are: cancelled by implication
randomizeStart                    start_tolerance_s. It allows both directions and we are asked to start later only
eventName, words of alerts        comment
targets                           kind ``target`` with 3.1's word; in 3.0 VEN_NAME, GROUP and RESOURCE_NAME are
                                  ``ven``, ``group`` and ``resource``, others keep their word
programID                         program_id, or the program's name where the program is known
================================  ==============================================================================

3.x has no answer to an event, so that none is required, and no notification, ramp or recovery. Its intervals may
overlap; those of one payload type may not for us.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from operator import attrgetter

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
    Target,
)
from protocols.openadr3 import model
from protocols.openadr3.event_kinds import TEST_PREFIX, kind_of, points_of, text_of, values_of, words_of
from protocols.openadr3.names import Version
from protocols.openadr3.timing import Contradiction, Span, is_cancelled, lay_out, said_at

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = range(1970, 3000)
"""Instants beyond these are errors, and sums with them could leave the calendar."""
_MICROSECOND = timedelta(microseconds=1)
_KINDS_OF_TARGETS = {"VEN_NAME": "ven", "GROUP": "group", "RESOURCE_NAME": "resource"}


def read_batch(
    events: Sequence[model.Event],
    *,
    connection_id: str,
    version: Version,
    received_at: datetime,
    programs: Mapping[str, model.Program] | None = None,
    complete: bool,
    request_id: str = "",
    raw_sha256: str = "",
    faults: Sequence[OptDecision] = (),
) -> EventBatch:
    """Events that a VTN listed or told of; ``programs`` by their ids, as far as they are known.

    An event that contradicts itself becomes one of the batch's ``faults`` and leaves the others alone; ``faults`` are
    those that could not even be read (``unreadable``). Events that ask only for reports are no events to us.
    """
    found: list[GridEvent] = []
    refused = list(faults)
    for event in events:
        try:
            neutral = read_event(
                event,
                connection_id=connection_id,
                version=version,
                received_at=received_at,
                program=(programs or {}).get(event.program_id),
                raw_sha256=raw_sha256,
            )
        except Contradiction as cause:
            refused.append(
                unreadable(
                    _id_of(event), str(cause), connection_id=connection_id, at=received_at, revision=revision_of(event)
                )
            )
        else:
            found += [] if neutral is None else [neutral]
    return EventBatch(
        connection_id=connection_id,
        events=tuple(found),
        complete=complete,
        request_id=request_id,
        raw_sha256=raw_sha256,
        received_at=received_at,
        faults=tuple(refused),
    )


def unreadable(event_id: str, detail: str, *, connection_id: str, at: datetime, revision: int = 0) -> OptDecision:
    """That an event cannot be taken, so that it does not count as gone."""
    return OptDecision(
        connection_id=connection_id,
        event_id=event_id,
        revision=revision,
        opt=Opt.OUT,
        decided_at=at,
        refusal=Refusal.INVALID,
        detail=detail,
    )


def revision_of(event: model.Event) -> int:
    """A number that rises whenever the VTN changes the event; 0 where it does not say when it did."""
    held = event.metadata
    changed_at = None if held is None else held.modified_at or held.created_at
    return 0 if changed_at is None else (changed_at - _EPOCH) // _MICROSECOND


def read_event(
    event: model.Event,
    *,
    connection_id: str,
    version: Version,
    received_at: datetime,
    program: model.Program | None = None,
    raw_sha256: str = "",
) -> GridEvent | None:
    """The event in neutral terms, ``None`` where it asks only for reports. Raises ``Contradiction``.

    What its payload descriptors leave open its program's say.
    """
    payloads = [payload for interval in event.intervals for payload in interval.payloads]
    if not payloads:
        return None
    held = event.metadata
    cancelled = is_cancelled(event)
    spans = () if cancelled else lay_out(event, received_at=received_at, version=version)
    signals = _read_signals(spans, event, program)
    # What a cancelled event was is not said any more; without an end it ends by the cancellation.
    starts_at, duration_s = (said_at(event, received_at), None) if cancelled else _window(signals)
    return GridEvent(
        event_id=_id_of(event),
        connection_id=connection_id,
        program_id=event.program_id if program is None else program.name,
        revision=revision_of(event),
        status=EventStatus.CANCELLED if cancelled else _status(starts_at, duration_s, received_at),
        created_at=received_at if held is None else held.created_at or received_at,
        starts_at=starts_at,
        duration_s=duration_s,
        signals=signals,
        rank=event.priority,
        test=any(payload.type.startswith(TEST_PREFIX) for payload in payloads),
        response_required=False,
        start_tolerance_s=_start_tolerance_s(event),
        targets=tuple(_read_targets(event.targets)),
        comment="; ".join(_words(event, payloads)),
        raw_sha256=raw_sha256,
    )


def _id_of(event: model.Event) -> str:
    return "" if event.metadata is None else event.metadata.id


def _window(signals: Sequence[Signal]) -> tuple[datetime, float | None]:
    intervals = [interval for signal in signals for interval in signal.intervals]
    if not intervals:
        raise Contradiction("the event lasts no time")
    starts_at = min(interval.starts_at for interval in intervals)
    lengths_s = [
        None if item.duration_s is None else (item.starts_at - starts_at).total_seconds() + item.duration_s
        for item in intervals
    ]
    finite_s = [length_s for length_s in lengths_s if length_s is not None]
    return starts_at, max(finite_s) if len(finite_s) == len(lengths_s) else None


def _status(starts_at: datetime, duration_s: float | None, now: datetime) -> EventStatus:
    if now < starts_at:
        return EventStatus.FAR
    over = duration_s is not None and now >= starts_at + timedelta(seconds=duration_s)
    return EventStatus.COMPLETED if over else EventStatus.ACTIVE


def _start_tolerance_s(event: model.Event) -> float:
    first = event.intervals[0].period
    own = None if first is None else first.randomize_start
    default = None if event.period is None else event.period.randomize_start
    tolerance = default if own is None else own
    return 0.0 if tolerance is None else abs(tolerance.total_seconds())


def _read_targets(targets: model.Targets) -> Iterable[Target]:
    for target in targets:
        if isinstance(target, str):
            yield Target(kind="target", value=target)
        else:
            kind = _KINDS_OF_TARGETS.get(target.type, target.type)
            yield from (Target(kind=kind, value=str(value)) for value in target.values)


def _words(event: model.Event, payloads: Iterable[model.ValuesMap]) -> Iterable[str]:
    alerts = dict.fromkeys(words_of(payload) for payload in payloads)
    return (words for words in (event.name, *alerts) if words)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A payload in its time."""

    span: Span
    payload: model.ValuesMap


def _read_signals(spans: Sequence[Span], event: model.Event, program: model.Program | None) -> tuple[Signal, ...]:
    by_type: dict[str, list[_Said]] = {}
    for span in spans:
        for payload in span.interval.payloads:
            by_type.setdefault(payload.type, []).append(_Said(span=span, payload=payload))
    described = _described(event, program)
    return tuple(_read_signal(name, said, described.get(name)) for name, said in by_type.items())


def _described(event: model.Event, program: model.Program | None) -> dict[str, model.EventPayloadDescriptor]:
    """Descriptors by payload type, the event's before its program's; a test's are those of what it tests."""
    of_program = () if program is None else program.payload_descriptors
    found: dict[str, model.EventPayloadDescriptor] = {}
    for descriptor in (*event.payload_descriptors, *of_program):
        if isinstance(descriptor, model.EventPayloadDescriptor):
            found.setdefault(descriptor.payload_type, descriptor)
    for name, descriptor in list(found.items()):
        found.setdefault(TEST_PREFIX + name, descriptor)
    return found


def _read_signal(name: str, said: Sequence[_Said], descriptor: model.EventPayloadDescriptor | None) -> Signal:
    units = None if descriptor is None else descriptor.units
    name = name.removeprefix(TEST_PREFIX)
    kind = kind_of(name, units)
    intervals = sorted(
        (interval for item in said for interval in _read_intervals(item, kind, units)), key=attrgetter("starts_at")
    )
    for before, after in pairwise(intervals):
        if before.duration_s is None or before.starts_at + timedelta(seconds=before.duration_s) > after.starts_at:
            raise Contradiction(f"{name}: intervals overlap at {after.starts_at.isoformat()}")
    return Signal(
        name=name,
        kind=kind,
        intervals=tuple(intervals),
        dialect_kind=units or "",
        currency=descriptor.currency if kind is SignalKind.PRICE and descriptor is not None else None,
    )


def _read_intervals(said: _Said, kind: SignalKind, units: str | None) -> Iterable[EventInterval]:
    span = said.span
    if span.starts_at.year not in _YEARS:
        raise Contradiction(f"interval {span.interval.id} begins in the year {span.starts_at.year}")
    values = values_of(said.payload, kind, units, span.duration)
    text, points = text_of(said.payload), points_of(said.payload)
    if span.duration is None:
        yield EventInterval(starts_at=span.starts_at, duration_s=None, value=values[0], text=text, points=points)
        return
    bounds = [span.starts_at + span.duration * index / len(values) for index in range(len(values) + 1)]
    for value, (starts_at, ends_at) in zip(values, pairwise(bounds), strict=True):
        yield EventInterval(
            starts_at=starts_at,
            duration_s=(ends_at - starts_at).total_seconds(),
            value=value,
            text=text,
            points=points,
        )
