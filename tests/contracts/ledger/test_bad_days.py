"""Locked, full, cut off, killed: nothing is lost, and what was said to be durable is."""

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.ledger import CapOutcome, LedgerUnavailable, LogEntry
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from hardware.device import PowerReading

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def file(empty_file: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "ledger.db"
    copy.write_bytes(empty_file.read_bytes())
    return copy


@pytest.fixture
async def sqlite_ledger(file: Path) -> AsyncIterator[SqlLedger]:
    async with open_ledger(f"sqlite+aiosqlite:///{file}", migrate=False) as ledger:
        yield ledger


@pytest.fixture
async def postgres_ledger(postgres_url: str) -> AsyncIterator[SqlLedger]:
    async with open_ledger(postgres_url, migrate=False) as ledger:
        yield ledger


@pytest.fixture
def other_process(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file, isolation_level=None)
    yield connection
    connection.close()


def readings(count: int = 3, meter_id: str = "site", first: int = 0) -> list[PowerReading]:
    return [
        PowerReading(meter_id=meter_id, power_w=float(number), measured_at=NOON + timedelta(seconds=number))
        for number in range(first, first + count)
    ]


def an_outcome() -> CapOutcome:
    return CapOutcome(at=NOON, device_id="gpu-0", requested_w=300.0, applied_w=300.0, outcome="applied")


def an_entry(what: str = "received") -> LogEntry:
    return LogEntry(connection_id="utility", event_id="e1", at=NOON, what=what)


async def stored(ledger: SqlLedger, meter_id: str = "site") -> tuple[PowerReading, ...]:
    """What stands in the database, without what the ledger holds."""
    async with ledger.database.read() as connection:
        rows = await connection.execute(text(f"SELECT power_w FROM reading WHERE meter_id = '{meter_id}' ORDER BY 1"))
        return tuple(row.power_w for row in rows)


async def test_a_locked_database_is_unavailable_for_a_while_and_nothing_is_lost(
    sqlite_ledger: SqlLedger, other_process: sqlite3.Connection
) -> None:
    other_process.execute("BEGIN EXCLUSIVE")
    sqlite_ledger.publish(readings())
    sqlite_ledger.note_outcomes([an_outcome()])

    begun = time.monotonic()
    with pytest.raises(LedgerUnavailable, match="another process holds the database") as caught:
        await sqlite_ledger.flush()
    waited_s = time.monotonic() - begun
    with pytest.raises(LedgerUnavailable):
        await sqlite_ledger.record_log(an_entry())

    assert caught.value.__cause__ is not None
    assert waited_s < 1.5
    sqlite_ledger.publish(readings(1, first=3))
    assert await sqlite_ledger.readings_between("site", NOON, NOON + HOUR) == tuple(readings(4))
    assert await sqlite_ledger.outcomes_between(NOON, NOON + HOUR) == (an_outcome(),)
    other_process.execute("ROLLBACK")
    await sqlite_ledger.flush()
    await sqlite_ledger.record_log(an_entry())
    assert await stored(sqlite_ledger) == (0.0, 1.0, 2.0, 3.0)
    assert await sqlite_ledger.outcomes_between(NOON, NOON + HOUR) == (an_outcome(),)
    assert await sqlite_ledger.log("utility", "e1") == (an_entry(),)


async def test_a_writer_elsewhere_does_not_stop_readers(
    sqlite_ledger: SqlLedger, other_process: sqlite3.Connection
) -> None:
    await sqlite_ledger.record_log(an_entry())
    other_process.execute("BEGIN EXCLUSIVE")

    assert await sqlite_ledger.log("utility", "e1") == (an_entry(),)


async def test_a_full_database_keeps_what_it_has_and_takes_the_rest_later(sqlite_ledger: SqlLedger) -> None:
    await sqlite_ledger.record_log(an_entry())
    async with sqlite_ledger.database.write() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
        await connection.execute(text(f"PRAGMA max_page_count = {pages + 4}"))
    sqlite_ledger.publish(readings(3000))

    with pytest.raises(LedgerUnavailable, match="no space left"):
        await sqlite_ledger.flush()

    assert await stored(sqlite_ledger) == ()
    assert len(await sqlite_ledger.readings_between("site", NOON, NOON + HOUR)) == 3000
    assert await sqlite_ledger.log("utility", "e1") == (an_entry(),)
    async with sqlite_ledger.database.write() as connection:
        await connection.execute(text("PRAGMA max_page_count = 100000"))
    await sqlite_ledger.flush()
    assert len(await stored(sqlite_ledger)) == 3000


async def test_a_disk_that_takes_no_more_bytes(sqlite_ledger: SqlLedger, file: Path) -> None:
    await sqlite_ledger.record_log(an_entry())
    log_bytes = os.stat(f"{file}-wal").st_size  # noqa: PTH116 - pathlib's counts as blocking in a coroutine
    sqlite_ledger.publish(readings(3000))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log_bytes + 8192, hard))
    try:
        with pytest.raises(LedgerUnavailable):
            await sqlite_ledger.flush()
        with pytest.raises(LedgerUnavailable):
            await sqlite_ledger.record_log(an_entry("x" * 20_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    assert await sqlite_ledger.log("utility", "e1") == (an_entry(),)
    await sqlite_ledger.flush()
    assert len(await stored(sqlite_ledger)) == 3000


async def test_a_flush_that_is_cancelled_loses_nothing(sqlite_ledger: SqlLedger) -> None:
    cancelled = 0
    for turn in range(40):
        sqlite_ledger.publish(readings(1, first=turn))
        flush = asyncio.create_task(sqlite_ledger.flush())
        await asyncio.sleep(turn * 0.0003)
        flush.cancel()
        try:
            await flush
        except asyncio.CancelledError:
            cancelled += 1

    # A flush that was cancelled may hold the file for a while yet: nothing is lost where the next finds it taken.
    for _ in range(5):
        try:
            await sqlite_ledger.flush()
            break
        except LedgerUnavailable:
            continue

    assert cancelled > 0
    assert await stored(sqlite_ledger) == tuple(float(turn) for turn in range(40))


async def test_what_is_too_long_unavailable_is_dropped_and_counted(
    file: Path, other_process: sqlite3.Connection
) -> None:
    async with open_ledger(
        f"sqlite+aiosqlite:///{file}", migrate=False, held_readings=10, lasting_meters={"site"}
    ) as ledger:
        other_process.execute("BEGIN EXCLUSIVE")
        ledger.publish([*readings(8, "gpu-0"), *readings(1)])
        with pytest.raises(LedgerUnavailable):
            await ledger.flush()
        assert ledger.dropped_readings == 0
        ledger.publish(readings(4, first=1))
        other_process.execute("ROLLBACK")
        await ledger.flush()

        assert ledger.dropped_readings == 3
        assert await stored(ledger, "gpu-0") == (3.0, 4.0, 5.0, 6.0, 7.0)
        assert await stored(ledger) == (0.0, 1.0, 2.0, 3.0, 4.0)


RECORDER = """
import asyncio, sys
from datetime import UTC, datetime
from gateway.ledger import LogEntry
from gateway.storage.sql_ledger import open_ledger

async def main():
    async with open_ledger(sys.argv[1], migrate=False) as ledger:
        at = datetime(2026, 7, 1, 12, tzinfo=UTC)
        for number in range(1_000_000):
            await ledger.record_log(LogEntry(connection_id="utility", event_id="e1", at=at, what=f"entry {number}"))
            print(number, flush=True)

asyncio.run(main())
"""


def test_what_was_said_to_be_durable_outlives_kill_9(file: Path) -> None:
    url = f"sqlite+aiosqlite:///{file}"
    recorder = subprocess.Popen(
        [sys.executable, "-c", RECORDER, url], stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ}
    )
    assert recorder.stdout is not None
    for _ in range(20):
        recorder.stdout.readline()
    os.kill(recorder.pid, signal.SIGKILL)
    told = [int(line) for line in recorder.stdout.read().splitlines()]
    recorder.stdout.close()
    assert recorder.wait() == -signal.SIGKILL
    last_told = max(told, default=19)

    async def entries() -> list[str]:
        async with open_ledger(url, migrate=True) as ledger:
            return [entry.what for entry in await ledger.log("utility", "e1")]

    assert set(asyncio.run(entries())) >= {f"entry {number}" for number in range(last_told + 1)}


async def test_a_table_locked_by_another_session_is_unavailable_for_a_while(
    postgres_ledger: SqlLedger, postgres_url: str
) -> None:
    async with open_ledger(postgres_url, migrate=False) as other, other.database.write() as connection:
        await connection.execute(text("LOCK TABLE reading"))
        postgres_ledger.publish(readings(meter_id="locked"))
        with pytest.raises(LedgerUnavailable, match="another process holds the database"):
            await postgres_ledger.flush()
    await postgres_ledger.flush()

    assert await stored(postgres_ledger, "locked") == (0.0, 1.0, 2.0)


async def test_a_connection_that_the_server_cuts_is_made_anew(postgres_ledger: SqlLedger, postgres) -> None:
    async def transact() -> None:
        async with postgres_ledger.database.write() as connection:
            await connection.execute(text("SELECT 1"))
            postgres.psql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend';"
            )
            await connection.execute(text("SELECT 1"))

    await postgres_ledger.record_log(an_entry("before"))
    with pytest.raises(LedgerUnavailable):
        await transact()

    postgres_ledger.publish(readings(meter_id="cut"))
    await postgres_ledger.flush()
    assert await stored(postgres_ledger, "cut") == (0.0, 1.0, 2.0)
