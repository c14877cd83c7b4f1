"""One thread for calls that block, and may hang, beside an event loop that goes on."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_Call = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Worker:
    """Runs calls one after another in a thread of its own. Made and used within a running loop.

    The thread is a daemon: one that hangs in a driver does not keep the process from ending, as an executor's would.
    ``crashed`` gets the first exception that a call let through: a bug, since expected faults are answers.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self.crashed: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, call: Callable[[], T]) -> T:
        """What ``call`` returns. Where it raises, ``crashed`` has the exception, and who waits is cancelled."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.put((call, future))
        return await future

    def close(self) -> None:
        """End the thread after the calls that wait already."""
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, future = item
            result, bug = None, None
            try:
                if not future.cancelled():
                    result = call()
            except Exception as caught:  # noqa: BLE001 - it is handed to the loop, which ends the process
                bug = caught
            try:
                self._loop.call_soon_threadsafe(self._finish, future, result, bug)
            except RuntimeError:
                return  # The loop has been closed: nobody waits any more.

    def _finish(self, future: "asyncio.Future[Any]", result: object, bug: Exception | None) -> None:
        if bug is not None:
            future.cancel()
            if not self.crashed.done():
                self.crashed.set_exception(bug)
        elif not future.done():
            future.set_result(result)
