"""A record with one settled event, its log and signed heads, and ways to tamper with a bundle of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509 import Certificate
from pydantic import TypeAdapter

from gateway.app import check_signature, decode_message
from gateway.bundle_file import BundleFile, read_bundle, write_bundle
from gateway.bundle_recorded import ENTRIES, HEADS
from gateway.bundle_verify import Pins, Verification, verify
from gateway.bundling import make_bundle
from gateway.domain.baseline.rule import shipped_rules, shipped_sheets
from gateway.domain.contract import Program
from gateway.domain.evidence import canonical_json
from gateway.domain.evidence_log import EvidenceEntry
from gateway.domain.fleet import Site
from gateway.domain.measurement import integrate, slices
from gateway.domain.merkle import MerkleLog
from gateway.domain.settlement import FIRST, Edition, SettlementStatement, settle
from gateway.domain.tariff.sheet import shipped_tariff_sheets
from gateway.domain.tree_head import FORMAT, SignedHead, TreeHead, key_id_of, sign
from gateway.domain.verification import verify_event
from gateway.services.settling import gather_inputs
from gateway.storage.party_store import SqlPartyStore
from gateway.storage.sql_evidence import SqlEvidenceStore
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from gateway.storage.upgrade import upgrade
from hardware.device import PowerReading
from protocols.grid import EventStatus, GridEvent, Opt, OptDecision
from protocols.party_store import Direction, RawMessage

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY_ID = key_id_of(KEY.public_key().public_bytes_raw())
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))

STARTS_AT = datetime(2026, 7, 15, 22, tzinfo=UTC)
"""A Wednesday afternoon in Phoenix."""

RECEIVED_AT = datetime(2026, 7, 15, 20, tzinfo=UTC)

CONNECTION_ID = "utility"
SITE = Site(site_id="lab-1", timezone=ZoneInfo("America/Phoenix"), meter_id="site", interval_s=300)
PROGRAM = Program(
    program_id="peak", levels={2: 0.2}, baseline_rule="caiso-10-in-10", price_per_kwh=Decimal("0.75"), currency="USD"
)
STATEMENT_ID = "lab-1-utility-peak-1-r0"

MESSAGE = {
    "id": "peak-1",
    "createdDateTime": "2026-07-15T20:00:00Z",
    "modificationDateTime": "2026-07-15T20:00:00Z",
    "objectType": "EVENT",
    "programID": "program-17",
    "eventName": "peak",
    "intervalPeriod": {"start": "2026-07-15T22:00:00Z", "duration": "PT1H"},
    "intervals": [{"id": 0, "payloads": [{"type": "SIMPLE", "values": [2]}]}],
}

HISTORY_DAYS = 15
"""So many hold ten business days."""

_ENTRY = TypeAdapter(EvidenceEntry)
_HEAD = TypeAdapter(SignedHead)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A bundle's bytes, and the heads that were handed out on the way."""

    body: bytes
    heads: tuple[SignedHead, ...]
    statement: SettlementStatement

    @property
    def bundle(self) -> BundleFile:
        return read_bundle(self.body)


async def make(
    folder: Path,
    *,
    reading_s: int = 60,
    messages: Sequence[bytes] = (json.dumps(MESSAGE).encode(),),
    also: Callable[[SqlLedger], Awaitable[object]] | None = None,
    versions: int = 1,
) -> Made:
    """One event in a record of its own: readings each ``reading_s``, closed intervals, a statement, two heads.

    Each of ``messages`` brings a revision of the event, a minute after the one before; ``also`` records more before
    the event is settled. Each of ``versions`` of the statement takes the place of the one before, under a head of its
    own; the bundle is of the last.
    """
    url = f"sqlite+aiosqlite:///{folder}/record.db"
    await upgrade(url)
    async with open_ledger(url, migrate=True) as ledger:
        await _meter(ledger, reading_s)
        for minute, message in enumerate(messages):
            await _take(ledger, SqlPartyStore(ledger), message, RECEIVED_AT + timedelta(minutes=minute))
        if also is not None:
            await also(ledger)
        evidence = SqlEvidenceStore(ledger)
        await add_head(evidence, STARTS_AT - timedelta(minutes=30), None)
        for version in range(1, versions + 1):
            statement = await _settle(ledger, version)
            last = (await evidence.heads())[-1]
            await add_head(evidence, STARTS_AT + timedelta(hours=12 * version), last)
        bundle = await bundle_of(ledger, statement)
        return Made(body=write_bundle(bundle), heads=await evidence.heads(), statement=statement)


