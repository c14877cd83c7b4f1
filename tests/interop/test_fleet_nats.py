"""Gateway and agents over a real NATS server with mutual TLS: who may say what, and what outlives what."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import nats
import pytest
from nats.errors import Error as NatsError

from hardware.device import CapCommand, Lease, Outcome
from hardware.errors import AgentUnreachable, Condition, WireError
from hardware.fleet import AgentFleet
from hardware.nats_client import Message
from hardware.nats_connection import NatsConnection
from hardware.nats_link import NatsHosts
from hardware.nats_names import ask_subject, bye_subject, hello_subject
from hardware.wire import Describe, Described
from tests.nats_server import SITE, HostAgent, NatsServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    made = NatsServer(tmp_path)
    made.enrol("h00", "h01")
    try:
        yield made.start()
    finally:
        made.end()


class Side:
    """A gateway's fleet, and the agents that a test starts."""

    def __init__(self, server: NatsServer) -> None:
        self.server = server
        self.fleets: list[AgentFleet] = []
        self.agents: list[HostAgent] = []
        self.sequence = 0

    def gateway(self, *, timeout_s: float = 2.0) -> tuple[AgentFleet, NatsHosts]:
        hosts = NatsHosts(
            site_id=SITE,
            servers=[self.server.url],
            enrolled=self.server.enrolment.hosts,
            tls=self.server.gateway_tls,
            timeout_s=timeout_s,
        )
        fleet = AgentFleet([], hosts)
        self.fleets.append(fleet)
        return fleet, hosts

    async def agent(self, host_id: str) -> HostAgent:
        made = HostAgent(self.server, host_id)
        self.agents.append(made)
        return await made.start()

    def commands(self, fleet: AgentFleet, cap_w: float, *, epoch: int = 1, lasts_s: float = 30.0) -> list[CapCommand]:
        self.sequence += 1
        lease = Lease(epoch=epoch, sequence=self.sequence, duration_s=lasts_s)
        return [CapCommand(device_id=one, cap_w=cap_w, lease=lease) for one in fleet.devices()]

    async def end(self) -> None:
        for fleet in self.fleets:
            await fleet.close()
        for agent in self.agents:
            await agent.stop()


@pytest.fixture
async def side(server: NatsServer) -> AsyncIterator[Side]:
    made = Side(server)
    yield made
    await made.end()


