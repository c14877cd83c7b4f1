"""What an announced event will come to as things stand: said in its history while there is time to do something."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta

import structlog

from gateway.domain.curtailment.problem import CurtailmentProblem
from gateway.domain.curtailment.schedule import CurtailmentSchedule
from gateway.domain.event import EventRecord, ramp_starts_at
from gateway.domain.overlap import EventKey
from gateway.domain.plan import PowerPlan
from gateway.domain.site_curtailment import in_words
from gateway.services.decided import Decided
from gateway.services.joint_plan import WAIT_S, Planning

log = structlog.get_logger()

WORTH_IT = timedelta(seconds=30)
"""An event that begins sooner is planned before anybody has read this."""

NEAR = timedelta(minutes=15)
LONG_AGO = timedelta(hours=1)
"""An event that is near is looked at again where the last look was so long before it."""

_Question = tuple[EventKey, str, asyncio.Task[CurtailmentSchedule]]


class Foresight:
    """Each revision of an event is looked at once, and once more when it is near. Control waits for none."""

    def __init__(self, planner: Planning, decided: Decided) -> None:
        self._planner = planner
        self._decided = decided
        self._seen_at: dict[tuple[EventKey, int], datetime] = {}
        self._asking: _Question | None = None

    async def look(
        self,
        announced: Iterable[EventRecord],
        others: Sequence[PowerPlan],
        *,
        now: datetime,
        provisional: Callable[[EventRecord], Awaitable[PowerPlan | None]],
        problem: Callable[[Sequence[PowerPlan], datetime], CurtailmentProblem | None],
    ) -> None:
        """Look at the next of the ``announced`` events where that is due.

        ``others`` are plans of events that go on, ``provisional`` makes one from how the site is now (``None``: it
        cannot yet), ``problem`` puts them together from an instant on.
        """
        await self._answered()
        if self._asking is not None:
            return
        for record in announced:
            key = (record.event.connection_id, record.event.event_id)
            ramp_at = ramp_starts_at(record.event)
            if not self._is_due((key, record.event.revision), ramp_at, now):
                continue
            made = await provisional(record)
            if made is None:
                continue
            self._seen_at[key, record.event.revision] = now
            asked = problem([*others, made], ramp_at) if made.intervals else None
            if asked is None:
                self._decided.say(key, "foreseen", made.reason)
                return
            self._asking = (key, made.reason, asyncio.ensure_future(self._planner.plan(asked)))
            await self._answered()
            return

    def forget(self, known: Iterable[EventRecord]) -> None:
        """Keep only what is ``known`` of what was looked at; who plans still, plans on."""
        keys = {(record.event.connection_id, record.event.event_id) for record in known}
        self._seen_at = {one: at for one, at in self._seen_at.items() if one[0] in keys}

    def _is_due(self, one: tuple[EventKey, int], ramp_at: datetime, now: datetime) -> bool:
        if ramp_at - now < WORTH_IT:
            return False
        seen_at = self._seen_at.get(one)
        return seen_at is None or (ramp_at - now <= NEAR and ramp_at - seen_at >= LONG_AGO)

    def drop(self) -> None:
        """Nobody is there any more to be told."""
        if self._asking is not None:
            self._asking[2].cancel()
            self._asking = None

    async def _answered(self) -> None:
        if self._asking is None:
            return
        key, reason, asking = self._asking
        await asyncio.wait([asking], timeout=WAIT_S)
        if not asking.done():
            return
        self._asking = None
        bug = asking.exception()
        if bug is not None:
            log.error("planning_failed", exc_info=bug)
            self._decided.say(key, "foreseen", f"{reason}; who would be paused is not known: {bug}")
            return
        self._decided.say(key, "foreseen", f"as the site is now, {reason}; {in_words(asking.result())}")
