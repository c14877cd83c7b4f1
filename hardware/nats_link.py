"""The gateway's way to all its agents over NATS: one publish a host, one wildcard inbox for every answer.

A host that nobody listens for is known at once: the server answers for it. An agent that does not answer is left alone
until it does, or for ``LATE_S``, so that it holds up the others no more than once.
"""

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from hardware.device import Fault
from hardware.errors import AgentUnreachable, Condition, HardwareError, WireError
from hardware.nats_client import NO_RESPONDERS, Message
from hardware.nats_connection import NatsConnection
from hardware.nats_names import (
    BYE,
    HELLO,
    ask_subject,
    bye_subject,
    hello_subject,
    host_of_news,
    is_name,
    reply_prefix,
)
from hardware.wire import Reply, Request, decode_reply, encode_request

log = structlog.get_logger()

LATE_S = 10.0
"""A host that left a request unanswered is asked again after this, or once its late answer came."""

OPEN_S = 5.0
"""The first connect is waited for so long."""

BATCH = 64
"""After so many publishes answers are looked at: the first hosts answer while the last are still asked."""


class News(Protocol):
    """Who is told of hosts that come and go. Neither waits nor raises."""

    def came(self, host_id: str) -> None: ...

    def left(self, host_id: str, fault: Fault) -> None: ...


class _Round:
    """One round of requests, and the answers to them."""

    def __init__(self, requests: Mapping[str, Request]) -> None:
        self.requests = requests
        self.replies: dict[str, Reply | HardwareError] = {}
        self.done = asyncio.Event()

    def take(self, host_id: str, reply: Reply | HardwareError) -> None:
        self.replies[host_id] = reply
        if len(self.replies) >= len(self.requests):
            self.done.set()


