"""Where we listen: an aiohttp application at an address."""

import ssl
from asyncio import sslproto
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

log = structlog.get_logger()

TLS_BUFFER_BYTES = 1 << 14
"""What a TLS record holds at most (RFC 8446, section 5.1). asyncio sets 256 KiB aside for each connection, by which a
VTN with thousands of VENs would hold five times the memory that it needs."""


@asynccontextmanager
async def listening(
    application: web.Application, address: str, *, tls: ssl.SSLContext | None = None, longest_line: int = 8190
) -> AsyncIterator[int]:
    """Serve an aiohttp application at ``host:port``; yields the port (chosen by the system for port 0).

    ``longest_line`` of a request is answered, in bytes; its first line has the whole query.
    """
    if tls is not None:
        # A class attribute, the only place where it can be said; documented nowhere, so that a test looks after it.
        sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
    host, _, port = address.rpartition(":")
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0, max_line_size=longest_line)
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=tls).start()
        chosen: int = runner.addresses[0][1]
        log.info("listening", url=f"{'http' if tls is None else 'https'}://{host}:{chosen}/")
        yield chosen
    finally:
        await runner.cleanup()
