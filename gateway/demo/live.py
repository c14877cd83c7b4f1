"""``gridgate demo``: the demonstration with a page, over real HTTP on loopback, until it is told to stop."""

import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from gateway import app
from gateway.clock import SystemClock
from gateway.connections_openadr2b import open_plain_ven
from gateway.demo.stage import CONNECTION_ID, set_stage
from gateway.demo.utility import Schedule
from gateway.host_agent import stop_on_signals
from gateway.listening import listening
from gateway.stages import run_services

SCHEDULE = Schedule(first_s=10.0, notice_s=60.0, duration_s=300.0, again_after_s=240.0)


async def run_live(*, speed: float, port: int, tell: Callable[[str], None]) -> None:
    """Play event after event; the record is thrown away at the end. ``tell`` hears where the page is."""
    clock = SystemClock(speed)
    stop = stop_on_signals()
    async with AsyncExitStack() as edges:
        folder = edges.enter_context(tempfile.TemporaryDirectory())
        stage = await set_stage(edges, clock, Path(folder))
        pages = app.pages(
            stage.record.ledger,
            stage.settings,
            clock=clock,
            readiness=stage.readiness,
            fleet=stage.fleet,
            capability=lambda: stage.offering.latest,
            stop=stop,
            connections=[CONNECTION_ID],
        )
        pages.add_routes(stage.vtn.routes())
        chosen = await edges.enter_async_context(listening(pages, f"127.0.0.1:{port}"))
        connection = await open_plain_ven(
            edges,
            name=CONNECTION_ID,
            url=f"http://127.0.0.1:{chosen}/OpenADR2/Simple/2.0b",
            store=stage.record.parties,
            site=stage.settings.site.site(),
            poll_s=2.0,
        )
        tell(f"open http://127.0.0.1:{chosen}/ in a browser; stop with Ctrl-C")
        await run_services(stage.stages(connection, SCHEDULE), clock, stop)
