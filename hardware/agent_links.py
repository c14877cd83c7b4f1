"""Ways of the gateway to one agent: in this very process, or behind a local socket."""

import asyncio
from pathlib import Path
from typing import Protocol

from hardware.errors import AgentUnreachable
from hardware.wire import MAX_LINE_BYTES, Act, Reply, Request, decode_reply, encode_request


class Link(Protocol):
    """A way to one agent."""

    async def request(self, message: Request) -> Reply:
        """Ask and wait for the answer, for a bounded time. Raises ``AgentUnreachable`` or ``WireError``."""

    async def close(self) -> None:
        """Let go of the connection; a later request makes a new one."""


class Answering(Protocol):
    """What an in-process agent does."""

    def handle(self, request: Request) -> Reply: ...


class LocalLink:
    """An agent in this very process and thread, for virtual time: no JSON, no socket."""

    def __init__(self, agent: Answering) -> None:
        self._agent = agent

    async def request(self, message: Request) -> Reply:
        return self._agent.handle(message)

    async def close(self) -> None:
        return


class SocketLink:
    """An agent behind a local socket. One request at a time; ``timeout_s`` covers the wait for its turn, too.

    What is asked about jobs has a connection of its own: a scheduler that is slow to answer holds up no cap.
    """

    def __init__(self, path: Path, *, timeout_s: float = 2.0) -> None:
        self._connections = _Connection(path, timeout_s), _Connection(path, timeout_s)

    async def request(self, message: Request) -> Reply:
        return await self._connections[isinstance(message, Act)].request(message)

    async def close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self._connections))


class _Connection:
    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, message: Request) -> Reply:
        line = encode_request(message)
        try:
            async with asyncio.timeout(self._timeout_s), self._turn:
                return decode_reply(await self._exchange(line), to=message)
        except TimeoutError as cause:
            raise AgentUnreachable(f"the agent at {self._path} did not answer in {self._timeout_s:g} s") from cause
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as cause:
            raise AgentUnreachable(f"the agent at {self._path} does not answer: {cause}") from cause

    async def close(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await streams[1].wait_closed()
            except OSError:
                return  # The other side had gone, or does not say goodbye (TimeoutError is an OSError).

    async def _exchange(self, line: bytes) -> bytes:
        if self._streams is not None:
            try:
                return await self._ask(self._streams, line)
            except (ConnectionError, asyncio.IncompleteReadError) as fault:
                if isinstance(fault, asyncio.IncompleteReadError) and fault.partial:
                    raise
                # The agent was started anew since the last request: ask the new one.
        self._streams = await asyncio.open_unix_connection(self._path, limit=MAX_LINE_BYTES)
        return await self._ask(self._streams, line)

    async def _ask(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], line: bytes) -> bytes:
        reader, writer = streams
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readuntil()
        except BaseException:
            # Also when cancelled at the deadline: a late answer must not be taken for the next one's.
            self._streams = None
            writer.close()
            raise
