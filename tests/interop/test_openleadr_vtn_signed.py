"""Our VEN and a real openleadr VTN over mutual TLS, every message signed both ways, with RSA and with curves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.tls import vtn_client_context
from protocols.errors import NotRegistered, ProtocolError, Rejected
from protocols.grid import EventBatch, EventStatus, Opt, OptDecision, OptSchedule
from protocols.grid_report import (
    IntervalReport,
    ReportInterval,
    ReportOffer,
    ReportOrder,
    ReportQuantity,
    ResourceState,
)
from protocols.openadr2b.certificate import Pinned, fingerprint
from protocols.openadr2b.codec import is_signed
from protocols.openadr2b.signature import Signer, Verifier
from protocols.openadr2b.ven import HttpExchange, Ven
from protocols.replay import MemoryNonces, ReplayWindow
from protocols.xml import parse
from tests.certificates import Identity, authority
from tests.lab import OpenleadrVtn, free_port
from tests.unit.protocols.openadr2b.conftest import MemoryStore

pytestmark = pytest.mark.timeout(120)

WITHIN_S = 30.0


@dataclass(kw_only=True)
class Party:
    """Certificates of both sides as files."""

    folder: Path
    vtn: Identity
    ven: Identity

    def signer(self) -> Signer:
        return Signer(key_pem=self.ven.key_pem, certificate_pem=self.ven.pem)

    def verifier(self) -> Verifier:
        return Verifier(Pinned(fingerprint(self.vtn.der)), ReplayWindow(MemoryNonces()))


@pytest.fixture(params=["rsa", "curve"])
def party(request: pytest.FixtureRequest, tmp_path: Path) -> Party:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    root = authority(begins_at=yesterday)

    def identity(name: str) -> Identity:
        key = rsa.generate_private_key(65537, 2048) if request.param == "rsa" else None
        return root.vouch(name, key=key, begins_at=yesterday)

    made = Party(folder=tmp_path, vtn=identity("localhost"), ven=identity("gateway"))
    (tmp_path / "ca.crt").write_bytes(root.pem)
    for name, held in (("vtn", made.vtn), ("ven", made.ven)):
        (tmp_path / f"{name}.crt").write_bytes(held.pem)
        (tmp_path / f"{name}.key").write_bytes(held.key_pem)
    return made


@dataclass(kw_only=True)
class Site:
    """Takes turns in the background and says yes to everything."""

    ven: Ven
    store: MemoryStore
    batches: list[EventBatch] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            try:
                batch = await self.ven.receive(datetime.now(UTC))
                if batch is not None:
                    self.batches.append(batch)
                    await self.ven.respond(batch, [_yes(one.event_id, one.revision) for one in batch.events], _now())
            except ProtocolError as fault:
                self.faults.append(f"{type(fault).__name__}: {fault}")
            await asyncio.sleep(0.2)

    async def until(self, what: str, found: Callable[[], object]) -> None:
        for _ in range(int(WITHIN_S / 0.1)):
            if found():
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"not within {WITHIN_S} s: {what}; faults: {self.faults[-3:]}")

    def status_of(self, event_id: str) -> EventStatus | None:
        found = [one.status for batch in self.batches for one in batch.events if one.event_id == event_id]
        return found[-1] if found else None


def _now() -> datetime:
    return datetime.now(UTC)


def _yes(event_id: str, revision: int, opt: Opt = Opt.IN) -> OptDecision:
    return OptDecision(connection_id="c", event_id=event_id, revision=revision, opt=opt, decided_at=_now())


@asynccontextmanager
async def a_site(party: Party, port: int, *, signs: bool = True) -> AsyncIterator[Site]:
    tls = vtn_client_context(
        party.folder / "ven.crt", party.folder / "ven.key", party.folder / "ca.crt", profile="openadr2b"
    )
    store = MemoryStore()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        ven = Ven(
            connection_id="c",
            ven_name="gateway",
            exchange=HttpExchange(f"https://localhost:{port}/OpenADR2/Simple/2.0b", session),
            store=store,
            offers=(
                ReportOffer(
                    resource_id="site-1",
                    min_sampling_s=1,
                    max_sampling_s=60,
                    quantities=tuple(ReportQuantity),
                    history_s=86_400.0,
                ),
            ),
            signer=party.signer() if signs else None,
            verifier=party.verifier(),
        )
        site = Site(ven=ven, store=store)
        task = asyncio.create_task(site.run())
        try:
            yield site
        finally:
            task.cancel()


@pytest.fixture
def lives() -> Iterator[list[OpenleadrVtn]]:
    begun: list[OpenleadrVtn] = []
    yield begun
    for life in begun:
        life.end()


async def hear(vtn: OpenleadrVtn, what: str, **facts: object) -> dict[str, object]:
    return await asyncio.to_thread(vtn.wait_for, what, WITHIN_S, **facts)


async def begin(lives: list[OpenleadrVtn], port: int, party: Party) -> OpenleadrVtn:
    lives.append(await asyncio.to_thread(OpenleadrVtn, port, str(len(lives) + 1), party.folder))
    return lives[-1]


async def test_a_whole_signed_conversation(party: Party, lives: list[OpenleadrVtn]) -> None:
    port = free_port()
    vtn = await begin(lives, port, party)
    async with a_site(party, port) as site:
        registered = await hear(vtn, "registered", ven_name="gateway")
        assert registered["fingerprint"] == site.ven.fingerprint
        await hear(vtn, "report offered", resource_id="site-1")
        order = await _ordered(site, ReportQuantity.POWER)
        await _reports(site, vtn, order)
        await _reports_what_rests_on_a_baseline(site, vtn)
        await _takes_part_and_changes_its_mind(site, vtn)
        with pytest.raises(Rejected, match="no EiOpt service"):
            await site.ven.create_opt(_schedule(), _now())

        vtn.end()
        again = await begin(lives, port, party)
        await hear(again, "registered", ven_name="gateway")
        await hear(again, "report offered", resource_id="site-1")
        await site.until(
            "it orders anew", lambda: {one.order_id for one in site.store.kept_orders.values()} - {order.order_id}
        )
        again.tell(do="event", event_id="second", ven_id=again.ven_id, in_s=600, interval_s=60, levels=[1])
        await hear(again, "answer", event_id="second", opt_type="optIn")

        await site.ven.deregister(_now())
        await hear(again, "registration cancelled", ven_id=again.ven_id)
        await site.until("we stay away", lambda: any("start the gateway anew" in fault for fault in site.faults))
    assert all(is_signed(parse(message.body)) for message in site.store.messages)


async def _ordered(site: Site, *quantities: ReportQuantity) -> ReportOrder:
    def found() -> list[ReportOrder]:
        return [one for one in site.store.kept_orders.values() if one.quantities == quantities]

    await site.until(f"{quantities} is ordered", found)
    return found()[0]


async def _reports(site: Site, vtn: OpenleadrVtn, order: ReportOrder) -> None:
    starts_at = _now().replace(microsecond=0) - timedelta(seconds=10)
    report = IntervalReport(
        report_id="report-1",
        order_id=order.order_id,
        connection_id="c",
        resource_id="site-1",
        created_at=_now(),
        intervals=tuple(
            ReportInterval(
                starts_at=starts_at + timedelta(seconds=2 * index),
                duration_s=2.0,
                power_w=1000.0 + index,
                coverage_fraction=1.0,
            )
            for index in range(5)
        ),
    )
    receipt = await site.ven.send_report(report, _now())
    assert receipt.accepted, receipt
    heard = await hear(vtn, "report data", resource_id="site-1")
    assert [value for _, value in heard["data"]] == [1000.0, 1001.0, 1002.0, 1003.0, 1004.0]  # type: ignore[attr-defined] - a list


async def _reports_what_rests_on_a_baseline(site: Site, vtn: OpenleadrVtn) -> None:
    order = await _ordered(site, ReportQuantity.BASELINE, ReportQuantity.REDUCTION, ReportQuantity.AVAILABLE)
    interval = ReportInterval(
        starts_at=_now().replace(microsecond=0) - timedelta(seconds=10),
        duration_s=2.0,
        power_w=None,
        coverage_fraction=1.0,
        baseline_w=900.0,
        reduction_w=300.0,
        available_w=200.0,
        preliminary=True,
    )
    report = IntervalReport(
        report_id="report-2",
        order_id=order.order_id,
        connection_id="c",
        resource_id="site-1",
        created_at=_now(),
        intervals=(interval,),
    )
    for one in (report, replace(report, report_id="report-2~s", corrects="report-2")):
        receipt = await site.ven.send_report(one, _now())
        assert receipt.accepted, receipt
    order = await _ordered(site, ReportQuantity.STATE)
    standing = replace(
        interval, baseline_w=None, reduction_w=None, available_w=None, state=ResourceState(online=True, power_w=5.0)
    )
    status = replace(report, report_id="report-3", order_id=order.order_id, intervals=(standing,))
    # It orders states and cannot read them: that must not look like a report that was taken.
    with pytest.raises(Rejected, match="HTTP 500"):
        await site.ven.send_report(status, _now())
    await site.until("each data point is heard", lambda: vtn.count("report data", resource_id="site-1") == 7)


async def _takes_part_and_changes_its_mind(site: Site, vtn: OpenleadrVtn) -> None:
    vtn.tell(do="event", event_id="first", ven_id=vtn.ven_id, in_s=600, interval_s=60, levels=[1, 2])
    await hear(vtn, "answer", event_id="first", opt_type="optIn")
    assert await site.ven.restate(_yes("first", 0, Opt.OUT), _now()) is None
    await hear(vtn, "answer", event_id="first", opt_type="optOut")
    vtn.tell(do="cancel", event_id="first", ven_id=vtn.ven_id)
    await site.until("the cancellation is heard", lambda: site.status_of("first") is EventStatus.CANCELLED)


def _schedule() -> OptSchedule:
    return OptSchedule(
        opt_id="opt-1",
        connection_id="c",
        opt=Opt.OUT,
        created_at=_now(),
        periods=((_now() + timedelta(days=1), 3600.0),),
    )


@pytest.mark.parametrize("party", ["curve"], indirect=True)
async def test_a_ven_that_does_not_sign_is_told_so(party: Party, lives: list[OpenleadrVtn]) -> None:
    port = free_port()
    await begin(lives, port, party)
    async with a_site(party, port, signs=False) as site:
        await site.until("a refusal", lambda: site.faults)
        with pytest.raises((Rejected, NotRegistered)):
            await site.ven.receive(_now())
