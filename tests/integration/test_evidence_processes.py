"""Two processes record, log and sign heads over one record at the same time, as a gateway and a command do."""

import asyncio
import multiprocessing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog

from gateway.clock import SystemClock
from gateway.domain.merkle import MerkleLog
from gateway.domain.tree_head import check_chain, check_later, check_signature
from gateway.ledger import LedgerUnavailable, LogEntry
from gateway.services.evidencing import Evidencing
from gateway.services.readiness import Readiness
from gateway.storage.sql_evidence import SqlEvidenceStore
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from gateway.storage.upgrade import upgrade
from hardware.device import PowerReading
from tests.bundle_record import KEY, KEY_ID

ROUNDS = 12
LINES = 5
NAMES = ("gateway", "command")


def url_of(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder}/record.db"


async def record(ledger: SqlLedger, name: str, turn: int) -> None:
    at = datetime.now(UTC)
    for line in range(LINES):
        entry = LogEntry(connection_id="utility", event_id=name, at=at, what=f"line {line} of turn {turn}")
        while True:
            try:
                await ledger.record_log(entry)
                break
            except LedgerUnavailable:
                await asyncio.sleep(0.01)
    ledger.publish([PowerReading(meter_id=name, power_w=1.0, measured_at=at + timedelta(microseconds=turn))])


async def work(folder: Path, name: str) -> None:
    async with open_ledger(url_of(folder), migrate=False) as ledger:
        service = Evidencing(
            store=SqlEvidenceStore(ledger),
            key=KEY,
            log_id="lab-1",
            zone=ZoneInfo("America/Phoenix"),
            takers=(),
            clock=SystemClock(),
            readiness=Readiness(),
        )
        for turn in range(ROUNDS):
            await record(ledger, name, turn)
            found = await service.head_now()
            # At least what this process recorded before it asked is under the head.
            assert found.head.head.size >= (turn + 1) * LINES


def run_work(folder: Path, name: str) -> None:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    asyncio.run(work(folder, name))


async def test_two_processes_keep_one_log_and_one_line_of_heads(tmp_path: Path) -> None:
    await upgrade(url_of(tmp_path))
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=run_work, args=(tmp_path, name)) for name in NAMES]
    for one in both:
        one.start()
    for one in both:
        await asyncio.to_thread(one.join, 60)
    assert [one.exitcode for one in both] == [0, 0]
    async with open_ledger(url_of(tmp_path), migrate=False) as ledger:
        store = SqlEvidenceStore(ledger)
        entries = await store.entries(0, await store.size())
        heads = await store.heads()
        assert [entry.number for entry in entries] == list(range(len(entries)))
        lines = [entry.key for entry in entries if entry.kind == "event_log"]
        assert len(lines) == len(set(lines)) == len(NAMES) * ROUNDS * LINES
        check_chain([one.head for one in heads])
        tree = MerkleLog(await store.leaves())
        assert tree.root() == MerkleLog(entry.leaf for entry in entries).root()
        for one in heads:
            check_signature(one, KEY_ID)
            assert tree.root(one.head.size).hex() == one.head.root_sha256
        for earlier, later in pairwise(one.head for one in heads):
            check_later(earlier, later, tree.consistency(earlier.size, later.size))
        # Both made some of them: neither waited until the other was done.
        assert len(heads) > ROUNDS
