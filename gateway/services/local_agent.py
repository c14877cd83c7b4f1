"""The agent process that a gateway starts on its own host where nobody else runs one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import structlog

from gateway.clock import Clock
from gateway.services.readiness import Backoff

log = structlog.get_logger()

PERIOD_S = 1.0
START_LOOK_S = 0.1
START_DEADLINE_S = 10.0
STOP_DEADLINE_S = 13.0
"""A keeper whose driver hangs needs up to 12 s, and then says what the journal will put back."""


class LocalAgent:
    """Keeps one agent listening on a local socket.

    An agent that is there already (left by a gateway that was killed, or run by the service manager) is used as it is.
    One that we start reads a pipe from us: when we die, however suddenly, the pipe ends, and the agent lets its leases
    run out and exits by itself. Its socket listens before it answers: ``ready`` says whether it does.
    """

    def __init__(
        self, *, command: Sequence[str], socket: Path, clock: Clock, ready: Callable[[], Awaitable[bool]]
    ) -> None:
        self._command = tuple(command)
        self._socket = socket
        self._clock = clock
        self._ready = ready
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Start the agent anew whenever none listens, until told to stop; ``end`` ends it."""
        backoff = Backoff(0.5, 30.0)
        while not stop.is_set():
            if await self._answers():
                backoff.well()
                delay_s = PERIOD_S
            elif self._running():
                delay_s = PERIOD_S
            else:
                await self._start()
                delay_s = backoff.delay_s()
            await self._clock.wait(self._clock.now() + timedelta(seconds=delay_s), stop)

    async def ensure(self) -> None:
        """Have an agent listening before anything is asked of it; gives up quietly, since ``run`` goes on trying."""
        if not await self._answers():
            await self._start()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + START_DEADLINE_S
        while loop.time() < deadline_s:
            if await self._answers() and await self._ready():
                return
            await asyncio.sleep(START_LOOK_S)
        log.warning("agent_slow_to_start", socket=str(self._socket))

    async def end(self) -> None:
        """End the agent that we started: it puts everything back and exits."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_DEADLINE_S)
        except TimeoutError:
            log.warning("agent_killed", process_id=process.pid)
            process.kill()
            await process.wait()

    def _running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return False
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return True

    async def _start(self) -> None:
        if self._process is not None:
            log.warning("agent_ended", exit_code=self._process.returncode)
            self._process = None
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, start_new_session=True
            )
        except OSError as fault:
            log.warning("agent_not_started", reason=str(fault))
            return
        log.info("agent_started", process_id=self._process.pid, socket=str(self._socket))
