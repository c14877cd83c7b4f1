"""The log of evidence, in the same database and through the same writer as the record that it is of."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import BigInteger, Table, exists, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.evidence import canonical_json
from gateway.domain.evidence_log import COMPLETE_AFTER, EvidenceEntry, Mismatch, as_logged
from gateway.domain.measurement import from_epoch_us
from gateway.domain.tree_head import SignedHead
from gateway.evidence_store import EvidenceStore
from gateway.storage import rows, tables
from gateway.storage.evidence_sources import (
    HOUR,
    READING,
    SOURCES,
    contents,
    hour_key,
    hours_of_readings,
    key_of,
    next_reading,
    of_hour_key,
    position_of,
    spelled,
)
from gateway.storage.evidence_tables import evidence_entry, head_stamp, tree_head
from gateway.storage.sql_ledger import SqlLedger

AT_ONCE = 1000
"""Records of one kind that one call logs: others want to write, too."""

HOURS_AT_ONCE = 24

BEHIND = 1000
"""Rows are looked for so far behind the last one that was logged: of two writers the first may be done last. So many
microseconds, of rows that go by time, are as good as none: there everything of the last days is looked through."""

_LATE_INTERVALS = 2 * 86_400 * 1_000_000

_POSTGRES_LOCK = 0x6772_6565_7669
"""Held by whoever appends, among this database's advisory locks. SQLite has one writer anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    kind: str
    key: str
    position: int
    sha256: str


