"""The agent's door on NATS: its own subject, one answer a request, and a word when it comes and when it goes."""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from hardware.errors import AgentUnreachable
from hardware.nats_client import Message
from hardware.nats_connection import NatsConnection
from hardware.nats_names import ask_subject, bye_subject, hello_subject
from hardware.wire import Answer, Failed, encode_reply

MOST_WAITING = 8
"""So many requests may wait here. A gateway asks one at a time for each of its few purposes; more is a flood."""

PING_S = 20
"""Of ten thousand agents that is 500 pings a second."""

MOST_WAIT_S = 15.0

LOOK_S = 3600.0
"""How often a certificate's age is looked at; in its last third there is time for hundreds of attempts."""


class NatsDoor:
    """Serves gateways over NATS. ``now_s`` is the agent's clock, ``tls`` makes a context for each connect.

    ``keep_certificate`` renews the certificate where it is due, and says whether it did; it is called every ``look_s``.
    """

    def __init__(
        self,
        *,
        site_id: str,
        host_id: str,
        servers: Sequence[str],
        now_s: Callable[[], float],
        tls: Callable[[], ssl.SSLContext] | None = None,
        keep_certificate: Callable[[], Awaitable[bool]] | None = None,
        look_s: float = LOOK_S,
    ) -> None:
        self._site_id = site_id
        self._host_id = host_id
        self._now_s = now_s
        self._keep_certificate = keep_certificate
        self._look_s = look_s
        self._waiting: deque[tuple[Message, float]] = deque()
        self._came = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connection = NatsConnection(
            servers=servers,
            name=f"agent {host_id}",
            handlers={ask_subject(site_id, host_id): self._take},
            tls=tls,
            on_up=self._hello,
            most_wait_s=MOST_WAIT_S,
            ping_s=PING_S,
        )

    @property
    def clients(self) -> int:
        """One while the server is connected: a gateway may ask at any time."""
        return int(self._connection.fault is None)

    async def open(self, answer: Answer) -> None:
        """Begin to connect, and to answer what comes."""
        self._start(self._serve(answer))
        if self._keep_certificate is not None:
            self._start(self._stay_certified(self._keep_certificate))
        self._connection.start()

    async def close(self) -> None:
        """Say that we go, and let go."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(AgentUnreachable):
            self._connection.publish(bye_subject(self._site_id, self._host_id), b"")
        await self._connection.close()

    def _take(self, message: Message) -> None:
        # The server lets us publish answers of this host only: any other subject is no gateway's.
        if not message.reply:
            return
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((message, self._now_s()))
            self._came.set()
        else:
            busy = Failed(error="AgentUnreachable", detail=f"busy: {MOST_WAITING} requests wait already")
            self._send(message.reply, encode_reply(busy))

    async def _serve(self, answer: Answer) -> None:
        """One request at a time, in the order in which they came."""
        while True:
            await self._came.wait()
            self._came.clear()
            while self._waiting:
                message, received_s = self._waiting.popleft()
                self._send(message.reply, await answer(message.data, received_s))

    async def _stay_certified(self, keep_certificate: Callable[[], Awaitable[bool]]) -> None:
        while True:
            if await keep_certificate():
                self._connection.renew()
            await asyncio.sleep(self._look_s)

    def _hello(self) -> None:
        self._send(hello_subject(self._site_id, self._host_id), b"")

    def _send(self, subject: str, payload: bytes) -> None:
        # The gateway asks again; what it asked for is under a lease.
        with suppress(AgentUnreachable):
            self._connection.publish(subject, payload)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