async def until(what: str, question: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not question():
        assert time.monotonic() < deadline, f"waited {within_s:g} s in vain: {what}"
        await asyncio.sleep(0.02)


async def until_present(fleet: AgentFleet, devices: int, within_s: float = 30.0) -> None:
    """Refresh until so many devices are there."""
    with contextlib.suppress(AgentUnreachable):
        await fleet.refresh()
    await until(
        f"{devices} devices are present",
        lambda: sum(view.present for view in fleet.devices().values()) == devices,
        within_s,
    )


@contextlib.asynccontextmanager
async def as_somebody(server: NatsServer, tls: ssl.SSLContext) -> AsyncIterator[tuple[nats.NATS, list[str]]]:
    """A plain client of the server, and what the server complains of."""
    complaints: list[str] = []

    async def complain(fault: Exception) -> None:
        complaints.append(str(fault).lower())

    client = await nats.connect(
        server.url,
        tls=tls,
        tls_handshake_first=True,
        error_cb=complain,
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=0,
    )
    try:
        yield client, complaints
    finally:
        await client.close()


@pytest.mark.parametrize("subject", [ask_subject(SITE, "h01"), ">", f"gridgate.{SITE}.reply.>", "_INBOX.>"])
async def test_agent_hears_only_its_own_subject(server, subject):
    async with as_somebody(server, server.host_tls("h00")()) as (client, complaints):
        heard = await client.subscribe(subject)
        await client.flush()
        await until("the server complains", lambda: any("permissions violation" in one for one in complaints))
        assert heard.pending_msgs == 0


@pytest.mark.parametrize(
    "subject",
    [
        hello_subject(SITE, "h01"),
        bye_subject(SITE, "h01"),
        ask_subject(SITE, "h01"),
        ask_subject(SITE, "h00"),
        f"gridgate.{SITE}.reply.0123456789abcdef.h01.1",
        "anything",
    ],
)
async def test_agent_speaks_only_for_itself(server, subject):
    async with as_somebody(server, server.host_tls("h00")()) as (client, complaints):
        await client.publish(subject, b"{}")
        await client.flush()
        await until("the server complains", lambda: any("permissions violation" in one for one in complaints))


async def test_certificate_of_another_fleet_is_refused(server, tmp_path):
    other = NatsServer(tmp_path / "other")
    other.enrol("h00")
    (other.folder / "ca.pem").write_bytes((server.folder / "ca.pem").read_bytes())
    with pytest.raises((NatsError, OSError)):
        async with as_somebody(server, other.host_tls("h00")()):
            pass
    with pytest.raises((NatsError, OSError)):
        async with as_somebody(server, ssl.create_default_context(cafile=str(server.folder / "ca.pem"))):
            pass


async def test_server_of_another_fleet_is_refused_in_words(server, tmp_path):
    other = NatsServer(tmp_path / "other")
    reasons: list[str] = []
    connection = NatsConnection(
        servers=[server.url], name="stray", handlers={}, tls=other.gateway_tls, on_down=reasons.append
    )
    connection.start()
    await until("it says why", lambda: bool(reasons))
    await connection.close()
    assert "certificate is not trusted" in reasons[0]


async def test_removed_host_is_out_and_its_old_certificate_stays_so(server, side):
    fleet, _ = side.gateway()
    await side.agent("h00")
    await until_present(fleet, 2)
    old = (server.folder / "h00.pem").read_bytes()
    server.enrolment.remove("h00")
    server.reload()
    with contextlib.suppress(AgentUnreachable):
        await fleet.refresh()
    assert fleet.devices() == {}
    server.enrol("h00")
    (server.folder / "h00.pem").write_bytes(old)
    with pytest.raises((NatsError, OSError)):
        async with as_somebody(server, server.host_tls("h00")()):
            pass


async def test_missing_host_is_known_at_once(side):
    fleet, hosts = side.gateway(timeout_s=30.0)
    await side.agent("h00")
    await until_present(fleet, 2)
    began = time.monotonic()
    replies = await hosts.ask({"h00": Describe(), "h01": Describe()})
    assert time.monotonic() - began < 10.0
    assert isinstance(replies["h00"], Described)
    missing = replies["h01"]
    assert isinstance(missing, AgentUnreachable)
    assert missing.condition is Condition.LOST
    assert "h01" in missing.cure


async def test_agent_that_goes_is_absent_at_once_and_back_at_once(side):
    fleet, _ = side.gateway()
    first = await side.agent("h00")
    await side.agent("h01")
    await until_present(fleet, 4)
    await first.stop()
    await until("it is absent", lambda: not fleet.devices()["h00-d0"].present)
    assert fleet.devices()["h01-d0"].present
    fault = fleet.devices()["h00-d0"].fault
    assert fault is not None
    assert "start `gridgate agent`" in fault.cure
    results = await fleet.apply(side.commands(fleet, 250.0))
    assert {result.device_id: result.outcome for result in results} == {
        "h00-d0": Outcome.LOST,
        "h00-d1": Outcome.LOST,
        "h01-d0": Outcome.APPLIED,
        "h01-d1": Outcome.APPLIED,
    }
    await side.agent("h00")
    await until("it is back", lambda: fleet.devices()["h00-d0"].present)
    assert fleet.devices()["h00-d0"].fault is None


async def test_slow_agent_holds_up_nobody(side):
    fleet, _ = side.gateway(timeout_s=1.0)
    slow = await side.agent("h00")
    await side.agent("h01")
    await until_present(fleet, 4)
    slow.answers.clear()
    results = await fleet.apply(side.commands(fleet, 250.0))
    assert [result.outcome for result in results if result.device_id.startswith("h01")] == [Outcome.APPLIED] * 2
    late = [result for result in results if result.device_id.startswith("h00")]
    assert [result.outcome for result in late] == [Outcome.TIMED_OUT] * 2
    asked = slow.asked
    began = time.monotonic()
    for _ in range(20):
        await fleet.apply(side.commands(fleet, 250.0))
    assert time.monotonic() - began < 20 * 0.5, "it is waited for once, not at each step"
    assert slow.asked == asked, "nothing piles up at it"
    slow.answers.set()
    await until("its late answer says that it is back", lambda: slow.limits_w() == {250.0})
    deadline = time.monotonic() + 20.0
    while {one.outcome for one in await fleet.apply(side.commands(fleet, 240.0))} != {Outcome.APPLIED}:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_flooded_agent_says_that_it_is_busy(side, server):
    agent = await side.agent("h00")
    fleet, _ = side.gateway()
    await until_present(fleet, 2)
    agent.answers.clear()
    told: list[bytes] = []
    prefix = f"gridgate.{SITE}.reply.flood"
    flood = NatsConnection(
        servers=[server.url],
        name="flood",
        handlers={f"{prefix}.>": lambda message: told.append(message.data)},
        tls=server.gateway_tls,
    )
    flood.start()
    await until("it is connected", lambda: flood.fault is None)
    line = b'{"version": 1, "message": {"kind": "describe"}}'
    for number in range(12):
        flood.publish(ask_subject(SITE, "h00"), line, f"{prefix}.h00.{number}")
    await until("three are turned away", lambda: len(told) >= 3)
    assert all(b"busy" in one for one in told)
    agent.answers.set()
    await until("the others are answered", lambda: len(told) == 12)
    await flood.close()


async def test_no_answer_is_dropped_however_many_come_at_once(server):
    """A burst of twice a whole fleet's answers, while the loop is held up."""
    heard: list[str] = []

    def hear(message: Message) -> None:
        if not heard:
            time.sleep(0.5)
        heard.append(message.subject)

    prefix = f"gridgate.{SITE}.reply.burst"
    gateway = NatsConnection(
        servers=[server.url], name="gateway", handlers={f"{prefix}.>": hear}, tls=server.gateway_tls
    )
    gateway.start()
    await until("it is connected", lambda: gateway.fault is None)
    async with as_somebody(server, server.host_tls("h00")()) as (client, complaints):
        for number in range(20_000):
            await client.publish(f"{prefix}.h00.{number}", b"x" * 1000)
        await until("all are heard", lambda: len(heard) == 20_000)
        assert complaints == []
    assert gateway.fault is None
    await gateway.close()


@pytest.mark.parametrize("answer", [b"", b"{", b"[" * 100_000, b'{"version": 2, "message": {}}', b"\xff" * 1000])
async def test_answer_that_is_none_is_a_refusal_of_that_host_only(side, server, answer):
    fleet, hosts = side.gateway()
    await side.agent("h01")
    await until_present(fleet, 2)
    async with as_somebody(server, server.host_tls("h00")()) as (client, _):

        async def lie(message: nats.aio.msg.Msg) -> None:
            await client.publish(message.reply, answer)

        await client.subscribe(ask_subject(SITE, "h00"), cb=lie)
        await client.flush()
        # The library's first ping may overtake the subscription.
        await client.flush()
        replies = await hosts.ask({"h00": Describe(), "h01": Describe()})
    assert isinstance(replies["h00"], WireError)
    assert isinstance(replies["h01"], Described)


async def test_agent_cannot_answer_for_another_though_it_knows_the_subject(side, server):
    fleet, hosts = side.gateway(timeout_s=1.0)
    silent = await side.agent("h01")
    await until_present(fleet, 2)
    silent.answers.clear()
    async with as_somebody(server, server.host_tls("h00")()) as (client, complaints):
        asking = asyncio.create_task(hosts.ask({"h01": Describe()}))
        await until("h01 is asked", lambda: silent.asked > 1)
        for number in range(1, 20):
            await client.publish(f"{hosts._prefix}h01.{number}", b"{}")
            # Its own subject with another host's number.
            await client.publish(f"{hosts._prefix}h00.{number}", b"{}")
        await client.flush()
        replies = await asking
        assert any("permissions violation" in one for one in complaints)
    assert isinstance(replies["h01"], AgentUnreachable)
    silent.answers.set()


async def test_two_gateways_the_lower_epoch_is_refused(side):
    old, _ = side.gateway()
    new, _ = side.gateway()
    await side.agent("h00")
    await until_present(old, 2)
    await until_present(new, 2)
    assert {one.outcome for one in await old.apply(side.commands(old, 300.0, epoch=4))} == {Outcome.APPLIED}
    taken_over, late = await asyncio.gather(
        new.apply(side.commands(new, 250.0, epoch=5)), old.apply(side.commands(old, 200.0, epoch=3))
    )
    assert {one.outcome for one in taken_over} == {Outcome.APPLIED}
    assert {one.outcome for one in late} == {Outcome.REFUSED}
    refused = await old.apply(side.commands(old, 200.0, epoch=4))
    assert {one.outcome for one in refused} == {Outcome.REFUSED}
    await new.refresh()
    assert {view.limit_w for view in new.devices().values()} == {250.0}
    assert new.highest_epoch == 5


async def test_server_killed_in_the_middle_of_a_lease(side, server):
    fleet, _ = side.gateway()
    agent = await side.agent("h00")
    await until_present(fleet, 2)
    await fleet.apply(side.commands(fleet, 250.0, epoch=4, lasts_s=4.0))
    server.kill()
    await until("the gateway notices", lambda: fleet._hosts.fault is not None)
    with pytest.raises(AgentUnreachable, match="no connection to NATS") as told:
        await fleet.refresh()
    assert "NATS server runs" in told.value.cure
    began = time.monotonic()
    results = await fleet.apply(side.commands(fleet, 240.0, epoch=4))
    assert {one.outcome for one in results} == {Outcome.TIMED_OUT}
    assert time.monotonic() - began < 1.0, "known at once"
    assert all(view.present for view in fleet.devices().values()), "as last heard of"
    await until("the agent puts back by lease", lambda: agent.limits_w() == {400.0})
    server.start()
    await until("the gateway is back", lambda: fleet._hosts.fault is None)
    await until_present(fleet, 2)
    assert {one.outcome for one in await fleet.apply(side.commands(fleet, 250.0, epoch=3))} == {Outcome.REFUSED}
    assert {one.outcome for one in await fleet.apply(side.commands(fleet, 250.0, epoch=4))} == {Outcome.APPLIED}
    assert fleet.highest_epoch == 4


async def test_two_hundred_agents_come_back_after_a_restart(side, server):
    names = [f"h{number}" for number in range(100, 300)]
    server.enrol(*names)
    started: list[Awaitable[HostAgent]] = [side.agent(name) for name in names]
    await asyncio.gather(*started)
    fleet, _ = side.gateway(timeout_s=5.0)
    await until_present(fleet, 400, within_s=60.0)
    server.kill()
    await until("the gateway notices", lambda: fleet._hosts.fault is not None)
    server.start()
    await until("the gateway is back", lambda: fleet._hosts.fault is None)
    # An agent comes back when it does, and one that was slow is left alone for a while: a gateway asks again.
    deadline = time.monotonic() + 60.0
    missed = 400
    while missed:
        assert time.monotonic() < deadline, f"{missed} of 400 devices are still not to be had"
        results = await fleet.apply(side.commands(fleet, 250.0))
        missed = sum(one.outcome is not Outcome.APPLIED for one in results)