class SqlEvidenceStore(EvidenceStore):
    """``EvidenceStore`` beside a ledger."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._database = ledger.database
        self._next_hour: datetime | None = None
        """The first hour of readings that is not known to be logged as it was when it was complete."""

    async def log_new(self, at: datetime) -> int:
        count, more = 0, False
        for kind, table in SOURCES.items():
            async with self._database.read() as connection:
                found = (await connection.execute(_not_logged(kind, table, await _last(connection, kind)))).mappings()
                new = [
                    _New(kind=kind, key=row["_key"], position=row["_position"], sha256=_digest(spelled(row)))
                    for row in found
                ]
            count += await self._keep(new, at)
            more = more or len(new) == AT_ONCE
        # To look for hours asks every meter: once all else is logged.
        return count if more and count else count + await self._log_hours(at)

    async def log_late(self, first: datetime, last: datetime, at: datetime) -> int:
        entry = evidence_entry
        asked = (
            select(entry.c.key, entry.c.sha256)
            .where(
                entry.c.kind == READING, entry.c.position >= _hour_number(first), entry.c.position < _hour_number(last)
            )
            .order_by(entry.c.number)
        )
        async with self._database.read() as connection:
            known = {row.key: row.sha256 for row in await connection.execute(asked)}
        hour, count = _floor(first), 0
        while hour < last:
            found = await self._hour(hour)
            count += await self._keep([new for new in found if known.get(new.key) != new.sha256], at)
            hour += HOUR
        return count

    async def size(self) -> int:
        async with self._database.read() as connection:
            return await _size(connection)

    async def entries(self, first: int, count: int) -> tuple[EvidenceEntry, ...]:
        number = evidence_entry.c.number
        return await self._entries(number >= first, number < first + count)

    async def find(self, kind: str, key: str) -> tuple[EvidenceEntry, ...]:
        return await self._entries(evidence_entry.c.kind == kind, evidence_entry.c.key == key)

    async def find_statement(self, statement_id: str) -> tuple[EvidenceEntry, ...]:
        table = tables.statement
        async with self._database.read() as connection:
            asked = select(key_of(table)).where(table.c.statement_id == statement_id)
            key = (await connection.execute(asked)).scalar_one_or_none()
        return () if key is None else await self.find(table.name, key)

    async def leaves(self, first: int = 0) -> tuple[bytes, ...]:
        entry = evidence_entry
        asked = select(entry.c.leaf).where(entry.c.number >= first).order_by(entry.c.number)
        async with self._database.read() as connection:
            return tuple(bytes.fromhex(leaf) for leaf in (await connection.execute(asked)).scalars())

    async def content(self, kind: str, key: str) -> bytes | None:
        async with self._database.read() as connection:
            if kind == READING:
                meter_id, starts_at = of_hour_key(key)
                found = (await hours_of_readings(connection, starts_at, meter_id)).get(meter_id)
                return None if found is None else canonical_json(found)
            table = SOURCES[kind]
            row = (await connection.execute(contents(table).where(key_of(table) == key))).mappings().one_or_none()
            return None if row is None else spelled(row)

    async def contents(self, kind: str, keys: Collection[str]) -> Mapping[str, bytes]:
        table = SOURCES[kind]
        async with self._database.read() as connection:
            found = (await connection.execute(contents(table))).mappings()
            return {row["_key"]: spelled(row) for row in found if row["_key"] in keys}

    async def mismatches(self, limit: int = 100) -> Sequence[Mismatch]:
        found: list[Mismatch] = []
        last: dict[tuple[str, str], EvidenceEntry] = {}
        entry = evidence_entry
        async with self._database.read() as connection:
            number = 0
            for row in await connection.execute(select(entry).order_by(entry.c.number)):
                logged = _entry(row)
                if logged.number != number or logged.leaf.hex() != row.leaf:
                    found.append(_mismatch(logged, "the entry itself was changed, or one before it taken away"))
                last[logged.kind, logged.key] = logged
                number = logged.number + 1
            for kind, table in SOURCES.items():
                now = {
                    row["_key"]: _digest(spelled(row)) for row in (await connection.execute(contents(table))).mappings()
                }
                found += _differences(kind, now, last)
            found += await _bodies(connection, last)
        for logged in last.values():
            if logged.kind == READING and len(found) < limit:
                found += await self._changed_hour(logged)
        return sorted(found, key=lambda one: one.number)[:limit]

    async def _changed_hour(self, logged: EvidenceEntry) -> list[Mismatch]:
        meter_id, starts_at = of_hour_key(logged.key)
        async with self._database.read() as connection:
            rows = (await hours_of_readings(connection, starts_at, meter_id)).get(meter_id)
        if rows is None:
            return _differences(READING, {}, {(READING, logged.key): logged})
        content = await asyncio.to_thread(canonical_json, rows)
        if logged.running:
            # Logged before it was over: what came since is no change.
            grown = await asyncio.to_thread(as_logged, content, logged.sha256)
            content = content if grown is None else grown
        return _differences(READING, {logged.key: _digest(content)}, {(READING, logged.key): logged})

    async def record_head(self, head: SignedHead) -> bool:
        row = {
            "sha256": head.head.sha256,
            "log_id": head.head.log_id,
            "size": head.head.size,
            "made_at": head.head.made_at,
            "document": head,
        }
        ours = select(tree_head.c.sha256).where(tree_head.c.log_id == head.head.log_id)
        asked = ours.order_by(tree_head.c.made_at.desc(), tree_head.c.size.desc()).limit(1)
        async with self._database.write() as connection:
            await _alone(connection)
            last = (await connection.execute(asked)).scalar() or ""
            if last == head.head.previous_sha256:
                await rows.add(connection, tree_head, row)
            known = ours.where(tree_head.c.sha256 == head.head.sha256)
            return (await connection.execute(known)).first() is not None

    async def heads(self, since: date | None = None) -> tuple[SignedHead, ...]:
        asked = select(tree_head.c.document).order_by(tree_head.c.made_at, tree_head.c.size)
        if since is not None:
            asked = asked.where(tree_head.c.made_at >= datetime(since.year, since.month, since.day, tzinfo=UTC))
        async with self._database.read() as connection:
            return tuple((await connection.execute(asked)).scalars())

    async def record_stamp(self, head_sha256: str, response: bytes, at: datetime) -> None:
        async with self._database.write() as connection:
            await rows.add(connection, head_stamp, {"head_sha256": head_sha256, "at": at, "response": response})

    async def stamp(self, head_sha256: str) -> bytes | None:
        asked = select(head_stamp.c.response).where(head_stamp.c.head_sha256 == head_sha256)
        async with self._database.read() as connection:
            found: bytes | None = (await connection.execute(asked)).scalar_one_or_none()
        return found

    async def unstamped(self) -> tuple[SignedHead, ...]:
        stamped = exists().where(head_stamp.c.head_sha256 == tree_head.c.sha256)
        asked = select(tree_head.c.document).where(~stamped).order_by(tree_head.c.made_at, tree_head.c.size)
        async with self._database.read() as connection:
            return tuple((await connection.execute(asked)).scalars())

    async def _entries(self, *conditions: Any) -> tuple[EvidenceEntry, ...]:
        asked = select(evidence_entry).where(*conditions).order_by(evidence_entry.c.number)
        async with self._database.read() as connection:
            return tuple(_entry(row) for row in await connection.execute(asked))

    async def _log_hours(self, at: datetime) -> int:
        """Log the hours of readings that have ended and were not logged yet."""
        if self._next_hour is None:
            async with self._database.read() as connection:
                self._next_hour = await _first_open_hour(connection)
        hour = self._next_hour
        count = kept = 0
        while hour is not None and hour + COMPLETE_AFTER <= at and kept < HOURS_AT_ONCE:
            new = await self._hour(hour)
            count += (added := await self._keep(new, at))
            kept += bool(added)
            if new:
                hour = self._next_hour = hour + HOUR
            else:
                # Hours without readings are looked at again, until a later one has some.
                hour = await self._hour_with_readings(hour + HOUR)
        return count

    async def _hour_with_readings(self, at: datetime) -> datetime | None:
        async with self._database.read() as connection:
            found = await next_reading(connection, at)
        return None if found is None else _floor(found)

    async def _hour(self, starts_at: datetime) -> list[_New]:
        async with self._database.read() as connection:
            found = await hours_of_readings(connection, starts_at)
        # Thousands of readings: in a thread, so that the control loop keeps its second.
        digests = await asyncio.to_thread(
            lambda: {meter: _digest(canonical_json(all_)) for meter, all_ in found.items()}
        )
        return [
            _New(kind=READING, key=hour_key(meter, starts_at), position=_hour_number(starts_at), sha256=digest)
            for meter, digest in digests.items()
        ]

    async def _keep(self, new: Sequence[_New], at: datetime) -> int:
        if not new:
            return 0
        async with self._database.write() as connection:
            await _alone(connection)
            return await _append(connection, new, at)


def _not_logged(kind: str, table: Table, last: int | None) -> Any:
    """Records of a table that have no entry, oldest first."""
    entry = evidence_entry
    asked = contents(table).where(~exists().where(entry.c.kind == kind, entry.c.key == key_of(table)))
    if last is not None:
        behind = _LATE_INTERVALS if table is tables.energy else BEHIND
        asked = asked.where(position_of(table) >= last - behind)
    return asked.order_by(position_of(table), key_of(table)).limit(AT_ONCE)


async def _last(connection: AsyncConnection, kind: str) -> int | None:
    asked = select(func.max(evidence_entry.c.position)).where(evidence_entry.c.kind == kind)
    found: int | None = (await connection.execute(asked)).scalar()
    return found


async def _size(connection: AsyncConnection) -> int:
    found: int | None = (await connection.execute(select(func.max(evidence_entry.c.number)))).scalar()
    return 0 if found is None else found + 1


async def _first_open_hour(connection: AsyncConnection) -> datetime | None:
    """The first hour of readings that has no entry from after it was complete; ``None`` before there are readings.

    A head on demand logs hours early, the one that runs and maybe the one before.
    """
    entry = evidence_entry
    last = await _last(connection, READING)
    if last is None:
        first = (await connection.execute(select(func.min(tables.reading.c.measured_at)))).scalar()
        return None if first is None else _floor(first)
    complete = entry.c.position + COMPLETE_AFTER // timedelta(microseconds=1)
    early = (
        select(entry.c.position)
        .where(entry.c.kind == READING, entry.c.position >= last - HOUR // timedelta(microseconds=1))
        .group_by(entry.c.position)
        .having(type_coerce(func.max(entry.c.at), BigInteger) < complete)
    )
    positions = (await connection.execute(early)).scalars().all()
    return from_epoch_us(min(positions)) if positions else from_epoch_us(last) + HOUR


async def _alone(connection: AsyncConnection) -> None:
    """Have nobody else append in this transaction, whichever process it is."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(_POSTGRES_LOCK)))


