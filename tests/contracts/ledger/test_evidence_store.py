"""The log of evidence: what is recorded is logged once, and whatever is done to the record afterwards is named."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.merkle import MerkleLog, check_consistency
from gateway.domain.tree_head import TreeHead, check_signature, sign
from gateway.ledger import CapOutcome, LedgerUnavailable, LogEntry
from gateway.storage.party_store import SqlPartyStore
from gateway.storage.sql_evidence import SqlEvidenceStore, _New
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from hardware.device import PowerReading
from protocols.party_store import Direction, RawMessage

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=3)


@pytest.fixture
def evidence(ledger: SqlLedger) -> SqlEvidenceStore:
    return SqlEvidenceStore(ledger)


def a_message(body: bytes = b"<oadrPoll/>") -> RawMessage:
    return RawMessage(
        connection_id="utility",
        direction=Direction.IN,
        at=NOON,
        name="oadrPoll",
        body=body,
        sha256=sha256(body).hexdigest(),
    )


def a_line(what: str) -> LogEntry:
    return LogEntry(connection_id="utility", event_id="e1", at=NOON, what=what)


async def fill(ledger: SqlLedger, parties: SqlPartyStore) -> None:
    """A message, a line, an outcome, an interval, and two minutes of readings over the end of an hour."""
    await parties.record_message(a_message())
    await ledger.record_log(a_line("received"))
    ledger.note_outcomes(
        [CapOutcome(at=NOON, device_id="gpu-0", requested_w=300.0, applied_w=300.0, outcome="applied")]
    )
    await ledger.record_energy(
        "site", [IntervalEnergy(starts_at=NOON, duration_s=300.0, energy_wh=83.4, coverage_fraction=1.0)]
    )
    ledger.publish(
        [
            PowerReading(meter_id="site", power_w=1000.0 + second, measured_at=NOON + timedelta(seconds=3540 + second))
            for second in range(120)
        ]
    )
    await ledger.flush()


async def test_what_is_recorded_is_logged_once(
    ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore
) -> None:
    assert await evidence.log_new(LATER) == 0
    await fill(ledger, parties)
    assert await evidence.log_new(LATER) == 6
    assert await evidence.log_new(LATER) == 0
    entries = await evidence.entries(0, 100)
    assert [entry.number for entry in entries] == list(range(6))
    assert [entry.kind for entry in entries] == [
        "raw_message",
        "event_log",
        "cap_outcome",
        "energy",
        "reading",
        "reading",
    ]
    assert [entry.key for entry in entries[4:]] == ["2026-07-01T12:00:00Z/site", "2026-07-01T13:00:00Z/site"]
    assert await evidence.size() == 6
    assert not await evidence.mismatches()


async def test_contents_of_many_records_are_those_of_each(
    ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore
) -> None:
    await fill(ledger, parties)
    await ledger.record_log(a_line("planned"))
    await evidence.log_new(LATER)
    keys = [entry.key for entry in await evidence.entries(0, 100) if entry.kind == "event_log"]
    assert len(keys) == 2
    found = await evidence.contents("event_log", {*keys, "999"})
    assert found == {key: await evidence.content("event_log", key) for key in keys}


async def test_every_record_gives_the_content_that_was_logged(
    ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore
) -> None:
    await fill(ledger, parties)
    await evidence.log_new(LATER)
    for entry in await evidence.entries(0, 100):
        content = await evidence.content(entry.kind, entry.key)
        assert content is not None
        assert sha256(content).hexdigest() == entry.sha256
        assert await evidence.find(entry.kind, entry.key) == (entry,)
    assert await evidence.content("reading", "2026-07-01T12:00:00Z/other") is None
    assert await evidence.content("plan", "17") is None


async def test_leaves_are_those_of_the_entries(
    ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore
) -> None:
    await fill(ledger, parties)
    await evidence.log_new(LATER)
    leaves = await evidence.leaves()
    assert leaves == tuple(entry.leaf for entry in await evidence.entries(0, 100))
    assert await evidence.leaves(4) == leaves[4:]


async def test_an_hour_is_logged_when_what_was_held_in_memory_is_stored(
    ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore
) -> None:
    await fill(ledger, parties)
    await evidence.log_new(NOON + timedelta(minutes=69))
    assert not await evidence.find("reading", "2026-07-01T12:00:00Z/site")
    await evidence.log_new(NOON + timedelta(minutes=70))
    assert len(await evidence.find("reading", "2026-07-01T12:00:00Z/site")) == 1


async def test_what_another_process_has_logged_meanwhile_is_not_logged_again(
    ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore
) -> None:
    await fill(ledger, parties)
    await evidence.log_new(LATER)
    (entry,) = [one for one in await evidence.entries(0, 100) if one.kind == "energy"]
    new = [_New(kind=entry.kind, key=entry.key, position=0, sha256=digest) for digest in (entry.sha256, "ab" * 32)]
    assert await evidence._keep(new[:1], LATER) == 0
    assert await evidence._keep(new[1:], LATER) == 1


async def test_two_writers_at_once_keep_one_log(url: str) -> None:
    """Each with connections of its own, as two processes have."""

    async def work(ledger: SqlLedger, name: str) -> int:
        store, made = SqlEvidenceStore(ledger), 0
        for turn in range(8):
            await stored(lambda turn=turn: ledger.record_log(a_line(f"{name} {turn}")))
            made += await stored(lambda: store.log_new(LATER))
        return made

    async def stored(write: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                return await write()
            except LedgerUnavailable:
                await asyncio.sleep(0.01)

    async with open_ledger(url, migrate=False) as ours, open_ledger(url, migrate=False) as theirs:
        made = await asyncio.gather(work(ours, "ours"), work(theirs, "theirs"))
        evidence = SqlEvidenceStore(ours)
        await evidence.log_new(LATER)
        entries = await evidence.entries(0, 100)
        assert [entry.number for entry in entries] == list(range(16))
        assert len({entry.key for entry in entries}) == 16
        assert sum(made) <= 16
        assert not await evidence.mismatches()


async def test_of_two_heads_at_once_after_the_same_one_is_kept(url: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    head = TreeHead(format=1, log_id="a", size=0, root_sha256="", made_at=NOON, day="", previous_sha256="")
    async with open_ledger(url, migrate=False) as ours, open_ledger(url, migrate=False) as theirs:
        stores = [SqlEvidenceStore(ours), SqlEvidenceStore(theirs)] * 4
        kept = await asyncio.gather(
            *(store.record_head(sign(replace(head, size=size), key)) for size, store in enumerate(stores))
        )
        assert sorted(kept) == [False] * 7 + [True]
        assert len(await stores[0].heads()) == 1


async def test_an_hour_that_is_logged_before_it_is_complete_is_logged_once_more_when_it_is(
    ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore
) -> None:
    await fill(ledger, parties)
    early = NOON + timedelta(minutes=61)
    await evidence.log_new(early)
    assert await evidence.log_late(NOON, early, early) == 2
    assert not await evidence.mismatches()
    ledger.publish([PowerReading(meter_id="site", power_w=900.0, measured_at=NOON + timedelta(minutes=62))])
    await ledger.flush()
    # By the process that logged early, and by one that was started afterwards.
    assert await evidence.log_new(NOON + timedelta(minutes=130)) == 1
    assert await SqlEvidenceStore(ledger).log_new(NOON + timedelta(minutes=130)) == 0
    assert [len(await evidence.find("reading", f"2026-07-01T{hour}:00:00Z/site")) for hour in (12, 13)] == [1, 2]
    assert not await evidence.mismatches()


async def test_an_hour_that_runs_may_grow_and_not_change(
    ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore
) -> None:
    await fill(ledger, parties)
    at = NOON + timedelta(minutes=61)
    await evidence.log_late(NOON, at, at)
    ledger.publish([PowerReading(meter_id="site", power_w=900.0, measured_at=NOON + timedelta(minutes=62))])
    await ledger.flush()
    assert not await evidence.mismatches()
    # Before what was logged: that is no growth. So it is with an hour that was complete.
    ledger.publish(
        [PowerReading(meter_id="site", power_w=900.0, measured_at=NOON + timedelta(minutes=60, seconds=0.5))]
    )
    await ledger.flush()
    (found,) = await evidence.mismatches()
    assert (found.key, found.what) == ("2026-07-01T13:00:00Z/site", "is not what it was when it was logged")
    await evidence.log_new(LATER)
    assert not await evidence.mismatches()
    ledger.publish([PowerReading(meter_id="site", power_w=900.0, measured_at=NOON + timedelta(minutes=119))])
    await ledger.flush()
    assert len(await evidence.mismatches()) == 1


async def test_after_a_restart_an_hour_that_was_logged_early_is_logged_once_more(
    ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore
) -> None:
    await fill(ledger, parties)
    await evidence.log_late(NOON, NOON + timedelta(minutes=61), NOON + timedelta(minutes=61))
    ledger.publish([PowerReading(meter_id="site", power_w=900.0, measured_at=NOON + timedelta(minutes=30))])
    await ledger.flush()
    assert await SqlEvidenceStore(ledger).log_new(LATER) > 0
    assert len(await evidence.find("reading", "2026-07-01T12:00:00Z/site")) == 2
    assert not await evidence.mismatches()


async def test_a_late_reading_makes_a_new_entry_of_its_hour_and_changes_none(
    ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore
) -> None:
    await fill(ledger, parties)
    await evidence.log_new(LATER)
    before = await evidence.entries(0, 100)
    ledger.publish([PowerReading(meter_id="site", power_w=900.0, measured_at=NOON + timedelta(minutes=5))])
    await ledger.flush()
    assert await evidence.log_late(NOON, NOON + timedelta(hours=2), LATER) == 1
    assert await evidence.log_late(NOON, NOON + timedelta(hours=2), LATER) == 0
    assert (await evidence.entries(0, 100))[:6] == before
    first, second = await evidence.find("reading", "2026-07-01T12:00:00Z/site")
    assert first.sha256 != second.sha256
    assert not await evidence.mismatches()


async def test_the_log_only_grows(ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore) -> None:
    await fill(ledger, parties)
    await evidence.log_new(LATER)
    earlier = MerkleLog(await evidence.leaves())
    await ledger.record_log(a_line("planned"))
    assert await evidence.log_new(LATER) == 1
    later = MerkleLog(await evidence.leaves())
    check_consistency(len(earlier), earlier.root(), len(later), later.root(), later.consistency(len(earlier)))


async def test_what_is_written_out_of_turn_is_logged_too(
    ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore
) -> None:
    """Of two writers the one that took the lower number may be done last."""
    await ledger.record_log(a_line("second"))
    async with ledger.database.write() as connection:
        await connection.execute(
            text("INSERT INTO event_log VALUES (7, 'utility', 'e1', 1, 'seventh', '', 'other digest')")
        )
    assert await evidence.log_new(LATER) == 2
    async with ledger.database.write() as connection:
        await connection.execute(
            text("INSERT INTO event_log VALUES (6, 'utility', 'e1', 1, 'sixth', '', 'its digest')")
        )
    assert await evidence.log_new(LATER) == 1


async def test_heads_are_kept_in_their_order(ledger: SqlLedger, evidence: SqlEvidenceStore) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    first = TreeHead(format=1, log_id="a", size=0, root_sha256="", made_at=NOON, day="2026-07-01", previous_sha256="")
    second = replace(first, size=3, made_at=LATER + timedelta(days=1), previous_sha256=first.sha256)
    kept = [await evidence.record_head(sign(head, key)) for head in (second, first, first, second, first)]
    assert kept == [False, True, True, True, True]
    # Of two that follow the same one, the first stays.
    assert not await evidence.record_head(sign(replace(second, size=4), key))
    assert await evidence.record_head(sign(replace(first, log_id="b"), key))
    heads = await evidence.heads()
    assert [one.head for one in heads if one.head.log_id == "a"] == [first, second]
    assert await evidence.heads((NOON + timedelta(days=1)).date()) == heads[-1:]
    check_signature(heads[0], heads[1].key_id)


TAMPERINGS = {
    "a reading changed": ("UPDATE reading SET power_w = 1 WHERE measured_at = {late}", "reading", "is not what it was"),
    "a reading dropped": ("DELETE FROM reading WHERE measured_at = {late}", "reading", "is not what it was"),
    "a reading moved": (
        "UPDATE reading SET measured_at = measured_at + 1 WHERE measured_at = {late}",
        "reading",
        "is not what it was",
    ),
    "a reading added": (
        "INSERT INTO reading VALUES ('site', {late} + 1, 1.0, NULL, 'good')",
        "reading",
        "is not what it was",
    ),
    "an interval changed": ("UPDATE energy SET energy_wh = 1", "energy", "is not what it was"),
    "a line dropped": ("DELETE FROM event_log", "event_log", "is not in the record any more"),
    "a message's bytes changed": (
        "UPDATE raw_body SET body = CAST('<oadrPull/>' AS {binary})",
        "raw_message",
        "its bytes were changed",
    ),
    "an outcome changed": ("UPDATE cap_outcome SET applied_w = 1", "cap_outcome", "is not what it was"),
    "an entry changed": ("UPDATE evidence_entry SET sha256 = '00' WHERE kind = 'energy'", "energy", "the entry itself"),
    "an entry dropped": ("DELETE FROM evidence_entry WHERE kind = 'event_log'", "cap_outcome", "taken away"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_every_tampering_is_named(
    ledger: SqlLedger, parties: SqlPartyStore, evidence: SqlEvidenceStore, name: str
) -> None:
    await fill(ledger, parties)
    await evidence.log_new(LATER)
    statement, kind, what = TAMPERINGS[name]
    late = int((NOON + timedelta(seconds=3550)).timestamp()) * 1_000_000
    async with ledger.database.write() as connection:
        # As somebody with the database's own rights would.
        if connection.dialect.name == "sqlite":
            for (trigger,) in (
                await connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
            ).all():
                await connection.execute(text(f"DROP TRIGGER {trigger}"))
        else:
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
        binary = "BLOB" if connection.dialect.name == "sqlite" else "BYTEA"
        await connection.execute(text(statement.format(late=late, binary=binary)))
    found = await evidence.mismatches()
    assert (found[0].kind, what in found[0].what) == (kind, True)
    assert len(await evidence.mismatches(limit=1)) == 1


async def test_a_stamp_is_kept_beside_its_head_and_the_first_stays(
    ledger: SqlLedger, evidence: SqlEvidenceStore
) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    head = TreeHead(format=1, log_id="a", size=0, root_sha256="", made_at=NOON, day="2026-07-01", previous_sha256="")
    await evidence.record_head(sign(head, key))
    assert await evidence.stamp(head.sha256) is None
    assert [one.head for one in await evidence.unstamped()] == [head]
    for response in (b"first", b"second"):
        await evidence.record_stamp(head.sha256, response, LATER)
    assert await evidence.stamp(head.sha256) == b"first"
    assert await evidence.unstamped() == ()
