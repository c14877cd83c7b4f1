"""Our VTN against a real openleadr VEN: plain HTTP, and mutual TLS with signed messages."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import openleadr
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from lxml import etree

from gateway.storage import upgrade
from gateway.storage.nonces import SqlNonceStore
from gateway.storage.party_store import SqlPartyStore
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from gateway.tls import server_context
from protocols.grid import EventInterval, EventStatus, GridEvent, Signal, SignalKind, Target
from protocols.openadr2b.certificate import Pinned, fingerprint
from protocols.openadr2b.signature import Signer, Verifier
from protocols.openadr2b.vtn import PATH, Vtn
from protocols.openadr2b.vtn_parties import DeclaredParty, VtnParties
from protocols.party_store import Direction, RawMessage
from protocols.replay import ReplayWindow
from tests.certificates import Key

pytestmark = pytest.mark.timeout(120)

SCRIPT = Path(__file__).with_name("openleadr_ven.py")
SCHEMA = etree.XMLSchema(etree.parse(Path(openleadr.__file__).parent / "schema" / "oadr_20b.xsd"))


class CheckedStore(SqlPartyStore):
    """A store that lets nothing go out that the schema would not have."""

    def __init__(self, ledger: SqlLedger) -> None:
        super().__init__(ledger)
        self.came: list[str] = []

    async def record_message(self, message: RawMessage) -> None:
        if message.direction is Direction.OUT:
            SCHEMA.assertValid(etree.fromstring(message.body))
        else:
            self.came.append(message.name)
        await super().record_message(message)


class OpenleadrVen:
    """The VEN's process: what it said, and what it is told to do."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.heard: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, url: str, *more: str) -> "OpenleadrVen":
        command = (sys.executable, str(SCRIPT), "--url", url, "--name", "lab-ven", *more)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
        )
        return cls(process)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line.startswith(b"{"):
                self.heard.append(json.loads(line))
                self._news.set()

    async def says(self, what: str, **facts: Any) -> dict[str, Any]:
        """The first thing of that name with those facts that was or will be heard."""
        async with asyncio.timeout(30):
            while True:
                for item in self.heard:
                    if item["what"] == what and facts.items() <= item.items():
                        return item
                self._news.clear()
                await self._news.wait()

    def tell(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    async def end(self) -> None:
        self.process.kill()
        await self.process.wait()
        await self._reader


class Program:
    """Our VTN on a real database and a real socket; it can be started anew on both."""

    def __init__(self, file: Path, make: Callable[[CheckedStore, SqlLedger], Vtn], tls: ssl.SSLContext | None) -> None:
        self._file = file
        self._make = make
        self._tls = tls
        self._port = 0

    @asynccontextmanager
    async def life(self) -> AsyncIterator[tuple[Vtn, str, CheckedStore]]:
        async with open_ledger(f"sqlite+aiosqlite:///{self._file}", migrate=False) as ledger:
            store = CheckedStore(ledger)
            vtn = self._make(store, ledger)
            application = web.Application()
            application.add_routes(vtn.routes())
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", self._port, ssl_context=self._tls, reuse_address=True)
            await site.start()
            self._port = runner.addresses[0][1]
            try:
                yield vtn, f"{'http' if self._tls is None else 'https'}://localhost:{self._port}{PATH}", store
            finally:
                await runner.cleanup()


async def until(what: str, question: Callable[[], Any]) -> Any:
    """Ask until there is an answer."""
    async with asyncio.timeout(30):
        while not (answer := await question()):  # noqa: ASYNC110 - the peer is another process
            await asyncio.sleep(0.1)
        return answer


def an_event(event_id: str, **changes: Any) -> GridEvent:
    begin = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    interval = EventInterval(starts_at=begin, duration_s=1800.0, value=2.0)
    event = GridEvent(
        event_id=event_id,
        connection_id="program",
        program_id="http://utility.example/peak",
        revision=0,
        status=EventStatus.FAR,
        created_at=begin - timedelta(hours=1),
        starts_at=begin,
        duration_s=1800.0,
        signals=(Signal(name="SIMPLE", kind=SignalKind.LEVEL, intervals=(interval,), dialect_kind="level"),),
    )
    return replace(event, **changes)


async def answered(vtn: Vtn, event_id: str, revision: int) -> str | None:
    """The opt of the only answer to a revision."""
    for _, decision in await vtn.answers(event_id):
        if decision.revision == revision:
            return decision.opt.value
    return None


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    database = tmp_path / "program.db"
    await upgrade.upgrade(f"sqlite+aiosqlite:///{database}")
    return database


def plain_vtn(store: CheckedStore, ledger: SqlLedger) -> Vtn:
    return Vtn(
        connection_id="program",
        vtn_id="Lab-VTN",
        store=store,
        now=lambda: datetime.now(UTC),
        poll_s=1,
        granularity_s=1,
        report_back_s=2,
    )


async def test_a_whole_conversation_with_an_openleadr_ven_over_a_restart(file: Path) -> None:
    program = Program(file, plain_vtn, None)
    ven: OpenleadrVen | None = None
    try:
        async with program.life() as (vtn, url, store):
            ven = await OpenleadrVen.start(url)
            registered = await ven.says("ready")
            (party,) = await vtn.parties()
            assert (party.party_id, party.name) == (registered["ven_id"], "lab-ven")

            await vtn.publish(an_event("shed", targets=(Target(kind="ven", value=party.party_id),)))
            await vtn.publish(an_event("elsewhere", targets=(Target(kind="ven", value="another"),)))
            await ven.says("event", event_id="shed", revision=0, status="far")
            assert await until("an answer", lambda: answered(vtn, "shed", 0)) == "in"
            await vtn.publish(an_event("shed", revision=1, comment="half an hour later"))
            await ven.says("update", event_id="shed", revision=1)
            assert await until("an answer", lambda: answered(vtn, "shed", 1)) == "in"
            await vtn.publish(an_event("refuse-1"))
            assert await until("a refusal", lambda: answered(vtn, "refuse-1", 0)) == "out"
            await vtn.cancel("shed")
            await ven.says("update", event_id="shed", revision=2, status="cancelled")
            await until("its acknowledgement", lambda: answered(vtn, "shed", 2))

            ven.tell(
                do="create_opt", opt_type="optIn", opt_reason="economic", event_id="refuse-1", modification_number=0
            )
            await ven.says("opt created")
            assert await answered(vtn, "refuse-1", 0) == "in"

            (_, report) = (await until("a report", lambda: vtn.reports(datetime.now(UTC) - timedelta(hours=1))))[-1]
            assert {interval.power_w for interval in report.intervals} == {1234.5}

        async with program.life() as (vtn, _, store):
            before = len(await vtn.reports(datetime.now(UTC) - timedelta(hours=1)))

            async def newer() -> bool:
                return len(await vtn.reports(datetime.now(UTC) - timedelta(hours=1))) > before

            # The VEN did not register again: its reports are still known for what they are.
            await until("a report after the restart", newer)
            assert "oadrCreatePartyRegistration" not in store.came
            await vtn.publish(an_event("second-life"))
            assert await until("an answer", lambda: answered(vtn, "second-life", 0)) == "in"
            assert "elsewhere" not in {item.get("event_id") for item in ven.heard}

            (order,) = [order for order in await vtn.orders() if order.ended_at is None]
            await vtn.cancel_report(order.order.order_id)
            await until("the order's end", lambda: came(store, "oadrCanceledReport"))
            extra = await vtn.order_report(
                party.party_id,
                order.order.resource_id,
                granularity_s=1,
                report_back_s=2,
                starts_at=datetime.now(UTC),
            )
            await until("the new order", lambda: came(store, "oadrCreatedReport"))

            async def for_the_new_order() -> bool:
                received = await vtn.reports(datetime.now(UTC) - timedelta(hours=1))
                return any(report.order_id == extra for _, report in received)

            await until("data for it", for_the_new_order)
            ven.tell(do="leave")
            await ven.says("left", registration_id=None)
            assert await vtn.parties() == ()
    finally:
        if ven is not None:
            await ven.end()


async def test_a_vtn_ends_the_registration_of_an_openleadr_ven(file: Path) -> None:
    async with Program(file, plain_vtn, None).life() as (vtn, url, store):
        ven = await OpenleadrVen.start(url)
        try:
            registered = await ven.says("ready")
            await vtn.ask_to_reregister(registered["ven_id"])
            await until("a second registration", lambda: came(store, "oadrCreatePartyRegistration", 2))
            (party,) = await vtn.parties()
            assert (party.party_id, party.registration_id) == (registered["ven_id"], registered["registration_id"])
            await vtn.offer_reports(party.party_id)
            await until("its answer to our offer", lambda: came(store, "oadrRegisteredReport"))
            await vtn.cancel_registration(party.party_id)

            async def nobody_left() -> bool:
                return not await vtn.parties()

            await until("the end", nobody_left)
            assert await came(store, "oadrCanceledPartyRegistration")
        finally:
            await ven.end()


async def came(store: CheckedStore, name: str, count: int = 1) -> bool:
    return store.came.count(name) >= count


def new_key(kind: str) -> Key:
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def make_certificates(folder: Path, kind: str) -> None:
    """An authority, and certificates of a VTN and a VEN for TLS on loopback and for signatures."""
    folder.mkdir()
    keys = {name: new_key(kind) for name in ("ca", "vtn", "ven")}
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lab authority")])
    now = datetime.now(UTC)
    for name, key in keys.items():
        own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        is_ca = name == "ca"
        builder = (
            x509.CertificateBuilder()
            .subject_name(issuer if is_ca else own)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys["ca"].public_key()), critical=False)
        )
        if not is_ca:
            names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(keys["ca"], hashes.SHA256())
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def shown(folder: Path, name: str) -> str:
    certificate = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
    return fingerprint(certificate.public_bytes(serialization.Encoding.DER))


