"""What went over the connections: a page and its JSON, newest first, secrets taken out."""

from aiohttp import web

from gateway.domain.message_trace import TracedMessage, masked, trace
from gateway.domain.opting import OptLine, opt_lines
from gateway.http.api import answer
from gateway.http.pages import page
from gateway.http.sources import SOURCES, Sources

MOST = 500
USUAL = 50

_TEXT = {"Cache-Control": "no-store", "Content-Disposition": "inline"}


async def page_of_messages(request: web.Request) -> web.Response:
    """``GET /messages?connection=NAME``: our schedules over it, and what went over it."""
    sources = request.app[SOURCES]
    name = request.query.get("connection") or next(iter(sources.connections), "")
    lines = await _lines(sources, name, USUAL)
    return page(
        request,
        "messages.html",
        site_id=sources.site.site_id,
        chosen=name,
        names=sources.connections,
        lines=lines,
        schedules=await _schedules(sources, name),
    )


async def messages(request: web.Request) -> web.Response:
    """``GET /api/messages?connection=NAME&last=N``: up to the last 500; 400 for anything else."""
    sources = request.app[SOURCES]
    text = request.query.get("last", str(USUAL))
    last = int(text) if text.isdecimal() and len(text) < 6 else 0
    if not 1 <= last <= MOST:
        return answer({"error": f"last is a whole number from 1 to {MOST}"}, status=400)
    name = request.query.get("connection", "")
    if name not in sources.connections:
        return answer({"error": f"connection is one of: {', '.join(sources.connections) or 'none'}"}, status=400)
    return answer(await _lines(sources, name, last))


async def one_message(request: web.Request) -> web.Response:
    """``GET /messages/{sha256}``: one message whole, as text."""
    found = await request.app[SOURCES].ledger.raw_message(request.match_info["sha256"])
    if found is None:
        raise web.HTTPNotFound
    return web.Response(text=masked(found.body).decode("utf-8", "replace"), content_type="text/plain", headers=_TEXT)


async def _schedules(sources: Sources, name: str) -> list[OptLine]:
    lines = [line for line in opt_lines(await sources.ledger.opts()) if line.schedule.connection_id == name]
    return list(reversed(lines))[:USUAL]


async def _lines(sources: Sources, name: str, last: int) -> list[TracedMessage]:
    found = await sources.ledger.messages(name, last)
    return list(reversed(trace(found, sources.describe)))
