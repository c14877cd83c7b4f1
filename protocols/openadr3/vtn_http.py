"""A VTN's answers over HTTP, as routes for aiohttp."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from protocols.json import MAX_BYTES
from protocols.openadr3.vtn_answers import JSON, Answer, Refused, Request, problem

PATH = "/openadr3/3.1"

Respond = Callable[[Request], Awaitable[Answer]]


def over_http(respond: Respond, unavailable: tuple[type[Exception], ...]) -> list[web.RouteDef]:
    """One route for everything under ``PATH``, so that what is not there is answered in the definition's words too.

    Exceptions that are ``unavailable`` are answered with 503; any other is a bug and the server's to report.
    """

    async def handle(request: web.Request) -> web.Response:
        try:
            answer = await respond(await _read(request))
        except Refused as refused:
            answer = problem(refused)
        except unavailable:
            answer = problem(
                Refused(503, "the record cannot be used just now: try again", headers={"Retry-After": "5"})
            )
        response = web.Response(status=answer.status, body=answer.body, content_type=JSON, headers=answer.headers)
        response.enable_compression()
        return response

    # A dot would not match a line's end, which a path may hold.
    return [web.route("*", PATH + r"{path:(?:/[\s\S]*)?}", handle)]


async def _read(request: web.Request) -> Request:
    return Request(
        method=request.method,
        path=request.match_info["path"] or "/",
        query=tuple(request.query.items()),
        authorization=request.headers.get("Authorization"),
        content_type=request.headers.get("Content-Type", ""),
        body=await _bounded(request),
        peer=request.remote or "",
    )


async def _bounded(request: web.Request) -> bytes:
    """The request's body, read no further than we would parse."""
    if (request.content_length or 0) > MAX_BYTES:
        raise Refused(413, f"{request.content_length} bytes, more than the {MAX_BYTES} that we read")
    body = bytearray()
    async for chunk in request.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > MAX_BYTES:
            raise Refused(413, f"more than the {MAX_BYTES} bytes that we read")
    return bytes(body)
