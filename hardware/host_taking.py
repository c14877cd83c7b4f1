"""How an agent begins: the host is taken for it alone, and the pipe of a gateway that started it is watched."""

import asyncio
import os
import time
from pathlib import Path

import structlog

from hardware.errors import HardwareError, JournalTaken, JournalUnreadable
from hardware.journal import Journal
from hardware.socket_door import BoundSocket, is_served

log = structlog.get_logger()

LOOK_S = 0.25

TAKEN_S = 20.0
"""An agent that died may have left a worker that still puts back: its journal is waited for."""

SERVED_S = 1.5
"""A socket that is served for so long is another agent's."""


async def take_host(journal: Journal, socket_path: Path) -> BoundSocket:
    """The host for this keeper: its journal, and the socket bound. The journal may turn out unreadable.

    Waits for a worker that an agent which died left behind, as long as that still puts back. Raises ``HardwareError``
    where another agent serves this host.
    """
    served_since_s: float | None = None
    began_s = time.monotonic()
    while True:
        now_s = time.monotonic()
        served_since_s = (served_since_s or now_s) if is_served(socket_path) else None
        try:
            journal.open()
            return BoundSocket(socket_path)
        except JournalTaken:
            if now_s - began_s > TAKEN_S or (served_since_s is not None and now_s - served_since_s > SERVED_S):
                raise
        except JournalUnreadable as fault:
            log.error("journal_unreadable", detail=str(fault))
            return BoundSocket(socket_path)
        except HardwareError:
            if served_since_s is None or now_s - served_since_s > SERVED_S:
                journal.close()
                raise
        await asyncio.sleep(LOOK_S)


def ended(lifeline: int) -> asyncio.Event:
    """An event that is set when the other end of a pipe, which a starting gateway holds open, was closed."""
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look() -> None:
        try:
            if os.read(lifeline, 4096):
                return
        except BlockingIOError:
            return
        except OSError:
            log.warning("lifeline_broken")
        loop.remove_reader(lifeline)
        gone.set()

    os.set_blocking(lifeline, False)
    loop.add_reader(lifeline, look)
    return gone