async def _append(connection: AsyncConnection, new: Sequence[_New], at: datetime) -> int:
    """Append what the log does not say yet: another process may have logged it since it was looked for."""
    last = await _last_digests(connection, new)
    new = [one for one in new if last.get(one.key) != one.sha256]
    size = await _size(connection)
    await rows.add_all(
        connection,
        evidence_entry,
        [
            {
                "number": entry.number,
                "kind": entry.kind,
                "key": entry.key,
                "position": one.position,
                "at": at,
                "sha256": entry.sha256,
                "leaf": entry.leaf.hex(),
            }
            for number, one in enumerate(new, size)
            for entry in [EvidenceEntry(number=number, kind=one.kind, key=one.key, at=at, sha256=one.sha256)]
        ],
    )
    return len(new)


async def _last_digests(connection: AsyncConnection, new: Sequence[_New]) -> Mapping[str, str]:
    """What the log says last of the same records, which are of one kind, by key."""
    entry = evidence_entry
    keys = [one.key for one in new]
    asked = select(entry.c.key, entry.c.sha256).where(entry.c.kind == new[0].kind, entry.c.key.in_(keys))
    return {row.key: row.sha256 for row in await connection.execute(asked.order_by(entry.c.number))}


async def _bodies(connection: AsyncConnection, last: Mapping[tuple[str, str], EvidenceEntry]) -> list[Mismatch]:
    """Messages whose bytes are not those that their row names."""
    message, body = tables.raw_message, tables.raw_body
    asked = select(message.c.id, message.c.sha256, body.c.body).join(body, body.c.sha256 == message.c.sha256)
    return [
        _mismatch(entry, "its bytes were changed")
        for row in await connection.execute(asked)
        if _digest(row.body) != row.sha256 and (entry := last.get((message.name, str(row.id)))) is not None
    ]


def _differences(kind: str, now: Mapping[str, str], last: Mapping[tuple[str, str], EvidenceEntry]) -> list[Mismatch]:
    found = []
    for (logged_kind, key), entry in last.items():
        if logged_kind != kind:
            continue
        if key not in now:
            found.append(_mismatch(entry, "is not in the record any more"))
        elif now[key] != entry.sha256:
            found.append(_mismatch(entry, "is not what it was when it was logged"))
    return found


def _mismatch(entry: EvidenceEntry, what: str) -> Mismatch:
    return Mismatch(number=entry.number, kind=entry.kind, key=entry.key, what=what)


def _entry(row: Any) -> EvidenceEntry:
    return EvidenceEntry(number=row.number, kind=row.kind, key=row.key, at=row.at, sha256=row.sha256)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _floor(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _hour_number(at: datetime) -> int:
    return int(_floor(at).timestamp()) * 1_000_000
