"""The face between the gateway and every demand-response dialect: vocabulary and Protocol classes, nothing else.

Watts, seconds, aware UTC instants. Import (consumption) is positive. A dialect maps its own units, signs and ranks
here and nowhere else; the table of signs is in ARCHITECTURE.md.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable

from protocols.grid_report import IntervalReport, Receipt, ReportOffer, ReportOrder


class EventStatus(StrEnum):
    """What the sender says of its event. What we hold true is ``gateway.domain.event.EventState``."""

    FAR = "far"
    NEAR = "near"
    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    NONE = "none"


class SignalKind(StrEnum):
    """What a signal's values mean. ``OTHER`` and ``NOTICE`` are carried and shown without being acted on."""

    ADJUST = "adjust"
    """Change of site power in watts, signed: negative asks for less consumption."""
    LIMIT = "limit"
    """Ceiling on site import in watts."""
    SETPOINT = "setpoint"
    """Site import to hold, in watts."""
    FRACTION = "fraction"
    """Reduction asked, as a fraction of the baseline: 0.25 asks for a quarter less."""
    LEVEL = "level"
    """0 to 3; the program says what each level means as a fraction of the baseline."""
    PRICE = "price"
    """Price of energy, a kilowatt-hour, in ``Signal.currency``."""
    CAPACITY = "capacity"
    """Ceiling on site import, as a fraction of the most that the site may draw; 1 is all of it."""
    NOTICE = "notice"
    """A price of something else, or emissions, in the sender's unit: noted, since it asks nothing of the load."""
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInterval:
    """One value from ``starts_at`` for ``duration_s`` seconds; ``None`` is open ended (until the event is ended).

    Where the sender gives words (an alert) or points (x, y of a curve) instead of a number, these are ``text`` and
    ``points``, and ``value`` is 1 while they are in force.
    """

    starts_at: datetime
    duration_s: float | None
    value: float
    text: str = ""
    points: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A named series of values. ``intervals`` are in order of time and do not overlap.

    ``currency`` is an ISO 4217 code and only set where ``kind`` is a price; ``dialect_kind`` is the sender's own word.
    """

    name: str
    kind: SignalKind
    intervals: tuple[EventInterval, ...]
    dialect_kind: str = ""
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom an event is for: ``kind`` is ``ven``, ``group``, ``resource``, ``party`` or the sender's own word."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GridEvent:
    """One revision of one request by the grid.

    ``event_id`` is unique within ``connection_id``; a higher ``revision`` replaces a lower one. ``rank`` is mapped by
    each dialect so that a lower number is more important, ``None`` where the sender gave none. ``test`` events are
    answered and never actuated. ``ramp_up_s`` and ``recovery_s`` are signed as the sender meant them: positive runs
    from the event's start (end) on, negative ends at it. ``start_tolerance_s`` is the window in which the start may be
    randomised. ``duration_s`` is ``None`` for an event that is open ended.
    """

    event_id: str
    connection_id: str
    program_id: str
    revision: int
    status: EventStatus
    created_at: datetime
    starts_at: datetime
    duration_s: float | None
    signals: tuple[Signal, ...]
    rank: int | None = None
    test: bool = False
    response_required: bool = True
    notification_s: float = 0.0
    ramp_up_s: float = 0.0
    recovery_s: float = 0.0
    start_tolerance_s: float = 0.0
    targets: tuple[Target, ...] = ()
    comment: str = ""
    raw_sha256: str = ""

    @property
    def ends_at(self) -> datetime | None:
        """End of the active period, ``None`` while it is open ended."""
        return None if self.duration_s is None else self.starts_at + timedelta(seconds=self.duration_s)


class Opt(StrEnum):
    """Whether we take part."""

    IN = "in"
    OUT = "out"


class Refusal(StrEnum):
    """Why we opt out of an event that we could read; each dialect has its own code for it."""

    SIGNAL_NOT_UNDERSTOOD = "signal not understood"
    PROGRAM_UNKNOWN = "program unknown"
    NOT_OUR_TARGET = "not our target"
    INVALID = "invalid"
    OPERATOR = "operator"
    OUTSIDE_CONTRACT = "outside the contract"
    INTERNAL_ERROR = "internal error"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptDecision:
    """Our answer to one revision of one event; ``refusal`` only where ``opt`` is out, ``detail`` in plain words."""

    connection_id: str
    event_id: str
    revision: int
    opt: Opt
    decided_at: datetime
    refusal: Refusal | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptSchedule:
    """When a party will (``opt`` in) or will not (out) take part, whatever events come; or a word on one event.

    ``periods`` are starts and lengths in seconds; empty where it is about ``event_id`` as a whole. ``reason`` is in
    plain words. An empty ``program_id`` means all programs; without ``targets`` it is for everything the party has.
    """

    opt_id: str
    connection_id: str
    opt: Opt
    created_at: datetime
    periods: tuple[tuple[datetime, float], ...] = ()
    reason: str = ""
    program_id: str = ""
    event_id: str = ""
    revision: int = 0
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """The events that one message brought.

    ``complete`` is true where the message lists every event the counterparty holds for us, so that one we know and do
    not find is cancelled by implication (OpenADR 2.0b, EiEvent). ``request_id`` is the sender's, for the answer.
    ``faults`` are events that could be told apart but not be read, each answered for itself.
    """

    connection_id: str
    events: tuple[GridEvent, ...]
    complete: bool
    request_id: str
    raw_sha256: str
    received_at: datetime
    faults: tuple[OptDecision, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Somebody registered with us, as a VTN keeps it. ``offers`` is what it can report.

    ``fingerprint`` is the SHA-256 of its certificate in hexadecimal (or the end of it), empty where it has shown none.
    ``address`` is where it takes messages, empty where it asks for them. ``detail`` is what its dialect must remember
    of it, in the dialect's own words. A party whose ``registration_id`` is empty has left.
    """

    connection_id: str
    party_id: str
    registration_id: str
    name: str
    registered_at: datetime
    offers: tuple[ReportOffer, ...] = ()
    fingerprint: str = ""
    address: str = ""
    detail: str = ""