class NatsHosts:
    """The agents of all enrolled hosts.

    ``enrolled`` tells the hosts there are, as another object once they are others; it is asked again and again. Names
    that cannot be in a subject are left out.
    ``timeout_s`` bounds a whole round. ``answered`` is called with each host as its answer is in (for measurements).
    """

    def __init__(
        self,
        *,
        site_id: str,
        servers: Sequence[str],
        enrolled: Callable[[], Collection[str]],
        tls: Callable[[], ssl.SSLContext] | None = None,
        timeout_s: float = 2.0,
        monotonic_s: Callable[[], float] = time.monotonic,
        answered: Callable[[str], None] | None = None,
    ) -> None:
        self._site_id = site_id
        self._timeout_s = timeout_s
        self._monotonic_s = monotonic_s
        self._answered = answered
        self._prefix = reply_prefix(site_id, secrets.token_hex(8))
        self._news: News | None = None
        self._up = asyncio.Event()
        self._opened = False
        self._enrolled = enrolled
        self._found: Collection[str] = ()
        # Where each is asked.
        self._hosts: dict[str, str] = {}
        self._number = 0
        self._asked: dict[int, tuple[str, _Round]] = {}
        self._open: dict[str, set[int]] = {}
        # The number as of each host's last word: a request before it went to an agent that is no more.
        self._word_at: dict[str, int] = {}
        # Hosts that left requests unanswered: which, and since when.
        self._late: dict[str, tuple[int, float]] = {}
        self._connection = NatsConnection(
            servers=servers,
            name=f"gateway {site_id}",
            handlers={
                f"{self._prefix}>": self._take_answer,
                hello_subject(site_id, "*"): self._take_news,
                bye_subject(site_id, "*"): self._take_news,
            },
            tls=tls,
            on_up=self._all_anew,
        )

    @property
    def fault(self) -> str | None:
        """Why no host can be reached at all, ``None`` while the server is connected."""
        return self._connection.fault

    @property
    def host_ids(self) -> Collection[str]:
        """The enrolled hosts, as of now."""
        found = self._enrolled()
        if found is not self._found:
            self._found = found
            self._hosts = {host_id: ask_subject(self._site_id, host_id) for host_id in found if is_name(host_id)}
        return self._hosts.keys()

    async def open(self, news: News) -> None:
        """Begin to connect, and go on for ever; ``news`` hears of hosts that come and go.

        Returns once connected, or after ``OPEN_S``.
        """
        self._news = news
        self._connection.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(OPEN_S):
                await self._up.wait()
        self._opened = True

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()

    async def ask(self, requests: Mapping[str, Request]) -> dict[str, Reply | HardwareError]:
        """Ask these hosts at once, and wait for their answers until ``timeout_s`` is over.

        What went wrong takes the reply's place: ``AgentUnreachable``, with the condition ``LOST`` where nobody listens,
        or ``WireError``.
        """
        asked = _Round(requests)
        numbers: list[int] = []
        line, encoded = b"", None
        try:
            async with asyncio.timeout(self._timeout_s):
                for place, (host_id, request) in enumerate(requests.items()):
                    if request is not encoded:
                        line, encoded = encode_request(request), request
                    number = self._send(host_id, line, asked)
                    if number is not None:
                        numbers.append(number)
                    if place % BATCH == BATCH - 1:
                        await asyncio.sleep(0)
                if requests:
                    await asked.done.wait()
        except TimeoutError:
            pass
        self._give_up(numbers)
        for host_id in requests:
            if host_id not in asked.replies:
                asked.replies[host_id] = AgentUnreachable(
                    f"the agent of {host_id} did not answer in {self._timeout_s:g} s",
                    condition=Condition.SILENT,
                    cure="look at the agent's log on that host: a call into its driver may hang",
                )
        return asked.replies

    def _send(self, host_id: str, line: bytes, asked: _Round) -> int | None:
        """Publish a request; its number, or ``None`` where that came to nothing, which is noted in the round."""
        subject = self._hosts.get(host_id)
        if subject is None:
            asked.take(host_id, AgentUnreachable(f"host {host_id} is not enrolled", condition=Condition.LOST))
            return None
        late = self._late.get(host_id)
        if late is not None and self._monotonic_s() - late[1] < LATE_S:
            fault = AgentUnreachable(
                f"the agent of {host_id} has not answered the last request yet", condition=Condition.SILENT
            )
            asked.take(host_id, fault)
            return None
        self._number += 1
        number = self._number
        self._asked[number] = (host_id, asked)
        self._open.setdefault(host_id, set()).add(number)
        try:
            self._connection.publish(subject, line, f"{self._prefix}{host_id}.{number}")
        except AgentUnreachable as fault:
            self._close_request(number)
            asked.take(host_id, fault)
            return None
        return number

    def _close_request(self, number: int) -> tuple[str, _Round] | None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            self._open[asked[0]].discard(number)
        return asked

    def _give_up(self, numbers: Sequence[int]) -> None:
        """Note who has not answered; their late answers say that they are back."""
        now_s = self._monotonic_s()
        for number in numbers:
            asked = self._close_request(number)
            if asked is not None and number > self._word_at.get(asked[0], 0):
                self._late[asked[0]] = (number, now_s)

    def _take_answer(self, message: Message) -> None:
        host_id, _, text = message.subject[len(self._prefix) :].partition(".")
        # So short that a number which nobody gave costs nothing to read.
        number = int(text) if text.isdecimal() and len(text) < 20 else 0
        asked = self._asked.get(number)
        if asked is None or asked[0] != host_id:
            late = self._late.get(host_id)
            if late is not None and late[0] == number:
                del self._late[host_id]
            return
        self._close_request(number)
        self._late.pop(host_id, None)
        asked[1].take(host_id, self._read(host_id, message, asked[1].requests[host_id]))
        if self._answered is not None:
            self._answered(host_id)

    def _read(self, host_id: str, message: Message, to: Request) -> Reply | HardwareError:
        if message.status == NO_RESPONDERS:
            absent = _absent(host_id)
            if self._news is not None:
                self._news.left(host_id, _fault(absent))
            return absent
        try:
            return decode_reply(message.data, to)
        except WireError as fault:
            return fault

    def _take_news(self, message: Message) -> None:
        host_id, word = host_of_news(message.subject)
        if self._news is None or (host_id not in self._hosts and host_id not in self.host_ids):
            return
        self._late.pop(host_id, None)
        self._word_at[host_id] = self._number
        if word == HELLO:
            self._news.came(host_id)
        elif word == BYE:
            absent = _absent(host_id)
            for number in tuple(self._open.get(host_id, ())):
                asked = self._close_request(number)
                if asked is not None:
                    asked[1].take(host_id, absent)
            self._news.left(host_id, _fault(absent))

    def _all_anew(self) -> None:
        """After a connect: whoever came or went meanwhile was not heard."""
        self._up.set()
        self._late.clear()
        # Whoever opened us asks every host by itself.
        if self._news is not None and self._opened:
            for host_id in self.host_ids:
                self._news.came(host_id)


def _fault(absent: AgentUnreachable) -> Fault:
    # Of the devices: they draw on, only nobody tells.
    return Fault(condition=Condition.SILENT, detail=str(absent), cure=absent.cure)


def _absent(host_id: str) -> AgentUnreachable:
    return AgentUnreachable(
        f"no agent listens on {host_id}",
        condition=Condition.LOST,
        cure=f"start `gridgate agent` on {host_id}, or see there why it does not reach NATS; its leases run out by"
        " themselves",
    )
