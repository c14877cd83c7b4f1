"""Time, as every service gets it: the system's, the system's made faster, or virtual.

Services idle only through ``Clock.wait``. A ``VirtualClock`` moves on to the earliest deadline when every task it tends
waits, and has them take turns, so that input, output and threads hold time still and a run is the same each time.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_tended_as: ContextVar[int | None] = ContextVar("tended_as", default=None)
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
    """One task's wait: until when, and what else ends it. ``turn`` is true where a wake ended it."""

    def __init__(self, until: datetime, wakes: tuple[asyncio.Event, ...], tended_as: int | None) -> None:
        self.until = until
        self.wakes = wakes
        self.tended_as = tended_as
        self.rung = False
        self.turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def woken(self) -> bool:
        return self.rung or any(wake.is_set() for wake in self.wakes)


class VirtualClock:
    """Time that jumps to the next deadline as soon as every tended task waits.

    Tended work takes turns: one goes on, whether its time has come or a wake is set, when all others wait; who waits
    longest comes first. So it is one order of things, however long input, output and threads take. A task that nobody
    tends may wait as well: it is woken at once, and does not count.
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock starts at an aware instant")
        self._now = start.astimezone(UTC)
        self._tended: set[int] = set()
        self._aside: set[int | None] = set()
        self._waiters: list[_Waiter] = []
        """In the order of waiting."""
        self._count = count()

    def now(self) -> datetime:
        return self._now

    async def wait(self, until: datetime, *wakes: asyncio.Event) -> bool:
        if any(wake.is_set() for wake in wakes):
            await asyncio.sleep(0)
            return True
        if until <= self._now:
            await asyncio.sleep(0)
            return False
        return await self._wait(until, *wakes)

    def tend(self, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        name = next(self._count)
        self._tended.add(name)

        async def tended() -> T:
            before = _tended_as.set(name)
            try:
                # Those that begin together begin in turn.
                await self._wait(self._now)
                return await work
            finally:
                work.close()
                _tended_as.reset(before)
                self._tended.discard(name)
                # Not at once: where all are cancelled together, time would run on from one to the next that ends.
                asyncio.get_running_loop().call_soon(self._move_on)

        return tended()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """For tended work that is about to wait for what others do: they are woken meanwhile, and time stands still."""
        name = _tended_as.get()
        self._aside.add(name)
        self._move_on()
        try:
            yield
        finally:
            self._aside.discard(name)

    async def _wait(self, until: datetime, *wakes: asyncio.Event) -> bool:
        waiter = _Waiter(until, wakes, _tended_as.get())
        self._waiters.append(waiter)
        watching = [asyncio.ensure_future(wake.wait()) for wake in wakes]
        for task in watching:
            task.add_done_callback(partial(self._ring, waiter))
        self._move_on()
        try:
            return await waiter.turn
        finally:
            for task in watching:
                task.cancel()
            self._waiters.remove(waiter)
            if waiter.tended_as not in self._tended:
                # Nobody waits for it to wait again.
                asyncio.get_running_loop().call_soon(self._move_on)

    def _ring(self, waiter: _Waiter, watching: asyncio.Task[Any]) -> None:
        # A wake that was set counts, even where it is cleared before the turn.
        waiter.rung = waiter.rung or not watching.cancelled()
        self._move_on()

    def _move_on(self) -> None:
        """Give the next its turn, where nobody has it: who is woken, or else the earliest."""
        # Those whose turn it is, and those that were cancelled, are about to go on.
        waiters = [waiter for waiter in self._waiters if not waiter.turn.done()]
        busy = self._tended - {waiter.tended_as for waiter in waiters}
        woken = [waiter for waiter in waiters if waiter.woken()]
        for waiter in woken:
            if waiter.tended_as not in self._tended:
                waiter.turn.set_result(True)
        if not busy <= self._aside:
            return
        if woken:
            if not woken[0].turn.done():
                woken[0].turn.set_result(True)
        elif waiters:
            earliest = min(waiters, key=lambda waiter: waiter.until)
            if not busy or earliest.until <= self._now:
                self._now = max(self._now, earliest.until)
                earliest.turn.set_result(False)
