"""What was decided, on its way into the record: plans, and the words of each event's history."""

from collections import deque

import structlog

from gateway.clock import Clock
from gateway.domain.overlap import EventKey
from gateway.domain.plan import PowerPlan
from gateway.ledger import Ledger, LogEntry

log = structlog.get_logger()


class Decided:
    """Kept in order until the record has it: control does not wait for that."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._unwritten: deque[PowerPlan | LogEntry] = deque()

    @property
    def unwritten(self) -> int:
        """How many entries the record does not have yet."""
        return len(self._unwritten)

    def planned(self, made: PowerPlan) -> None:
        """A plan for an event was made."""
        self._unwritten.append(made)
        self.say((made.connection_id, made.event_id), "planned", made.reason)

    def say(self, key: EventKey, what: str, detail: str) -> None:
        """Something happened to an event: into its history and the log."""
        connection_id, event_id = key
        log.info(what, connection=connection_id, event_id=event_id, detail=detail)
        self._unwritten.append(
            LogEntry(connection_id=connection_id, event_id=event_id, at=self._clock.now(), what=what, detail=detail)
        )

    async def write_down(self) -> None:
        """Write what is unwritten. Raises ``LedgerUnavailable``; what could not be written stays, in order."""
        while self._unwritten:
            match self._unwritten[0]:
                case PowerPlan() as made:
                    await self._ledger.record_plan(made)
                case LogEntry() as line:
                    await self._ledger.record_log(line)
            self._unwritten.popleft()
