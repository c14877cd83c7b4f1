"""The site that people see: one page, health, and the JSON behind the page. Read only, and nothing global."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.domain.capability import Capability
from gateway.domain.contract import Program
from gateway.domain.fleet import Site
from gateway.domain.message_trace import Describe
from gateway.http import api, health, messages, pages, statements
from gateway.http import heads as evidence_heads
from gateway.http.assets import ASSETS, Assets, serve_asset
from gateway.http.sources import SOURCES, Heads, RecordView, Sources, no_heads
from gateway.ledger import Ledger, LedgerUnavailable
from hardware.device import DeviceView
from hardware.job import JobView

log = structlog.get_logger()

HEADERS = {
    # Styles inline, and images from data and blobs, are what Plotly needs.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "gridgate",
}


def make_site(
    *,
    ledger: Ledger,
    site: Site,
    programs: Mapping[str, Program],
    now: Callable[[], datetime],
    parts: Callable[[], Mapping[str, str | None]],
    ready: Callable[[], bool],
    devices: Callable[[], Mapping[str, DeviceView]],
    jobs: Callable[[], Mapping[str, JobView]],
    capability: Callable[[], Capability | None],
    version: str,
    connections: Sequence[str] = (),
    describe: Describe = lambda _: {},
    heads: Heads | None = None,
    statement_pages: statements.StatementPages | None = None,
) -> web.Application:
    """The application to serve. ``parts`` names each part with its fault (``None``: well); callables never block.

    Made in a running loop: it subscribes to the ledger.
    """
    application = web.Application(middlewares=[answer_faults])
    application[SOURCES] = Sources(
        site=site,
        programs=programs,
        now=now,
        parts=parts,
        ready=ready,
        devices=devices,
        jobs=jobs,
        capability=capability,
        version=version,
        connections=connections,
        describe=describe,
        heads=heads or no_heads,
        ledger=ledger,
        view=RecordView(ledger),
    )
    application[ASSETS] = Assets()
    application[pages.TEMPLATES] = pages.environment()
    if statement_pages is not None:
        application[statements.PAGES] = statement_pages
    application.on_response_prepare.append(_add_headers)
    application.add_routes(
        [
            web.get("/", pages.front),
            web.get("/api/now", api.now),
            web.get("/api/capability", api.capability),
            web.get("/api/series", api.recent),
            web.get("/api/messages", messages.messages),
            web.get("/api/evidence/heads", evidence_heads.heads),
            web.get("/messages", messages.page_of_messages),
            web.get("/messages/{sha256:[0-9a-f]{64}}", messages.one_message),
            web.get("/statements/{statement_id}.{form:pdf|xlsx|csv|json|svg}", statements.one_report),
            web.get("/statements/{statement_id}", statements.one_statement),
            web.get("/health/live", health.live),
            web.get("/health/ready", health.ready),
            web.get("/static/{name}", serve_asset),
        ]
    )
    return application


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


@web.middleware
async def answer_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell what went wrong in one sentence, as a page or as JSON; a bug is logged and its traceback kept to the log."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _wrong(request, 404, "There is nothing at this address.")
    except web.HTTPMethodNotAllowed as refused:
        response = _wrong(request, 405, f"This address does not take {refused.method}.")
        response.headers["Allow"] = ", ".join(sorted(refused.allowed_methods))
        return response
    except LedgerUnavailable as fault:
        log.warning("page_without_ledger", path=request.path, reason=str(fault))
        return _wrong(request, 503, "The record cannot be read just now. Try again in a moment.")
    except web.HTTPException:
        raise
    except Exception:
        log.exception("page_failed", path=request.path)
        return _wrong(request, 500, "Something went wrong here. The log of the gateway says what.")


def _wrong(request: web.Request, status: int, text: str) -> web.Response:
    if request.path.startswith(("/api/", "/health/")):
        return web.json_response({"error": text}, status=status, headers=api.NO_STORE)
    return pages.page(request, "wrong.html", status=status, code=status, text=text)