async def bundle_of(ledger: SqlLedger, statement: SettlementStatement) -> BundleFile:
    return await make_bundle(
        ledger,
        SqlEvidenceStore(ledger),
        statement,
        site=SITE,
        program=PROGRAM,
        sheet=shipped_sheets()[PROGRAM.baseline_rule],
        tariff_sheet=shipped_tariff_sheets()[PROGRAM.tariff],
        product_version="1.0",
    )


async def add_head(evidence: SqlEvidenceStore, at: datetime, before: SignedHead | None) -> None:
    """Log what is new and make a head over it."""
    while await evidence.log_new(at):
        pass
    leaves = await evidence.leaves()
    await evidence.record_head(a_head(leaves, at, before))


def a_head(leaves: tuple[bytes, ...], at: datetime, before: SignedHead | None) -> SignedHead:
    return sign(
        TreeHead(
            format=FORMAT,
            log_id="lab-1",
            size=len(leaves),
            root_sha256=MerkleLog(leaves).root().hex(),
            made_at=at,
            day="",
            previous_sha256="" if before is None else before.head.sha256,
        ),
        KEY,
    )


async def _meter(ledger: SqlLedger, reading_s: int) -> None:
    """Readings and closed intervals of the afternoons, 100 kW and some, 80 kW in the event."""
    for day in range(HISTORY_DAYS, -1, -1):
        begin = STARTS_AT.replace(hour=16) - timedelta(days=day)
        readings = [
            PowerReading(meter_id=SITE.meter_id, power_w=_power_w(at), measured_at=at)
            for at in (begin + timedelta(seconds=second) for second in range(0, 8 * 3600, reading_s))
        ]
        ledger.publish(readings)
        await ledger.flush()
        await ledger.record_energy(
            SITE.meter_id, integrate(readings, slices(begin, begin + timedelta(hours=8), SITE.interval_s))
        )


def _power_w(at: datetime) -> float:
    in_event = STARTS_AT <= at < STARTS_AT + timedelta(hours=1)
    return (80_000.0 if in_event else 100_000.0) + 100.0 * at.day + at.minute


async def _take(ledger: SqlLedger, parties: SqlPartyStore, body: bytes, at: datetime) -> None:
    await parties.record_message(
        RawMessage(
            connection_id=CONNECTION_ID,
            direction=Direction.IN,
            at=at,
            name="event",
            body=body,
            sha256=sha256(body).hexdigest(),
        )
    )
    said = decode_message(body)["events"]
    assert isinstance(said, list)
    # As a connection takes it, which knows the program's name and when the message came.
    event: GridEvent = replace(
        said[0], connection_id=CONNECTION_ID, program_id=PROGRAM.program_id, status=EventStatus.NEAR
    )
    if at == RECEIVED_AT:
        # On the Saturday before: the rule has to know of it, and would not have looked at that day anyway.
        days = timedelta(days=4)
        await _opt_in(ledger, replace(event, event_id="old-1", starts_at=event.starts_at - days), at - days)
    await _opt_in(ledger, event, at)


async def _opt_in(ledger: SqlLedger, event: GridEvent, at: datetime) -> None:
    decision = OptDecision(
        connection_id=CONNECTION_ID, event_id=event.event_id, revision=event.revision, opt=Opt.IN, decided_at=at
    )
    await ledger.record_decision(decision)
    await ledger.record_event(event, at)


