"""Notifications by MQTT: where the VTN's broker is, which topics are ours, and waking when one speaks (3.1 only).

As with the webhook a notification is a hint and not read. A broker is reached over TLS (Definition, MQTT); what it may
send at once is bounded where it speaks MQTT 5.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from protocols.errors import Rejected, Unreachable
from protocols.json import MAX_BYTES
from protocols.openadr3.access import Access
from protocols.openadr3.client import Client
from protocols.openadr3.model_access import BearerToken, ClientCertificate, Mqtt, Notifiers, Topics
from protocols.openadr3.ven_registration import NOT_FOR_US

CONNECT_TIMEOUT_S = 10.0
MOST_TOPICS = 200
_PORTS = {"mqtts": 8883, "mqtt": 1883}
_QUEUED = 100
_OWN_CLIENT = "{clientID}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttTerms:
    """What a client brings to a VTN's broker: its own id and token, where the broker asks for these.

    ``context`` makes the TLS context that the broker is known by, its authority's certificate added where the VTN says
    one (PEM). ``plain_allowed`` lets a broker without TLS pass, for a network of one's own.
    """

    access: Access = field(repr=False)
    client_id: str = ""
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context
    plain_allowed: bool = False


async def listen(
    client: Client,
    terms: MqttTerms,
    woken: asyncio.Event,
    *,
    ven_id: str | None,
    program_ids: Iterable[str],
    now: datetime,
) -> bool:
    """Set ``woken`` at every notification for as long as the connection to the broker lasts.

    Returns false at once where the VTN has no broker or no topics for us. Raises ``Unreachable`` when there is no
    connection, or no longer one, ``Rejected`` for a broker that may not be used, and what the client does.
    """
    notifiers = await _allowed(client, Notifiers, "/notifiers", now)
    if notifiers is None or notifiers.mqtt is None:
        return False
    topics = await _topics(client, ven_id, program_ids, now)
    if not topics:
        return False
    host, port, secure = _address(notifiers.mqtt, plain_allowed=terms.plain_allowed)
    username, password = await _credentials(notifiers.mqtt, terms, now)
    try:
        tls = await asyncio.to_thread(_tls, notifiers.mqtt, terms) if secure else None
        await _follow(_brokers(host, port, username, password, tls), topics, woken)
    except (aiomqtt.MqttError, OSError, ValueError) as cause:
        raise Unreachable(f"the MQTT broker {host}:{port}: {str(cause) or type(cause).__name__}") from cause
    raise Unreachable(f"the MQTT broker {host}:{port} ended the conversation")


async def _follow(brokers: Iterable[aiomqtt.Client], topics: list[str], woken: asyncio.Event) -> None:
    """Listen at the first that takes us: the broker may speak 3.1.1 only."""
    fault: aiomqtt.MqttError | None = None
    for broker in brokers:
        try:
            await broker.__aenter__()
        except aiomqtt.MqttError as refused:
            fault = refused
            continue
        try:
            for topic in topics:
                await broker.subscribe(topic, qos=1)
            # Something may have been said before we listened.
            woken.set()
            async for _ in broker.messages:
                woken.set()
        finally:
            await broker.__aexit__(None, None, None)
        return
    if fault is not None:
        raise fault


def _brokers(
    host: str, port: int, username: str | None, password: str | None, tls: ssl.SSLContext | None
) -> Iterable[aiomqtt.Client]:
    for version in (aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311):
        properties = None
        if version is aiomqtt.ProtocolVersion.V5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no annotations here
            properties.MaximumPacketSize = MAX_BYTES
        yield aiomqtt.Client(
            host,
            port,
            username=username,
            password=password,
            protocol=version,
            timeout=CONNECT_TIMEOUT_S,
            max_queued_incoming_messages=_QUEUED,
            properties=properties,
            tls_context=tls,
        )


async def _allowed(client: Client, kind: type[Notifiers], path: str, now: datetime) -> Notifiers | None:
    try:
        return await client.get(kind, path, now)
    except Rejected as fault:
        if fault.code not in NOT_FOR_US:
            raise
        return None


async def _topics(client: Client, ven_id: str | None, program_ids: Iterable[str], now: datetime) -> list[str]:
    """The topics of what is for us: those of our ven, else of all programs and of the events of each."""
    base = "/notifiers/mqtt/topics"
    own = [] if ven_id is None else [f"{base}/vens/{ven_id}/events", f"{base}/vens/{ven_id}/programs"]
    found = [topic for path in own for topic in await _topics_at(client, path, now)]
    # What has no targets may be told there as well, or only where everybody hears it.
    shared = [f"{base}/programs", *(f"{base}/programs/{program_id}/events" for program_id in sorted(program_ids))]
    for path in shared:
        if len(found) < MOST_TOPICS:
            found += await _topics_at(client, path, now)
    return list(dict.fromkeys(found))[:MOST_TOPICS]


async def _topics_at(client: Client, path: str, now: datetime) -> list[str]:
    try:
        topics = await client.get(Topics, path, now)
    except Rejected as fault:
        if fault.code not in NOT_FOR_US:
            raise
        return []
    if topics is None:
        return []
    said = [topics.all] if topics.all else [topics.create, topics.update, topics.delete]
    return [topic for topic in said if topic]


def _address(mqtt: Mqtt, *, plain_allowed: bool) -> tuple[str, int, bool]:
    """Host and port of the first broker that may be used, and whether it is reached over TLS."""
    for uri in mqtt.uris:
        try:
            parts = urlsplit(uri)
            host, port = parts.hostname, parts.port
        except ValueError:
            continue
        if host and (parts.scheme == "mqtts" or (parts.scheme == "mqtt" and plain_allowed)):
            return host, port or _PORTS[parts.scheme], parts.scheme == "mqtts"
    raise Rejected(
        f"the VTN names no MQTT broker that may be used ({', '.join(mqtt.uris)[:200]}): mqtts:// is needed",
        code="insecure",
    )


async def _credentials(mqtt: Mqtt, terms: MqttTerms, now: datetime) -> tuple[str | None, str | None]:
    asked = mqtt.authentication
    if not isinstance(asked, BearerToken):
        return None, None
    username = terms.client_id if asked.username == _OWN_CLIENT else asked.username
    return username, await terms.access.token(now)


def _tls(mqtt: Mqtt, terms: MqttTerms) -> ssl.SSLContext:
    """The caller's context, with what the VTN gives us for this broker. Raises ``OSError``, ``ssl.SSLError`` is one."""
    context = terms.context()
    asked = mqtt.authentication
    if isinstance(asked, ClientCertificate):
        context.load_verify_locations(cadata=asked.ca_certificate)
        # Only files are taken: ours for a moment, and nobody else's.
        with TemporaryDirectory() as folder:
            pair = Path(folder) / "pair.pem"
            pair.touch(mode=0o600)
            pair.write_text(f"{asked.certificate}\n{asked.key}\n")
            context.load_cert_chain(pair)
    return context
