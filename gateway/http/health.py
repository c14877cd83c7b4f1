"""Health, for the service manager and for load balancers."""

from aiohttp import web

from gateway.http.sources import SOURCES


async def live(_: web.Request) -> web.Response:
    """``GET /health/live``: 200 for as long as the loop runs."""
    return web.json_response({"live": True})


async def ready(request: web.Request) -> web.Response:
    """``GET /health/ready``: 200 where every part works, else 503; ``parts`` says what is wrong with each."""
    sources = request.app[SOURCES]
    is_ready = sources.ready()
    return web.json_response({"ready": is_ready, "parts": dict(sources.parts())}, status=200 if is_ready else 503)
