"""The composition root: opens edges, builds services, runs them in one TaskGroup, and closes in the right order.

This module and what opens hardware under it (``attach``, ``site_meters``) name the drivers, each imported inside the
function that opens it, so that only what is configured is loaded.
"""

import asyncio
import codecs
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from typing import Protocol
from uuid import uuid4

import structlog
from aiohttp import ClientSession, web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.archive import DayArchive
from gateway.attach import MeteredFleet
from gateway.bundle_signatures import MessageSignature
from gateway.clock import Clock, SystemClock
from gateway.config import SITE_METER_ID, ConfigError, EvidenceSettings, Settings, Vtn3Settings
from gateway.connection_check import Finding
from gateway.connection_parts import report_offers
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.capability import Capability
from gateway.domain.fleet import Site
from gateway.domain.settlement import SettlementStatement, check, tariff_of
from gateway.domain.settlement_terms import settlement_terms
from gateway.domain.tree_head import SignedHead
from gateway.evidence_store import EvidenceStore
from gateway.ledger import Ledger
from gateway.services.actuator import ACT_WAIT_S, Actuator
from gateway.services.assuring import AssuranceSources
from gateway.services.epochs import Epochs
from gateway.services.evidencing import Evidencing, StampsHeads, TakesHeads
from gateway.services.readiness import EXPECTED_FAULTS, Readiness
from gateway.services.statement_material import inputs_of
from gateway.services.stating import before_its_end, newest_statement
from gateway.stages import Record
from protocols.grid import GridConnection, GridProgram, Party
from protocols.party_store import PartyStore

log = structlog.get_logger()


@asynccontextmanager
async def open_record(url: str, *, migrate: bool) -> AsyncIterator[Record]:
    """Open the database. An SQLite one that is new or older is migrated where ``migrate`` is set.

    Raises ``LedgerTooNew``, ``LedgerNotUpgraded``, ``LedgerUnavailable`` or ``LedgerError``.
    """
    from gateway.storage.nonces import SqlNonceStore
    from gateway.storage.object_store import SqlObjectStore
    from gateway.storage.party_store import SqlPartyStore
    from gateway.storage.sql_evidence import SqlEvidenceStore
    from gateway.storage.sql_ledger import open_ledger

    async with open_ledger(url, migrate=migrate, lasting_meters={SITE_METER_ID}) as ledger:
        yield Record(
            ledger=ledger,
            evidence=SqlEvidenceStore(ledger),
            parties=SqlPartyStore(ledger),
            nonces=SqlNonceStore(ledger),
            objects=SqlObjectStore(ledger),
        )


async def open_evidencing(
    edges: AsyncExitStack,
    settings: Settings,
    store: EvidenceStore,
    *,
    clock: Clock,
    readiness: Readiness,
    key: Ed25519PrivateKey | None = None,
) -> Evidencing:
    """What logs the record and signs heads, by default with the gateway's own key, made where there is none.

    Raises ``OSError`` where the key cannot be used.
    """
    from gateway.http.heads import HeadPost
    from gateway.storage.evidence_key import read_or_make_key
    from gateway.storage.head_folder import HeadFolder

    wanted = settings.evidence
    takers: list[TakesHeads] = [] if wanted.heads_dir is None else [HeadFolder(wanted.heads_dir)]
    if wanted.deliver_to:
        session = await edges.enter_async_context(ClientSession())
        takers += [HeadPost(str(url), session) for url in wanted.deliver_to]
    return Evidencing(
        store=store,
        key=key or read_or_make_key(evidence_key_path(settings)),
        log_id=wanted.log_id or settings.site.id,
        zone=settings.site.site().timezone,
        takers=takers,
        stamps=_stamps(wanted),
        clock=clock,
        readiness=readiness,
    )


def _stamps(wanted: EvidenceSettings) -> StampsHeads | None:
    """The authority that stamps heads. Raises ``ConfigError`` and ``OSError`` where it cannot be had."""
    if wanted.timestamp_url is None or wanted.timestamp_ca is None:
        return None
    try:
        from gateway.domain.time_stamp import read_authorities
        from gateway.http.time_stamp_client import TimeStampAuthority
    except ImportError as cause:
        raise ConfigError(f"[evidence] timestamp_url needs what comes with gridgate[evidence]: {cause}") from cause
    try:
        authorities = read_authorities(wanted.timestamp_ca.read_bytes())
    except ValueError as cause:
        raise ConfigError(f"[evidence] timestamp_ca {wanted.timestamp_ca}: {cause}") from cause
    return TimeStampAuthority(str(wanted.timestamp_url), authorities)


def evidence_key_path(settings: Settings) -> Path:
    """Where the key is kept that heads are signed with."""
    return settings.gateway.state_dir / "evidence-key.pem"


