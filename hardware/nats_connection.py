"""A connection to NATS that is made again for ever, by gateway and agents alike.

Each attempt has a new TLS context, so that a renewed certificate is taken up. Waits are random (full jitter) up to a
bound that doubles: when a server comes back a fleet does not come to it all at once.
"""

import asyncio
import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from hardware.errors import AgentUnreachable
from hardware.nats_client import Handler, NatsClient, connect, in_words

log = structlog.get_logger()

CONNECT_S = 10.0
"""A whole connect with its handshakes; a server that takes ten thousand at once needs some seconds."""

PING_S = 5
"""A server that leaves two pings unanswered has gone."""


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
        ping_s: float = PING_S,
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
        self._client: NatsClient | None = None
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
            await client.close()

    def renew(self) -> None:
        """Connect anew, as with a new certificate."""
        self._again.set()

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Hand a message to the server. Raises ``AgentUnreachable`` where there is none."""
        client = self._client
        if client is None:
            raise AgentUnreachable(
                f"no connection to NATS: {self.fault}", cure="see that the NATS server runs and can be reached"
            )
        client.publish(subject, payload, reply)

    async def _keep(self) -> None:
        wait_s, turn = self._first_wait_s, int(_jitter() * len(self._servers))
        while True:
            self._again.clear()
            try:
                async with asyncio.timeout(CONNECT_S):
                    client = await self._connect(self._servers[turn % len(self._servers)])
            except (AgentUnreachable, OSError) as cause:
                self._down(in_words(cause))
            else:
                wait_s = self._first_wait_s
                self._client, self.fault = client, None
                log.info("nats_connected", name=self._name)
                self._on_up()
                # Until it has ended, or is to be made anew.
                await self._again.wait()
                self._client = None
                self._down(client.end or "connecting anew")
                await client.close()
            turn += 1
            await asyncio.sleep(wait_s * _jitter())
            wait_s = min(self._most_wait_s, 2 * wait_s)

    async def _connect(self, server: str) -> NatsClient:
        return await connect(
            server,
            name=self._name,
            handlers=self._handlers,
            tls=None if self._tls is None else self._tls(),
            ping_s=self._ping_s,
            on_end=self._again.set,
        )

    def _down(self, reason: str) -> None:
        if self.fault != reason:
            self.fault = reason
            log.warning("nats_down", name=self._name, reason=reason)
            self._on_down(reason)


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads a crowd, guards nothing
