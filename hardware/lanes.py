"""Blocking calls on many devices side by side: one lane, a thread, for each device, and a deadline for all.

A call into a driver can hang in the kernel, and nothing ends it. Then its lane stands still, everything else goes on,
and further calls on that device are answered with ``CallHangs`` at once, until the one that hangs comes back.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import structlog

from hardware.errors import CallHangs, HardwareError

log = structlog.get_logger()

T = TypeVar("T")

DEADLINE_S = 0.75
"""Two such waits, for reading and for writing, stay within the patience of whoever asked over a socket (2 s)."""

CURE = (
    "look for Xid messages in the kernel log; it goes on by itself once the driver answers, and where it never does "
    "the device needs a reset, or its host a restart"
)


class FanOut(Protocol):
    """How one call is made on each of several devices."""

    def each(self, keys: Iterable[str], call: Callable[[str], T]) -> dict[str, T | HardwareError]:
        """``call(key)`` for each key, in their order: what it returned, or the ``HardwareError`` that it raised.

        ``CallHangs`` for one that did not come back in time. Any other exception is a bug, and raised. A call must not
        fan out itself.
        """

    def hung(self) -> Mapping[str, float]:
        """The keys whose calls hang, and for how many seconds past their deadline."""


class Serial:
    """One call after the other in the calling thread: no deadline, no thread, the same order every time."""

    def each(self, keys: Iterable[str], call: Callable[[str], T]) -> dict[str, T | HardwareError]:
        answers: dict[str, T | HardwareError] = {}
        for key in keys:
            try:
                answers[key] = call(key)
            except HardwareError as fault:
                answers[key] = fault
        return answers

    def hung(self) -> Mapping[str, float]:
        return {}


class _Call:
    """One call on its way through a lane. ``late``: nobody waits for its answer any more. Both flags under the lock."""

    __slots__ = ("answered", "done", "late", "work")

    def __init__(self, work: Callable[[], Any], answered: "queue.SimpleQueue[_Answer]") -> None:
        self.work = work
        self.answered = answered
        self.done = False
        self.late = False


_Answer = tuple[str, Any, BaseException | None]


class Lanes:
    """Each key has a thread of its own, made at its first call: a daemon, so that one that hangs ends with the process.

    ``deadline_s`` is how long ``each`` waits for its calls, all together. For one caller at a time.
    """

    def __init__(self, *, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._state = threading.Lock()
        self._queues: dict[str, queue.SimpleQueue[_Call | None]] = {}
        self._hung_at_s: dict[str, float] = {}
        self._bug: BaseException | None = None

    def each(self, keys: Iterable[str], call: Callable[[str], T]) -> dict[str, T | HardwareError]:
        wanted = tuple(dict.fromkeys(keys))
        answered: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        with self._state:
            if self._bug is not None:
                raise self._bug
            calls = {key: _Call(_bound(call, key), answered) for key in wanted if key not in self._hung_at_s}
        for key, one in calls.items():
            self._lane(key).put(one)
        answers = self._gathered(calls, answered)
        return {key: answers[key] if key in answers else self._hangs(key) for key in wanted}

    def hung(self) -> Mapping[str, float]:
        now_s = time.monotonic()
        with self._state:
            return {key: now_s - at_s for key, at_s in self._hung_at_s.items()}

    def close(self) -> None:
        """End the threads, each after the call that it is in."""
        with self._state:
            queues, self._queues = self._queues, {}
        for calls in queues.values():
            calls.put(None)

    def _gathered(self, calls: Mapping[str, _Call], answered: "queue.SimpleQueue[_Answer]") -> dict[str, Any]:
        answers: dict[str, Any] = {}
        bug: BaseException | None = None
        awaited = len(calls)
        until_s = time.monotonic() + self._deadline_s
        while len(answers) < awaited:
            try:
                key, answer, raised = answered.get(timeout=max(0.0, until_s - time.monotonic()))
            except queue.Empty:
                awaited -= self._give_up(calls)
                continue
            answers[key] = raised if isinstance(raised, HardwareError) else answer
            if raised is not None and not isinstance(raised, HardwareError):
                bug = raised
        if bug is not None:
            raise bug
        return answers

    def _give_up(self, calls: Mapping[str, _Call]) -> int:
        """Wait no longer for what has not been answered; how many these are."""
        with self._state:
            late = {key: call for key, call in calls.items() if not call.done}
            for call in late.values():
                call.late = True
            self._hung_at_s.update(dict.fromkeys(late, time.monotonic()))
        for key in late:
            log.error("call_hangs", lane=key, waited_s=self._deadline_s, cure=CURE)
        return len(late)

    def _hangs(self, key: str) -> CallHangs:
        return CallHangs(
            f"a call into the driver has not come back in {self._deadline_s:g} s", device_id=key, cure=CURE
        )

    def _lane(self, key: str) -> "queue.SimpleQueue[_Call | None]":
        if key not in self._queues:
            calls = self._queues[key] = queue.SimpleQueue()
            threading.Thread(target=self._work, args=(key, calls), name=f"lane {key}", daemon=True).start()
        return self._queues[key]

    def _work(self, key: str, calls: "queue.SimpleQueue[_Call | None]") -> None:
        while (call := calls.get()) is not None:
            answer, raised = None, None
            if not call.late:  # What was given up before it began must not act later.
                try:
                    answer = call.work()
                except BaseException as caught:  # noqa: BLE001 - the caller raises it
                    raised = caught
            self._finish(key, call, answer, raised)

    def _finish(self, key: str, call: _Call, answer: object, raised: BaseException | None) -> None:
        with self._state:
            call.done = True
            if not call.late:
                call.answered.put((key, answer, raised))
                return
            hung_s = time.monotonic() - self._hung_at_s.pop(key)
            if raised is not None and not isinstance(raised, HardwareError):
                self._bug = raised
        log.info("call_came_back", lane=key, hung_s=round(hung_s, 1))


def _bound(call: Callable[[str], Any], key: str) -> Callable[[], Any]:
    return lambda: call(key)