def read_evidence_key(path: Path) -> Ed25519PrivateKey:
    """The key that heads are signed with. Raises ``OSError`` where there is none."""
    from gateway.storage.evidence_key import read_key

    return read_key(path)


def open_archive(settings: Settings) -> DayArchive | None:
    """The archive of closed days, ``None`` where none is declared. Raises ``ConfigError`` where it cannot be had."""
    if settings.archive is None:
        return None
    try:
        from gateway.storage.closed_days import ClosedDays
    except ImportError as cause:
        raise ConfigError(f"[archive] needs what comes with gridgate[reports]: {cause}") from cause
    return ClosedDays(settings.archive.folder)


async def upgrade_database(url: str) -> str:
    """Bring the database to the newest revision; returns it."""
    from gateway.storage.upgrade import upgrade

    return await upgrade(url)


async def check_database(url: str) -> tuple[str | None, str]:
    """The database's revision (``None`` for an empty one) and the newest there is. Raises ``LedgerTooNew``."""
    from gateway.storage.upgrade import check as check_revision

    return await check_revision(url)


async def recheck(ledger: Ledger, settings: Settings, statement: SettlementStatement) -> str | None:
    """Compute a statement again from the record; says what differs first, ``None`` where nothing does.

    One that was superseded is computed from what was kept of its own inputs, since the record has gone on.
    """
    program = settings.programs().get(statement.program_id)
    if program is None:
        return f"program {statement.program_id!r} is no longer declared"
    verified = statement.verified
    record = await ledger.event(verified.connection_id, verified.event_id)
    if record is None:
        return f"event {verified.event_id!r} is not on record"
    newest = await newest_statement(ledger, verified.connection_id, verified.event_id)
    superseded = newest is not None and newest.statement_id != statement.statement_id
    inputs = await ledger.statement_inputs(verified.inputs_sha256) if superseded else None
    terms = None
    if inputs is None:
        # From the record itself: raw readings, raw signals.
        site, rules = settings.site.site(), shipped_rules()
        inputs = await inputs_of(ledger, site, rules, record, statement, declared_w=program.declared_w)
        others = await before_its_end(ledger, record)
        terms = settlement_terms(tariff_of(program), program, record.event, verified.intervals, others)
    found = check(statement, inputs, program, terms=terms)
    return None if found is None else f"{found.figure} is stated as {found.stated} and comes to {found.recomputed}"


def assurance_sources(ledger: Ledger, settings: Settings) -> AssuranceSources:
    """What statements of the site are assessed from."""
    return AssuranceSources(
        ledger=ledger, site=settings.site.site(), rules=shipped_rules(), programs=settings.programs()
    )


def decode_message(body: bytes) -> dict[str, object]:
    """A message of any dialect in neutral form: JSON is OpenADR 3, XML is 2.0b. Raises ``ProtocolError``."""
    from protocols.openadr2b import neutral as openadr2b
    from protocols.openadr3 import neutral as openadr3

    return openadr3.describe(body) if _is_json(body) else openadr2b.describe(body)


def check_signature(body: bytes, known: Sequence[bytes], received_at: datetime) -> MessageSignature | None:
    """As ``CheckSignature``: only XML of 2.0b carries signatures in the message itself. Raises ``MessageError``."""
    from protocols.openadr2b.signature_check import check_kept

    if _is_json(body):
        return None
    found = check_kept(body, known, received_at)
    if found is None:
        return None
    return MessageSignature(name=found.name, certificate=found.certificate, signed_at=found.signed_at)


def _is_json(body: bytes) -> bool:
    return body.removeprefix(codecs.BOM_UTF8).lstrip().startswith((b"{", b"["))


async def mosquitto_acl(settings: Settings, name: str) -> str:
    """The rules of the broker of our OpenADR 3 VTN of that name, for Mosquitto. Raises ``ConfigError`` for none."""
    vtn = next((one for one in settings.vtns if one.name == name and isinstance(one, Vtn3Settings)), None)
    if vtn is None:
        raise ConfigError(f'no [[connection]] {name!r} of kind "openadr3" and role "vtn"')
    from gateway.connections_openadr3 import mosquitto_acl as acl_of

    async with open_record(settings.gateway.database, migrate=True) as record:
        return await acl_of(vtn, record, SystemClock())


async def parties_to(record: Record, connection_id: str) -> tuple[Party, ...]:
    """Who is registered with a VTN of ours, whatever its dialect; vens of OpenADR 3 are objects."""
    from protocols.openadr3.vtn_parties import stored_parties

    return (*await record.parties.parties(connection_id), *await stored_parties(record.objects, connection_id))


