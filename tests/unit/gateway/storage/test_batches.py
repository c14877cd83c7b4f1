"""What comes at the same time is written in one transaction, and each sender hears of its own."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage import upgrade
from gateway.storage.batches import MOST_AT_ONCE, Batches
from gateway.storage.database import Database


@pytest.fixture
async def database(tmp_path: Path) -> Database:
    url = f"sqlite+aiosqlite:///{tmp_path / 'ledger.db'}"
    await upgrade.upgrade(url)
    one = Database(url)
    yield one
    await one.close()


class Written:
    """What was written, batch by batch; odd numbers under zero cannot be."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.away = False

    async def __call__(self, _: AsyncConnection, items: Sequence[int]) -> list[int]:
        if self.away:
            raise OSError("no disk")
        if any(item < 0 for item in items):
            raise ValueError("under zero")
        await asyncio.sleep(0)
        self.batches.append(list(items))
        return [10 * item for item in items]


async def test_what_comes_together_is_written_together_in_its_order(database: Database) -> None:
    written = Written()
    batches = Batches(database, written)
    results = await asyncio.gather(*(batches.add(item) for item in range(20)))
    assert results == [10 * item for item in range(20)]
    assert written.batches == [list(range(20))]
    assert await batches.add(7) == 70


async def test_a_batch_has_an_end(database: Database) -> None:
    written = Written()
    batches = Batches(database, written)
    await asyncio.gather(*(batches.add(item) for item in range(MOST_AT_ONCE + 1)))
    assert [len(batch) for batch in written.batches] == [MOST_AT_ONCE, 1]


async def test_one_that_cannot_be_written_fails_by_itself(database: Database) -> None:
    batches = Batches(database, Written())
    results = await asyncio.gather(*(batches.add(item) for item in (1, -1, 2)), return_exceptions=True)
    assert [results[0], results[2]] == [10, 20]
    assert isinstance(results[1], ValueError)


async def test_a_database_that_is_away_is_told_to_everybody_and_may_come_back(database: Database) -> None:
    written = Written()
    batches = Batches(database, written)
    written.away = True
    results = await asyncio.gather(*(batches.add(item) for item in (1, 2)), return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)
    written.away = False
    assert await batches.add(3) == 30


async def test_a_sender_that_gives_up_stops_nobody(database: Database) -> None:
    batches = Batches(database, Written())
    impatient = asyncio.create_task(batches.add(1))
    other = asyncio.create_task(batches.add(2))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await other == 20
    with pytest.raises(asyncio.CancelledError):
        await impatient
