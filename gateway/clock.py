"""Time, as every service gets it: the system's, the system's made faster, or virtual.

Services idle only through ``Clock.wait``. A ``VirtualClock`` moves on to the earliest deadline when every task it tends
waits, so that input, output and threads hold time still and a run is the same each time.
"""

import asyncio
import heapq
from collections.abc import Coroutine
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_tended_as: ContextVar[object | None] = ContextVar("tended_as", default=None)
"""Which tended work the present task is, or is part of."""


class Clock(Protocol):
    """Where the time comes from and how to let it pass."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""

    async def wait(self, until: datetime, *wakes: asyncio.Event) -> bool:
        """Wait until the instant, or until one of ``wakes`` is set; true where it was woken before the instant."""

    def tend(self, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """Count ``work`` among the tasks whose waiting lets time pass. Call it before the task is made."""


class SystemClock:
    """The system's time; with ``speed`` over 1 it runs that much faster from the moment it was made (for demos)."""

    def __init__(self, speed: float = 1.0) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be over 0, not {speed}")
        self._speed = speed
        self._loop_zero: float | None = None
        self._zero = datetime.now(UTC)

    def now(self) -> datetime:
        if self._speed == 1.0:
            return datetime.now(UTC)
        loop_now = asyncio.get_running_loop().time()
        if self._loop_zero is None:
            self._loop_zero = loop_now
        return self._zero + timedelta(seconds=(loop_now - self._loop_zero) * self._speed)

    async def wait(self, until: datetime, *wakes: asyncio.Event) -> bool:
        delay_s = max(0.0, (until - self.now()).total_seconds() / self._speed)
        if any(wake.is_set() for wake in wakes):
            # Even so, let others run: a caller that forgets to clear its wake must not starve the loop.
            await asyncio.sleep(0)
            return True
        if not wakes:
            await asyncio.sleep(delay_s)
            return False
        waiters = [asyncio.ensure_future(wake.wait()) for wake in wakes]
        try:
            done, _ = await asyncio.wait(waiters, timeout=delay_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
        return bool(done)

    def tend(self, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        return work


class _Waiter:
    """One task's wait: until when, and what else ends it."""

    def __init__(self, wakes: tuple[asyncio.Event, ...]) -> None:
        self.wakes = wakes
        self.tended_as = _tended_as.get()
        self.due: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class VirtualClock:
    """Time that jumps to the next deadline as soon as every tended task waits.

    A task that nobody tends may wait as well: it is woken in its turn, and does not count.
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock starts at an aware instant")
        self._now = start.astimezone(UTC)
        self._tended: set[object] = set()
        self._waiters: list[tuple[datetime, int, _Waiter]] = []
        self._order = 0

    def now(self) -> datetime:
        return self._now

    async def wait(self, until: datetime, *wakes: asyncio.Event) -> bool:
        if any(wake.is_set() for wake in wakes):
            await asyncio.sleep(0)
            return True
        if until <= self._now:
            await asyncio.sleep(0)
            return False
        waiter = _Waiter(wakes)
        self._order += 1
        entry = (until, self._order, waiter)
        heapq.heappush(self._waiters, entry)
        woken: list[asyncio.Future[Any]] = [asyncio.ensure_future(wake.wait()) for wake in wakes]
        self._move_on()
        try:
            await asyncio.wait([waiter.due, *woken], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in woken:
                task.cancel()
            if entry in self._waiters:
                self._waiters.remove(entry)
                heapq.heapify(self._waiters)
            if waiter.tended_as not in self._tended:
                # Nobody waits for it to wait again.
                asyncio.get_running_loop().call_soon(self._move_on)
        return not waiter.due.done()

    def tend(self, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        name = object()
        self._tended.add(name)

        async def tended() -> T:
            before = _tended_as.set(name)
            try:
                return await work
            finally:
                _tended_as.reset(before)
                self._tended.discard(name)
                # Not at once: where all are cancelled together, time would run on from one to the next that ends.
                asyncio.get_running_loop().call_soon(self._move_on)

        return tended()

    def _move_on(self) -> None:
        """Release the earliest waiter where all tended tasks wait and none of them is about to be woken."""
        if not self._waiters or not self._tended <= {waiter.tended_as for _, _, waiter in self._waiters}:
            return
        if any(wake.is_set() for _, _, waiter in self._waiters for wake in waiter.wakes):
            return
        until, _, waiter = heapq.heappop(self._waiters)
        self._now = until
        waiter.due.set_result(None)
