"""``gridgate demo``: the demonstration with a page, over real HTTP on loopback, until it is told to stop."""

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from gateway import app
from gateway.clock import SystemClock
from gateway.demo.stage import CONNECTION_ID, set_stage
from gateway.demo.utility import Schedule

log = structlog.get_logger()

SCHEDULE = Schedule(first_s=10.0, notice_s=60.0, duration_s=300.0, again_after_s=240.0)


async def run_live(*, speed: float, port: int) -> None:
    """Play event after event; the record is thrown away at the end."""
    clock = SystemClock(speed)
    stop = app.stop_on_signals()
    async with AsyncExitStack() as edges:
        folder = edges.enter_context(tempfile.TemporaryDirectory())
        stage = await set_stage(edges, clock, Path(folder))
        pages = app.pages(
            stage.record.ledger,
            stage.settings,
            clock=clock,
            readiness=stage.readiness,
            fleet=stage.fleet,
            stop=stop,
        )
        pages.add_routes(stage.vtn.routes())
        chosen = await edges.enter_async_context(app.listening(pages, f"127.0.0.1:{port}"))
        connection = await app.connect_ven(
            edges,
            name=CONNECTION_ID,
            url=f"http://127.0.0.1:{chosen}/OpenADR2/Simple/2.0b",
            store=stage.record.parties,
            site=stage.settings.site.site(),
            poll_s=2.0,
        )
        log.info("demo_page", url=f"http://127.0.0.1:{chosen}/", stop_with="Ctrl-C")
        await app.run_services(stage.stages(connection, SCHEDULE), clock, stop)