def new_secret() -> tuple[str, str]:
    """A new secret for a client of our OpenADR 3 VTN, and what is declared in its place."""
    from protocols.openadr3.vtn_tokens import hash_secret

    made = token_urlsafe(32)
    return made, hash_secret(made)


async def check_connection(settings: Settings, name: str) -> tuple[Finding, ...]:
    """Try the connection of that name, and change nothing. Raises ``StopIteration`` where there is none."""
    from gateway import connection_check
    from gateway.connections import ask_to_register

    for ven in settings.vens:
        if ven.name == name:
            return await connection_check.check_ven(ven, partial(ask_to_register, ven))
    return await connection_check.check_vtn(next(vtn for vtn in settings.vtns if vtn.name == name))


async def open_actuator(
    edges: AsyncExitStack,
    ledger: Ledger,
    fleet: MeteredFleet,
    clock: Clock,
    settings: Settings,
    *,
    act_wait_s: float = ACT_WAIT_S,
) -> Actuator:
    """The one who commands the fleet, in a new epoch; whatever ends the services, ``edges`` has it put all back.

    The epoch is above every one that an agent has heard: the commands of a restored backup would be refused otherwise.
    A control step waits for jobs to act for ``act_wait_s``; in virtual time it is to be as long as it takes, or a busy
    machine would play another event.
    """
    try:
        await fleet.refresh()
    except EXPECTED_FAULTS as fault:
        log.warning("agents_not_reached", reason=str(fault))
    epoch = await ledger.begin_epoch(above=fleet.highest_epoch)
    fleet.begin(epoch)
    actuator = Actuator(
        fleet=fleet,
        ledger=ledger,
        clock=clock,
        epoch=epoch,
        lease_s=settings.control.lease_s,
        tree=settings.site.tree(),
        epochs=Epochs(fleet, ledger),
        act_wait_s=act_wait_s,
    )
    edges.push_async_callback(_put_back, actuator)
    return actuator


async def _put_back(actuator: Actuator) -> None:
    """Restore every limit and resume every job. Hosts that cannot be reached do it themselves, by lease.

    Caps that the electrical tree needs stay, and are said to.
    """
    try:
        trouble = await actuator.put_back()
    except EXPECTED_FAULTS as fault:
        trouble = str(fault)
    if trouble is not None:
        log.warning("not_all_put_back", reason=trouble)


def pages(
    ledger: Ledger,
    settings: Settings,
    *,
    clock: Clock,
    readiness: Readiness,
    fleet: MeteredFleet,
    capability: Callable[[], Capability | None],
    stop: asyncio.Event,
    connections: Sequence[str] = (),
    heads: Callable[[], Awaitable[Sequence[SignedHead]]] | None = None,
    evidence: EvidenceStore | None = None,
) -> web.Application:
    """The pages and the health checks. ``connections`` are their names, by default those of the settings."""
    from gateway.http.site import make_site
    from gateway.statement_pages import statement_pages

    return make_site(
        ledger=ledger,
        site=settings.site.site(),
        programs=settings.programs(),
        now=clock.now,
        parts=readiness.parts,
        ready=lambda: readiness.ready and not stop.is_set(),
        devices=fleet.devices,
        jobs=fleet.jobs,
        capability=capability,
        version=product_version(),
        connections=connections or [connection.name for connection in settings.connection],
        describe=decode_message,
        heads=heads,
        statement_pages=statement_pages(assurance_sources(ledger, settings), evidence),
    )


class BuiltInVtn(GridProgram, Protocol):
    """A VTN of ours: a function from body to body, and the routes over it."""

    async def answer(self, service: str, body: bytes) -> bytes: ...

    def routes(self) -> Sequence[web.AbstractRouteDef]: ...


def joined_ven(name: str, vtn: BuiltInVtn, store: PartyStore, site: Site, *, reports: bool = True) -> GridConnection:
    """A VEN joined to a VTN by a function instead of a socket, for virtual time. Without ``reports`` it offers none."""
    from protocols.openadr2b.ven import Ven

    offers = report_offers(site) if reports else ()
    return Ven(connection_id=name, ven_name=name, exchange=vtn.answer, store=store, offers=offers)


def built_in_vtn(
    connection_id: str, store: PartyStore, clock: Clock, *, new_id: Callable[[], str] = lambda: uuid4().hex
) -> BuiltInVtn:
    """The demonstration's VTN. What it says is the same for the same ids."""
    from protocols.openadr2b.vtn import Vtn

    return Vtn(connection_id=connection_id, vtn_id="Demo-VTN", store=store, now=clock.now, poll_s=5.0, new_id=new_id)


def product_version() -> str:
    """The installed version; a checkout that is not installed says so."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gridgate")
    except PackageNotFoundError:
        return "0 (not installed)"