def statement_id_of(version: int) -> str:
    return STATEMENT_ID if version == 1 else f"{STATEMENT_ID}-v{version}"


async def _settle(ledger: SqlLedger, version: int) -> SettlementStatement:
    record = await ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    at = STARTS_AT + timedelta(hours=12 * version - 11, seconds=3)
    inputs = await gather_inputs(ledger, SITE, record, shipped_rules()[PROGRAM.baseline_rule], as_of=at)
    statement = settle(
        verify_event(inputs, verified_at=at),
        program=PROGRAM,
        site_id=SITE.site_id,
        statement_id=statement_id_of(version),
        issued_at=at,
        raw_sha256=record.event.raw_sha256,
        edition=FIRST if version == 1 else Edition(version=version, supersedes=statement_id_of(version - 1)),
    )
    await ledger.record_statement(statement)
    return statement


Files = dict[str, bytes]


def tampered(made: Made, edit: Callable[[Files], object]) -> BundleFile:
    """The bundle with an edit of its files; whoever tampers puts the manifest right."""
    bundle = made.bundle
    files = dict(bundle.files)
    edit(files)
    return read_bundle(write_bundle(replace(bundle, files=files)))


def edit_record(files: Files, kind: str, which: Callable[[bytes], bool], change: Callable[[bytes], bytes]) -> int:
    """Change the content of the one record that is meant; returns the number of its entry."""
    name = f"records/{kind}.txt"
    lines = files[name].splitlines()
    (index,) = [index for index, line in enumerate(lines) if which(line)]
    number, _, content = lines[index].partition(b" ")
    lines[index] = number + b" " + change(content)
    files[name] = b"\n".join(lines) + b"\n"
    return int(number)


def drop_record(files: Files, kind: str, number: int) -> None:
    """Leave a record out."""
    name = f"records/{kind}.txt"
    kept = [line for line in files[name].splitlines() if line.partition(b" ")[0] != b"%d" % number]
    files[name] = b"".join(line + b"\n" for line in kept)


def entries_of(files: Mapping[str, bytes]) -> list[EvidenceEntry]:
    return [_ENTRY.validate_json(line) for line in files[ENTRIES].splitlines()]


def heads_of(files: Mapping[str, bytes]) -> list[SignedHead]:
    return [_HEAD.validate_json(line) for line in files[HEADS].splitlines()]


def rewrite_log(files: Files) -> None:
    """Make the log and all heads anew over the records as they are now: what only the key's owner can."""
    entries = entries_of(files)
    for name, body in files.items():
        for line in body.splitlines() if name.startswith("records/") else ():
            number, _, content = line.partition(b" ")
            entries[int(number)] = replace(entries[int(number)], sha256=sha256(content).hexdigest())
    leaves = tuple(entry.leaf for entry in entries)
    heads: list[SignedHead] = []
    for old in heads_of(files):
        heads.append(a_head(leaves[: old.head.size], old.head.made_at, heads[-1] if heads else None))
    files[ENTRIES] = b"".join(canonical_json(entry) + b"\n" for entry in entries)
    files[HEADS] = b"".join(canonical_json(head) + b"\n" for head in heads)


def verified(
    bundle: BundleFile,
    *own_heads: SignedHead,
    key_id: str | None = KEY_ID,
    timestamp_authorities: tuple[Certificate, ...] = (),
    certificates: tuple[bytes, ...] = (),
) -> Verification:
    """What verification says of a bundle."""
    pins = Pins(
        key_id=key_id, own_heads=own_heads, timestamp_authorities=timestamp_authorities, certificates=certificates
    )
    return asyncio.run(verify(bundle, decode=decode_message, check_signature=check_signature, pins=pins))


def faults(found: Verification) -> dict[str, str]:
    """By check, what is wrong."""
    return {one.name: "; ".join(one.faults) for one in found.checks if one.faults}
