"""A connection to NATS that is made again for ever, by gateway and agents alike.

Each attempt is a new client with a new TLS context, so that a renewed certificate is taken up; the library's own way
back would give up for good at some errors of the server. Waits are random (full jitter) up to a bound that doubles:
when a server comes back a fleet does not come to it all at once.
"""

import asyncio
import random
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from hardware.errors import AgentUnreachable

log = structlog.get_logger()

CONNECT_S = 10.0
"""A whole connect with its handshakes; a server that takes ten thousand at once needs some seconds."""

CLOSE_S = 2.0

PING_S = 5
"""A server that leaves two pings unanswered has gone."""

LOOK_S = 0.25

PENDING_MESSAGES = 65_536
PENDING_BYTES = 256 * 1024 * 1024
"""What may wait to be handled: more than a fleet of ten thousand can have on its way, so that no answer is dropped."""

OUTBOUND_BYTES = 64 * 1024 * 1024

Handler = Callable[[Msg], None]


class NatsConnection:
    """Subscriptions that outlive connections. ``handlers`` are by subject and must neither wait nor raise.

    ``tls`` makes a context for each attempt (``None`` for a plain connection, on loopback only). ``on_up`` is called
    after each connect, with the subscriptions in force; ``on_down`` with the reason, once a change.
    """

    def __init__(
        self,
        *,
        servers: Sequence[str],
        name: str,
        handlers: Mapping[str, Handler],
        tls: Callable[[], ssl.SSLContext] | None = None,
        on_up: Callable[[], None] = lambda: None,
        on_down: Callable[[str], None] = lambda _: None,
        first_wait_s: float = 0.5,
        most_wait_s: float = 15.0,
        ping_s: int = PING_S,
    ) -> None:
        self._servers = tuple(servers)
        self._name = name
        self._handlers = dict(handlers)
        self._tls = tls
        self._on_up = on_up
        self._on_down = on_down
        self._first_wait_s = first_wait_s
        self._most_wait_s = most_wait_s
        self._ping_s = ping_s
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._again = asyncio.Event()
        self.fault: str | None = "not connected yet"
        """Why there is no connection now, ``None`` while there is one."""

    def start(self) -> None:
        """Begin to connect, and go on for ever."""
        self._task = asyncio.create_task(self._keep(), name=f"nats {self._name}")

    async def close(self) -> None:
        """Send what waits, and let go."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        client, self._client = self._client, None
        self.fault = "closed"
        if client is not None:
            await _let_go(client)

    def renew(self) -> None:
        """Connect anew, as with a new certificate."""
        self._again.set()

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Hand a message to the server. Raises ``AgentUnreachable`` where there is none."""
        client = self._client
        if client is None:
            raise AgentUnreachable(
                f"no connection to NATS: {self.fault}", cure="see that the NATS server runs and can be reached"
            )
        try:
            await client.publish(subject, payload, reply=reply)
        except (NatsError, OSError) as cause:
            raise AgentUnreachable(f"NATS did not take the message: {_in_words(cause)}") from cause

    async def _keep(self) -> None:
        wait_s, turn = self._first_wait_s, int(_jitter() * len(self._servers))
        while True:
            self._again.clear()
            try:
                async with asyncio.timeout(CONNECT_S):
                    await self._connect(self._servers[turn % len(self._servers)])
            except (NatsError, OSError) as cause:
                self._down(_in_words(cause))
            else:
                wait_s = self._first_wait_s
                self.fault = None
                log.info("nats_connected", name=self._name)
                self._on_up()
                await self._until_ended()
                client, self._client = self._client, None
                if client is not None:
                    reason = client.last_error
                    self._down("the connection ended" if reason is None else _in_words(reason))
                    await _let_go(client)
            turn += 1
            await asyncio.sleep(wait_s * _jitter())
            wait_s = min(self._most_wait_s, 2 * wait_s)

    async def _until_ended(self) -> None:
        """Wait until the connection has ended, or is to be made anew.

        Looked at, too, and not only waited for: the library may stumble over a broken connection before it calls back.
        """
        while not self._again.is_set() and self._client is not None and self._client.is_connected:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._again.wait()

    async def _connect(self, server: str) -> None:
        client = Client()

        async def closed() -> None:
            if self._client is client:
                self._again.set()

        async def told(fault: Exception) -> None:
            log.debug("nats_error", name=self._name, reason=_in_words(fault))

        try:
            await client.connect(
                [server],
                name=self._name,
                tls=None if self._tls is None else self._tls(),
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=int(CONNECT_S),
                ping_interval=self._ping_s,
                pending_size=OUTBOUND_BYTES,
                closed_cb=closed,
                error_cb=told,
                skip_subject_validation=True,
            )
            for subject, handler in self._handlers.items():
                await client.subscribe(
                    subject,
                    cb=_awaitable(handler),
                    pending_msgs_limit=PENDING_MESSAGES,
                    pending_bytes_limit=PENDING_BYTES,
                )
            # The library's first ping may overtake the subscriptions; once the second is answered they are in force.
            await client.flush(timeout=int(CONNECT_S))
            await client.flush(timeout=int(CONNECT_S))
        except BaseException:
            await _let_go(client)
            raise
        if client.is_closed:
            raise client.last_error or ConnectionResetError("the server ended the connection")
        self._client = client

    def _down(self, reason: str) -> None:
        if self.fault != reason:
            self.fault = reason
            log.warning("nats_down", name=self._name, reason=reason)
            self._on_down(reason)


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads a crowd, guards nothing


def _awaitable(handler: Handler) -> Callable[[Msg], Coroutine[Any, Any, None]]:
    async def handle(message: Msg) -> None:
        handler(message)

    return handle


async def _let_go(client: Client) -> None:
    """Close what may already be broken, in bounded time."""
    with suppress(NatsError, OSError):
        async with asyncio.timeout(CLOSE_S):
            await client.close()


def _in_words(fault: Exception) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"the NATS server's certificate is not trusted: {fault.verify_message}"
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    return str(fault) or type(fault).__name__
