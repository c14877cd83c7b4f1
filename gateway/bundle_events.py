"""What a bundle says of its event and of those before it, held against the grid's message and against the log."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from gateway.bundle_recorded import Recorded
from gateway.domain.bundle_check import Check
from gateway.domain.event import EventRecord, took_part_until
from gateway.domain.evidence import first_difference
from gateway.services.stating import LONGEST_LOOK_BACK
from protocols.grid import EventStatus, GridEvent, Signal

Decode = Callable[[bytes], dict[str, object]]
"""A message of any dialect in neutral form; raises ``ProtocolError``."""


def check_signal(recorded: Recorded, decode: Decode) -> Check:
    """Whether the event is what the message says whose bytes the record has."""
    event = recorded.event.event
    faults: list[str] = []
    body = recorded.bundle.files.get(f"messages/{event.raw_sha256}")
    if recorded.statement.raw_sha256 != event.raw_sha256:
        faults.append(f"the statement rests on message {recorded.statement.raw_sha256}, the event on another")
    if event.raw_sha256 not in recorded.message_bodies:
        faults.append(f"no message with SHA-256 {event.raw_sha256} was logged")
    if body is None:
        faults.append(f"message {event.raw_sha256} is missing")
    elif sha256(body).hexdigest() != event.raw_sha256:
        faults.append(f"message {event.raw_sha256} was swapped: its bytes have SHA-256 {sha256(body).hexdigest()}")
    else:
        faults += _unlike(event, decode(body))
    return Check(
        name="signal",
        holds=f"event {event.event_id} revision {event.revision} is what the message of the grid says",
        faults=tuple(faults),
    )


def _unlike(event: GridEvent, decoded: dict[str, object]) -> list[str]:
    said = decoded.get("events")
    for one in said if isinstance(said, list) else []:
        if isinstance(one, GridEvent) and (one.event_id, one.revision) == (event.event_id, event.revision):
            found = first_difference(event, _as_received(one, event))
            if found is None:
                return []
            return [f"the event's {found.figure} is recorded as {found.stated}, the message says {found.recomputed}"]
    return [f"the message does not speak of event {event.event_id} revision {event.revision}"]


def _as_received(said: GridEvent, event: GridEvent) -> GridEvent:
    """What a message says by itself, with what it takes from when it came and from its program's own message.

    A program of OpenADR 3 gives its name, and units where the event has none: values are compared where the kinds of
    signals agree, names and times of intervals in any case.
    """
    cancelled = EventStatus.CANCELLED in {said.status, event.status}
    signals = said.signals
    if len(signals) == len(event.signals):
        signals = tuple(
            ours if theirs.kind is not ours.kind and _outline(theirs) == _outline(ours) else theirs
            for theirs, ours in zip(signals, event.signals, strict=True)
        )
    return replace(
        said,
        connection_id=event.connection_id,
        program_id=event.program_id,
        created_at=event.created_at,
        status=said.status if cancelled else event.status,
        signals=signals,
    )


def _outline(signal: Signal) -> tuple[object, ...]:
    return signal.name, tuple((one.starts_at, one.duration_s) for one in signal.intervals)


def check_events(recorded: Recorded) -> Check:
    """Whether the events are those that were logged, none is left out, and our answers are those that we gave."""
    faults: list[str] = []
    for record in recorded.all_events:
        faults += _unlike_logged(recorded, record)
    known = {(one.event.connection_id, one.event.event_id) for one in recorded.all_events}
    start, end = recorded.event.event.starts_at, took_part_until(recorded.event)
    latest = {key[:2]: event for key, (_, event) in sorted(recorded.revisions.items())}
    left_out = {
        key
        for key, event in latest.items()
        if start - LONGEST_LOOK_BACK <= event.starts_at < (end or start)
        and event.status is not EventStatus.CANCELLED
        and key not in known
    }
    faults += [f"event {event_id} of {connection_id} was left out" for connection_id, event_id in sorted(left_out)]
    return Check(
        name="events",
        holds=f"the {len(recorded.all_events)} events that the baseline has to know of are those that were logged",
        faults=tuple(faults),
    )


def _unlike_logged(recorded: Recorded, record: EventRecord) -> list[str]:
    event = record.event
    name = (event.connection_id, event.event_id, event.revision)
    ours = {key: value for key, value in recorded.revisions.items() if key[:2] == name[:2]}
    if name not in ours:
        return [f"event {event.event_id} revision {event.revision} was not logged"]
    received_at, logged = ours[name]
    found = replace(
        record,
        event=logged,
        received_at=received_at,
        first_received_at=min(at for at, _ in ours.values()),
        decision=recorded.decisions.get(name),
    )
    differing = first_difference(record, found)
    faults = []
    if differing is not None:
        faults.append(
            f"event {event.event_id}: {differing.figure} is {differing.stated}, logged was {differing.recomputed}"
        )
    if max(ours) != name:
        faults.append(f"event {event.event_id}: revision {max(ours)[2]} was logged, {event.revision} is given")
    return faults
