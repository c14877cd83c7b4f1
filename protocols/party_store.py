"""The face to storage of every demand-response dialect: what it must remember, and how it asks for that."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from protocols.grid import GridEvent, OptDecision, OptSchedule, Party
from protocols.grid_report import IntervalReport, ReportOrder


class Direction(StrEnum):
    """Of a message, seen from us."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawMessage:
    """Bytes as they came or went, kept for ever. ``name`` is the dialect's name of the message, ``""`` if unknown.

    ``took_s`` is how long the answer took, of a message that is one; ``None`` of any other.
    """

    connection_id: str
    direction: Direction
    at: datetime
    name: str
    body: bytes
    sha256: str
    took_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Our registration with one counterparty, as a VEN keeps it.

    ``party_id`` is the id the counterparty gave us (venID), ``counterparty_id`` its own (vtnID).
    """

    connection_id: str
    registration_id: str
    party_id: str
    counterparty_id: str
    poll_s: float
    registered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMessage:
    """A message that a party has not taken yet. ``body`` is in the dialect's own words, not signed."""

    connection_id: str
    party_id: str
    message_id: str
    name: str
    body: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedOrder:
    """A report that we asked a party for.

    Data that comes for an order that has ended (``ended_at``: cancelled by us, or refused by the party) is kept too.
    """

    party_id: str
    order: ReportOrder
    ended_at: datetime | None = None


class StoreUnavailable(Exception):
    """A ``PartyStore`` cannot be used just now. What was not stored is not acted on; it may be tried again."""


class PartyStore(Protocol):
    """What a dialect must remember across restarts. Each call is durable when it returns.

    All raise ``StoreUnavailable`` where the store cannot be used just now. A VEN uses the registration and the orders,
    a VTN the parties, the events that it issued, what waits for them and what came back.
    """

    async def record_message(self, message: RawMessage) -> None:
        """Keep a message as it came or went. Of those without a name a store may turn away what is too much."""

    async def registration(self, connection_id: str) -> Registration | None: ...

    async def save_registration(self, registration: Registration) -> None: ...

    async def forget_registration(self, connection_id: str) -> None:
        """Forget the registration and the orders that came with it."""

    async def orders(self, connection_id: str) -> tuple[ReportOrder, ...]: ...

    async def save_order(self, order: ReportOrder) -> None:
        """Keep an order, replacing the one with its id."""

    async def cancel_order(self, connection_id: str, order_id: str) -> None: ...

    async def parties(self, connection_id: str) -> tuple[Party, ...]: ...

    async def save_party(self, party: Party) -> None:
        """Keep a party, replacing the one with its id."""

    async def issued_events(self, connection_id: str) -> tuple[GridEvent, ...]:
        """The latest revision of every event we issued, oldest first."""

    async def save_issued_event(self, event: GridEvent) -> None: ...

    async def answers(self, connection_id: str, event_id: str) -> tuple[tuple[str, OptDecision], ...]: ...

    async def save_answer(self, party_id: str, decision: OptDecision) -> None: ...

    async def received_reports(self, connection_id: str, after: datetime) -> tuple[tuple[str, IntervalReport], ...]: ...

    async def save_received_report(self, party_id: str, report: IntervalReport) -> bool:
        """Keep a report; false where its id is known already (delivered again)."""

    async def received_report(self, connection_id: str, party_id: str, report_id: str) -> IntervalReport | None: ...

    async def placed_orders(self, connection_id: str) -> tuple[PlacedOrder, ...]:
        """Every report that we asked for, by time of asking."""

    async def save_placed_order(self, order: PlacedOrder) -> None:
        """Keep an order, replacing the one with its id."""

    async def queued(self, connection_id: str) -> tuple[QueuedMessage, ...]:
        """What has not been taken yet, oldest first."""

    async def queue(self, message: QueuedMessage) -> None: ...

    async def unqueue(self, connection_id: str, party_id: str, message_id: str) -> None: ...

    async def opts(self, connection_id: str) -> tuple[tuple[str, OptSchedule], ...]:
        """What parties will (not) take part in, with their party_id, oldest first."""

    async def save_opt(self, party_id: str, opt: OptSchedule) -> None:
        """Keep a party's opt, replacing the one with its id."""

    async def cancel_opt(self, connection_id: str, party_id: str, opt_id: str) -> None: ...
