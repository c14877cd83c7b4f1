"""Notifications on their way: durable until they are delivered, in order within each line.

A line is a subscription's, or the broker's. What cannot be delivered is tried again after a pause that doubles up to a
quarter of an hour, and dropped after a day with one line in the log: who was away so long reads the objects anew.
Delivered is at least once; an id in the header ``Gridgate-Notification`` tells what comes again.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from protocols.errors import ProtocolError
from protocols.object_store import Asked, ObjectStore, StoredObject

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=15)
DROPPED_AFTER = timedelta(days=1)
MOST_WAITING = 1000
"""In one line; the oldest is dropped for a new one."""

_KIND = "NOTICE"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_AT_ONCE = 64
_IN_ONE_GO = timedelta(seconds=2)
"""A line that takes longer goes on at the next call, so that one who is slow keeps nobody waiting for long."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notification for one address, a callback's URL or a topic."""

    notice_id: str
    line: str
    address: str
    body: bytes = field(repr=False)
    created_at: datetime


Send = Callable[[Notice], Awaitable[None]]
"""Delivers, or does nothing where nobody wants it any more. Raises ``ProtocolError`` where it is to be tried again."""


@dataclass(slots=True)
class _Line:
    """Notices in order, and when the first may be tried."""

    waiting: deque[Notice] = field(default_factory=deque)
    failures: int = 0
    due_at: datetime | None = None


class Outbox:
    """The notices of one VTN. It keeps no time: ``deliver_due`` is called with it."""

    def __init__(self, *, connection_id: str, store: ObjectStore, send: Send, clock: Callable[[], datetime]) -> None:
        self._connection_id = connection_id
        self._store = store
        self._send = send
        self._clock = clock
        self._lines: dict[str, _Line] = {}
        self._delivering = asyncio.Lock()
        self._last = _EPOCH
        self.wake = asyncio.Event()
        """Set when there is something new to deliver; whoever waits for it clears it."""

    async def load(self) -> None:
        """Take up what was on its way when the last life ended."""
        self.take(await self._store.objects(self._connection_id, Asked(kind=_KIND)))

    def notice(self, *, line: str, address: str, body: bytes, owner: str, now: datetime) -> StoredObject:
        """A notice to be stored, and handed to ``take`` once it is. Its id and its time are later than any before."""
        self._last = now if now > self._last else self._last + _TICK
        return StoredObject(
            kind=_KIND,
            object_id=f"{(self._last - _EPOCH) // _TICK:020d}",
            owner=owner,
            parent_id=line,
            created_at=self._last,
            modified_at=self._last,
            body=json.dumps({"address": address, "body": body.decode()}),
        )

    def take(self, stored: Iterable[StoredObject]) -> None:
        """Line up notices that are durable."""
        for item in stored:
            if item.kind == _KIND:
                self._last = max(self._last, item.created_at)
                said = json.loads(item.body)
                line = self._lines.setdefault(item.parent_id, _Line())
                line.waiting.append(
                    Notice(
                        notice_id=item.object_id,
                        line=item.parent_id,
                        address=said["address"],
                        body=said["body"].encode(),
                        created_at=item.created_at,
                    )
                )
                self.wake.set()

    async def deliver_due(self, now: datetime) -> datetime | None:
        """Deliver what is due; returns when to come again, ``None`` where nothing is left."""
        async with self._delivering:
            slots = asyncio.Semaphore(_AT_ONCE)
            due = [line for line in self._lines.values() if line.due_at is None or line.due_at <= now]
            await asyncio.gather(*(self._deliver(line, now, slots) for line in due))
            self._lines = {name: line for name, line in self._lines.items() if line.waiting}
            return min((line.due_at or now for line in self._lines.values()), default=None)

    async def _deliver(self, line: _Line, now: datetime, slots: asyncio.Semaphore) -> None:
        await self._drop_outdated(line, now)
        async with slots:
            began_at = self._clock()
            while line.waiting and self._clock() - began_at <= _IN_ONE_GO:
                notice = line.waiting[0]
                try:
                    await self._send(notice)
                except ProtocolError as fault:
                    self._postpone(line, notice, now, fault)
                    return
                await self._remove([notice])
                line.waiting.popleft()
                line.failures, line.due_at = 0, None

    def _postpone(self, line: _Line, notice: Notice, now: datetime, fault: ProtocolError) -> None:
        if line.failures == 0:
            log.warning("notification not delivered, will be tried again", line=notice.line, reason=str(fault))
        pause = min(FIRST_PAUSE * 2 ** min(line.failures, 16), LONGEST_PAUSE)
        line.failures += 1
        line.due_at = now + pause

    async def _drop_outdated(self, line: _Line, now: datetime) -> None:
        outdated = [notice for notice in line.waiting if notice.created_at <= now - DROPPED_AFTER]
        outdated += list(line.waiting)[len(outdated) : len(line.waiting) - MOST_WAITING]
        if outdated:
            log.warning("notifications dropped undelivered", line=outdated[0].line, count=len(outdated))
            await self._remove(outdated)
            for _ in outdated:
                line.waiting.popleft()

    async def _remove(self, notices: Sequence[Notice]) -> None:
        await self._store.change(self._connection_id, gone=[(_KIND, notice.notice_id) for notice in notices])
