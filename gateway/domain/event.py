"""What we hold true about an event: its state machine, and what a newly arrived batch changes."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from protocols.grid import GridEvent, OptDecision


class EventState(StrEnum):
    """Where one event stands for us at one instant."""

    FAR = "far"
    NEAR = "near"
    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """An event as the ledger holds it: its latest revision, and what we did about it.

    ``decision`` and ``acknowledged_at`` belong to this revision. ``ended_at`` is set once it was cancelled (by the
    grid's word, or by implication), with ``end_cause`` in plain words.
    """

    event: GridEvent
    first_received_at: datetime
    received_at: datetime
    decision: OptDecision | None = None
    acknowledged_at: datetime | None = None
    ended_at: datetime | None = None
    end_cause: str = ""
