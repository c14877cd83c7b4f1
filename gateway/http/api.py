"""What the page asks for each second, as JSON: watts, seconds, instants in UTC with ``Z``."""

import json
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from gateway.http.capability_lines import capability_lines
from gateway.http.series import LEAST_MINUTES, MOST_MINUTES, USUAL_MINUTES, series
from gateway.http.sources import SOURCES
from gateway.http.view import snapshot

NO_STORE = {"Cache-Control": "no-store"}


async def now(request: web.Request) -> web.Response:
    """``GET /api/now``: everything on the page."""
    return answer(await snapshot(request.app[SOURCES]))


async def capability(request: web.Request) -> web.Response:
    """``GET /api/capability``: of that what the site can give."""
    sources = request.app[SOURCES]
    return answer(capability_lines(sources.capability(), sources.site.timezone))


async def recent(request: web.Request) -> web.Response:
    """``GET /api/series?minutes=N``: power over the last N minutes, 1 to 240; 400 for anything else."""
    text = request.query.get("minutes", str(USUAL_MINUTES))
    # isdecimal() takes digits of every script, and int() reads them; so short that a long one costs nothing.
    minutes = int(text) if text.isdecimal() and len(text) < 6 else 0
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        return answer({"error": f"minutes is a whole number from {LEAST_MINUTES} to {MOST_MINUTES}"}, status=400)
    return answer(await series(request.app[SOURCES], minutes))


def answer(content: object, status: int = 200) -> web.Response:
    """JSON that is not kept anywhere."""
    response = web.json_response(
        content, status=status, headers=NO_STORE, dumps=lambda value: json.dumps(value, default=_plain)
    )
    response.enable_compression()
    return response


def _plain(value: object) -> Any:
    """What JSON has a form for. Not ``dataclasses.asdict``, which copies every value of thousands of lines."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no form in JSON")
