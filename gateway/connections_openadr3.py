"""Opens OpenADR 3: a VEN (3.1 and 3.0.1), a VTN (3.1)."""

import ssl
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from gateway.clock import Clock
from gateway.config.connections import MqttSettings, Ven3Settings, Vtn3Settings
from gateway.connection_parts import listener, report_offers, session
from gateway.domain.fleet import Site
from gateway.ledger import LedgerUnavailable
from gateway.listening import listening
from gateway.stages import Record
from gateway.tls import vtn_client_context
from protocols.errors import Rejected
from protocols.grid import GridConnection, GridProgram
from protocols.openadr3 import model
from protocols.openadr3.access import Access, Authorized, ClientCredentials, NoAccess, StaticToken
from protocols.openadr3.client_http import HttpExchange, Request
from protocols.openadr3.codec import decode_list
from protocols.openadr3.model_access import Anonymous, BearerToken, Mqtt
from protocols.openadr3.names import Version
from protocols.openadr3.ven import Ven
from protocols.openadr3.ven_mqtt import MqttTerms
from protocols.openadr3.ven_webhook import Webhook
from protocols.openadr3.vtn import Vtn
from protocols.openadr3.vtn_access import Client as DeclaredClient
from protocols.openadr3.vtn_access import Role
from protocols.openadr3.vtn_mqtt import MqttPublisher
from protocols.openadr3.vtn_webhook import HttpCallbacks


async def open_ven(
    edges: AsyncExitStack,
    settings: Ven3Settings,
    record: Record,
    site: Site,
    clock: Clock,  # noqa: ARG001 - as in 2.0b
) -> GridConnection:
    """Raises ``OSError`` where we cannot listen or a file cannot be read."""
    calls = await edges.enter_async_context(session(settings))
    access = _access(settings, calls)
    ven = Ven(
        connection_id=settings.name,
        ven_name=settings.name,
        exchange=Authorized(HttpExchange(settings.url, calls), access),
        store=record.parties,
        offers=report_offers(site, settings.reports),
        version=Version(settings.version),
        targets=settings.targets,
        program_names=settings.programs or None,
        poll_s=settings.poll_s,
        webhook=None if settings.webhook is None else Webhook(settings.webhook.url),
        mqtt=_mqtt(settings, access) if settings.mqtt else None,
    )
    if settings.webhook is not None:
        application = web.Application()
        application.add_routes(ven.routes())
        await edges.enter_async_context(listening(application, settings.webhook.listen, tls=listener(settings)))
    return ven


async def ask_for_programs(settings: Ven3Settings, calls: aiohttp.ClientSession) -> str:
    """What programs we may see. Raises ``ProtocolError``."""
    version = Version(settings.version)
    exchange = Authorized(HttpExchange(settings.url, calls), _access(settings, calls))
    answer = await exchange(Request(method="GET", path="/programs"), datetime.now(UTC))
    if answer.status != 200:
        raise Rejected(f"GET /programs: HTTP {answer.status}", code=str(answer.status))
    found = decode_list(answer.body, model.Program, version)
    names = ", ".join(sorted(item.name for item in found.items)) or "none"
    return f"the VTN takes our credentials; programs that we may see: {names}"


async def open_vtn(edges: AsyncExitStack, settings: Vtn3Settings, record: Record, clock: Clock) -> GridProgram:
    """A VTN, listening. Raises ``OSError`` where we cannot listen or a file cannot be read."""
    vtn = _vtn(settings, record, clock, _publisher(edges, settings.mqtt))
    application = web.Application()
    application.add_routes(vtn.routes())
    # A list may be asked for with all the targets that the definition allows.
    served = listening(application, settings.listen, tls=listener(settings), longest_line=1 << 17)
    await edges.enter_async_context(served)
    return vtn


async def mosquitto_acl(settings: Vtn3Settings, record: Record, clock: Clock) -> str:
    """Who may read and write what on the broker, as Mosquitto takes it, from who is registered now."""
    publisher = "" if settings.mqtt is None else settings.mqtt.username or ""
    return await _vtn(settings, record, clock, None).mosquitto_acl(publisher)


def _vtn(settings: Vtn3Settings, record: Record, clock: Clock, publisher: MqttPublisher | None) -> Vtn:
    return Vtn(
        connection_id=settings.name,
        base_url=settings.url,
        store=record.parties,
        objects=record.objects,
        clients=[
            DeclaredClient(
                client_id=client.client_id,
                secret_hash=client.secret_hash,
                role=Role(client.role),
                scopes=None if client.scopes is None else frozenset(client.scopes),
                webhook_key=None if client.webhook_key is None else client.webhook_key.get_secret_value().encode(),
            )
            for client in settings.client
        ],
        now=clock.now,
        callbacks=HttpCallbacks(
            tls=vtn_client_context(None, None, settings.ca, profile=settings.tls),
            allowed_hosts=settings.callback_hosts,
        ),
        publisher=publisher,
        broker_for=lambda _: _broker(settings.mqtt),
        power_every_s=settings.report_s,
        verified_every_s=settings.verified_s,
        unavailable=(LedgerUnavailable,),
    )


def _publisher(edges: AsyncExitStack, settings: MqttSettings | None) -> MqttPublisher | None:
    """Who publishes on the broker, closed by ``edges``; ``None`` where there is no broker."""
    if settings is None:
        return None
    url = urlsplit(settings.url)
    secure = url.scheme == "mqtts"
    publisher = MqttPublisher(
        host=url.hostname or "",
        port=url.port or (8883 if secure else 1883),
        tls=vtn_client_context(settings.certificate, settings.key, settings.ca) if secure else None,
        username=settings.username,
        password=None if settings.password is None else settings.password.get_secret_value(),
    )
    edges.push_async_callback(publisher.close)
    return publisher


def _broker(settings: MqttSettings | None) -> Mqtt | None:
    """How clients reach the broker: by its token, where it knows them by that, else as they like."""
    if settings is None:
        return None
    known_by = BearerToken(username="{clientID}") if settings.by_token else Anonymous()
    return Mqtt(uris=(settings.public_url or settings.url,), authentication=known_by)


def _access(settings: Ven3Settings, calls: aiohttp.ClientSession) -> Access:
    if settings.token is not None:
        return StaticToken(settings.token.get_secret_value())
    if settings.client_id is None:
        return NoAccess()
    return ClientCredentials(
        vtn_url=settings.url,
        client_id=settings.client_id,
        client_secret=_secret(settings),
        connect=lambda url: HttpExchange(url, calls),
        token_url=settings.token_url,
        scope=settings.scope or None,
    )


def _secret(settings: Ven3Settings) -> str:
    """Raises ``OSError`` where its file cannot be read."""
    if settings.client_secret_file is not None:
        return settings.client_secret_file.read_text(encoding="utf-8").strip()
    return "" if settings.client_secret is None else settings.client_secret.get_secret_value()


def _mqtt(settings: Ven3Settings, access: Access) -> MqttTerms:
    context: partial[ssl.SSLContext] = partial(
        vtn_client_context, settings.certificate, settings.key, settings.ca, profile=settings.tls
    )
    return MqttTerms(access=access, client_id=settings.client_id or "", context=context)
