"""The worker as its keeper sees it: a process, its end of the link, and whether it stands still."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from hardware.keeper_link import MAX_LINE_BYTES, encoded

log = structlog.get_logger()

HUNG_S = 15.0
"""A worker whose devices' thread (or whose event loop) stands still for so long is killed."""

JOBS_HUNG_S = 60.0
"""So is one whose jobs' thread does. Calls to a scheduler are bounded, but there may be several in a row."""

START_S = 60.0
"""A worker that has not asked for the journal by then hangs, too."""

LINGERS_CURE = (
    "look for messages of the driver in the kernel log: its entry stays until the process has ended, and where that "
    "never happens the host needs a restart"
)

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""NumPy's libraries would start threads as they are loaded, before the worker can give up its privileges."""


class WorkerProcess:
    """One life of the worker, and the keeper's end of the link to it."""

    def __init__(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.process = process
        self.reader = reader
        self.writer = writer
        self.started_s = self.devices_s = self.jobs_s = time.monotonic()
        self.handed_over = False
        self.ended = False
        """The keeper has nothing more to do with it, whether or not the system let it end."""
        self.clients = 0
        self.hung: Mapping[str, float] = {}
        """For how many seconds which of its calls hang, by lane."""

    def send(self, message: Mapping[str, Any]) -> None:
        if not self.writer.is_closing():
            self.writer.write(encoded(message))

    def why_hung(self, now_s: float) -> str | None:
        """What stands still, ``None`` where nothing does."""
        if not self.handed_over and self.devices_s == self.started_s:
            return "it does not begin" if now_s - self.started_s > START_S else None
        if now_s - self.devices_s > HUNG_S:
            return "its devices stand still"
        return "its jobs stand still" if now_s - self.jobs_s > JOBS_HUNG_S else None

    def may_write(self, device_id: str) -> bool:
        """Whether a call that it is in, although it was killed, may concern the device."""
        return device_id in self.hung or not self.hung

    async def kill(self) -> bool:
        """End what is left of it. False where the kernel does not let go of it in time: then it is not waited for."""
        self.ended, self.handed_over = True, False
        self.writer.close()
        if self.process.returncode is not None:
            return True
        try:
            self.process.kill()
            async with asyncio.timeout(2.0):
                await self.process.wait()
        except ProcessLookupError:
            pass
        except TimeoutError:
            log.error("worker_not_ended", process_id=self.process.pid, cure=LINGERS_CURE)
            return False
        return True


async def started(command: Sequence[str], listener: socket.socket) -> WorkerProcess | None:
    """A new worker, which is given its end of the link and the listener; ``None`` where none can be started."""
    ours, theirs = socket.socketpair()
    try:
        passed = (theirs.fileno(), listener.fileno())
        process = await asyncio.create_subprocess_exec(
            *command,
            "--worker",
            ":".join(map(str, passed)),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=passed,
            env=os.environ | ONE_THREAD,
        )
    except OSError as fault:
        ours.close()
        log.error("worker_not_started", reason=str(fault))
        return None
    finally:
        theirs.close()
    reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES)
    log.info("worker_started", process_id=process.pid)
    return WorkerProcess(process, reader, writer)
