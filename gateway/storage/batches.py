"""Writing what comes at the same time in one transaction, each part durable before its sender goes on.

A disk's flush and a transaction cost as much for one row as for a hundred. Nobody waits for a batch to fill: what comes
while one is being written makes the next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.database import Database

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_AT_ONCE = 500


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    done: asyncio.Future[Result] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batches(Generic[Item, Result]):
    """``write`` gets a transaction and items in the order of their coming, and gives a result for each."""

    def __init__(
        self, database: Database, write: Callable[[AsyncConnection, Sequence[Item]], Awaitable[Sequence[Result]]]
    ) -> None:
        self._database = database
        self._write = write
        self._waiting: list[_Waiting[Item, Result]] = []
        self._writer: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Result:
        """Durable when it returns. Raises what the transaction did; then nothing of the item was stored."""
        waiting: _Waiting[Item, Result] = _Waiting(item)
        self._waiting.append(waiting)
        if self._writer is None:
            self._writer = asyncio.create_task(self._run())
        return await waiting.done

    async def _run(self) -> None:
        batch: list[_Waiting[Item, Result]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                if not await self._store(batch):
                    # One that cannot be stored must not take the others with it.
                    for one in batch:
                        await self._store([one])
        finally:
            self._writer = None
            # Only where this was cancelled is anybody left.
            for one in (*batch, *self._waiting):
                one.done.cancel()
            self._waiting = []

    async def _store(self, batch: Sequence[_Waiting[Item, Result]]) -> bool:
        """Write a batch and tell its senders; false where it must be tried one by one."""
        try:
            async with self._database.write() as connection:
                results = await self._write(connection, [one.item for one in batch])
        except ValueError as fault:
            if len(batch) > 1:
                return False
            _fail(batch, fault)
        except Exception as fault:  # noqa: BLE001 - each sender raises it, as if it had written by itself
            _fail(batch, fault)
        else:
            for one, result in zip(batch, results, strict=True):
                if not one.done.done():
                    one.done.set_result(result)
        return True


def _fail(batch: Sequence[_Waiting[Item, Result]], fault: Exception) -> None:
    for one in batch:
        if not one.done.done():
            one.done.set_exception(fault)