class GridConnection(Protocol):
    """Where we are asked: the VEN's side of a dialect. Every method may raise ``ProtocolError``.

    The driver keeps its registration and report orders in a ``PartyStore``, registers by itself when it must, and
    stores each raw message before it acts on it. It never sleeps and never retries on its own: the caller owns time.
    """

    @property
    def connection_id(self) -> str: ...

    @property
    def party_ids(self) -> frozenset[str]:
        """The ids under which the counterparty knows us (in 2.0b our venID); empty before registration."""

    @property
    def poll_s(self) -> float:
        """How long to wait between calls of ``receive`` while all is well, in seconds."""

    async def receive(self, now: datetime) -> EventBatch | None:
        """Take the next turn of the conversation: register if need be, then ask what is new.

        Returns the events a message brought, ``None`` where it brought none. Nothing is acknowledged yet.
        Raises ``MessageError`` for a message that cannot be taken (stored, and answered with an error).
        """

    async def respond(self, batch: EventBatch, decisions: Sequence[OptDecision], now: datetime) -> None:
        """Acknowledge. Called only when the batch and the decisions are durable."""

    async def restate(self, decision: OptDecision, now: datetime) -> str | None:
        """Change an answer that was given before: opt out of an event that we opted in to, or in again.

        ``None`` once the counterparty has taken it, else in plain words why it will not: saying it again would not
        help. A ``ProtocolError`` may pass. Not called for an event that wants no answer.
        """

    async def refuse(self, batch: EventBatch, detail: str, now: datetime) -> None:
        """Answer a batch that we could read but not process with an error, so that nobody counts on it."""

    async def orders(self) -> tuple[ReportOrder, ...]:
        """Reports that the grid has asked for and not cancelled."""

    async def send_report(self, report: IntervalReport, now: datetime) -> Receipt:
        """Deliver one report. A ``Receipt`` that is not accepted is an answer; no answer is ``Unreachable``."""


@runtime_checkable
class AimedConnection(Protocol):
    """A ``GridConnection`` that knows by itself which targets are ours."""

    def not_ours(self, event: GridEvent) -> str | None:
        """Why the event is not for us by its targets, in plain words; ``None`` where it is."""


@runtime_checkable
class WakingConnection(Protocol):
    """A ``GridConnection`` that is sent messages unasked."""

    @property
    def woken(self) -> asyncio.Event:
        """Set while a message waits for ``receive``. Whoever waits on it clears it before the turn."""


class GridProgram(Protocol):
    """Where we ask: the VTN's side of a dialect, a utility's or ours over the sites below us."""

    @property
    def connection_id(self) -> str: ...

    async def publish(self, event: GridEvent) -> None:
        """Offer a new event, or a higher revision of one, to the parties its targets name (none named: all)."""

    async def cancel(self, event_id: str) -> None:
        """Cancel: the event is offered once more, one revision higher and cancelled. Unknown ids raise KeyError."""

    async def events(self) -> tuple[GridEvent, ...]:
        """The latest revision of every event that was published, oldest first."""

    async def parties(self) -> tuple[Party, ...]:
        """Who is registered."""

    async def answers(self, event_id: str) -> tuple[tuple[str, OptDecision], ...]:
        """The last answer of each party (by party_id) to the event."""

    async def reports(self, after: datetime) -> tuple[tuple[str, IntervalReport], ...]:
        """Reports received after the instant, with their party_id, oldest first."""
