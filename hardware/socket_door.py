"""The agent's door on a local socket: the same user on the same host, one JSON line a request."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hardware.errors import HardwareError
from hardware.wire import MAX_LINE_BYTES, Answer, Failed, encode_reply

MOST_CLIENTS = 16

ANSWER_S = 5.0
"""A client that does not take its answer in this time is let go."""


class SocketDoor:
    """Serves clients of a listening socket, one request at a time each. ``now_s`` is the agent's clock."""

    def __init__(self, listener: socket.socket, *, now_s: Callable[[], float]) -> None:
        self._listener = listener
        self._now_s = now_s
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    async def open(self, answer: Answer) -> None:
        """Let clients in."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # Whoever is let go at the end has not failed.
            with suppress(asyncio.CancelledError):
                await self._serve(reader, writer, answer)

        # Not start_unix_server: from Python 3.13 on that removes the socket's file at its end, and it is not ours.
        self._server = await asyncio.start_server(serve, sock=self._listener, limit=MAX_LINE_BYTES)

    async def close(self) -> None:
        """Let nobody in any more, and every client go."""
        if self._server is not None:
            self._server.close()
        clients = tuple(self._clients)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= MOST_CLIENTS:
            writer.close()
            return
        self._clients.add(task)
        try:
            while True:
                line = await reader.readuntil()
                writer.write(await answer(line, self._now_s()))
                async with asyncio.timeout(ANSWER_S):
                    await writer.drain()
        except asyncio.LimitOverrunError:
            writer.write(encode_reply(Failed(error="WireError", detail=f"a line of over {MAX_LINE_BYTES} bytes")))
        except (asyncio.IncompleteReadError, OSError):
            pass  # The client has gone; what it asked for is under a lease. TimeoutError is an OSError, too.
        finally:
            self._clients.discard(task)
            writer.close()


class BoundSocket:
    """A bound socket that only this user reaches. A socket file that nobody listens on any more makes room for it.

    Raises ``HardwareError`` where it cannot be bound, as when another agent listens there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_socket() and not is_served(path):
                path.unlink(missing_ok=True)
            self.listener = _bound(path)
            self._born = path.stat()
        except OSError as cause:
            raise HardwareError(f"cannot serve at {path}: {cause}") from cause

    def close(self) -> None:
        """Close it and remove its file, unless somebody else's is there by now."""
        self.listener.close()
        try:
            found = self._path.stat()
            if (found.st_dev, found.st_ino) == (self._born.st_dev, self._born.st_ino):
                self._path.unlink()
        except OSError:
            return


def _bound(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        # At once, and not only when the journal was followed: nobody shall take the socket for one left behind.
        listener.listen(MOST_CLIENTS)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def is_served(path: Path) -> bool:
    """Whether somebody listens at the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (BlockingIOError, TimeoutError):
            return True  # So many wait to be let in that there is no room.
    return True


def inherited(numbers: str) -> tuple[socket.socket, socket.socket]:
    """The two sockets that a keeper hands to its worker, as ``LINK:LISTENER``. Raises ``HardwareError``."""
    try:
        link, listener = (socket.socket(fileno=int(number)) for number in numbers.split(":"))
    except (ValueError, OSError) as cause:
        raise HardwareError(f"{numbers!r} names no sockets of a keeper: a worker is started by its keeper") from cause
    # Not for the commands that drivers run.
    link.set_inheritable(False)
    listener.set_inheritable(False)
    return link, listener