@pytest.mark.parametrize("kind", [pytest.param("rsa", marks=pytest.mark.soak), "ec"])
async def test_mutual_tls_and_signatures_with_an_openleadr_ven(file: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "tls"
    make_certificates(folder, kind)
    ven_print = shown(folder, "ven")

    def make(store: CheckedStore, ledger: SqlLedger) -> Vtn:
        declared = DeclaredParty(name="hall", fingerprints=(ven_print,), ven_id="VEN-hall")
        return Vtn(
            connection_id="program",
            vtn_id="Lab-VTN",
            store=store,
            now=lambda: datetime.now(UTC),
            poll_s=1,
            granularity_s=1,
            report_back_s=2,
            parties=VtnParties([declared], closed=True, certificates=True),
            signer=Signer(key_pem=(folder / "vtn.key").read_bytes(), certificate_pem=(folder / "vtn.crt").read_bytes()),
            verifier=Verifier(Pinned(ven_print), ReplayWindow(SqlNonceStore(ledger))),
        )

    tls = server_context(ca=folder / "ca.crt", certificate=folder / "vtn.crt", key=folder / "vtn.key")
    ven: OpenleadrVen | None = None
    try:
        async with Program(file, make, tls).life() as (vtn, url, _):
            ven = await OpenleadrVen.start(url, "--tls", str(folder), "--vtn-fingerprint", shown(folder, "vtn"))
            assert (await ven.says("ready"))["ven_id"] == "VEN-hall"
            (party,) = await vtn.parties()
            assert (party.name, party.party_id) == ("hall", "VEN-hall")
            await vtn.publish(an_event("shed", targets=(Target(kind="ven", value="VEN-hall"),)))
            assert await until("an answer", lambda: answered(vtn, "shed", 0)) == "in"
            await until("a report", lambda: vtn.reports(datetime.now(UTC) - timedelta(hours=1)))
    finally:
        if ven is not None:
            await ven.end()
