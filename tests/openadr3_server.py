"""A small VTN of OpenADR 3 for tests: objects in memory, every request and answer held to the published definition.

Methods, paths, query parameters, bodies and statuses are those of the YAML file: what it has not fails the test.

It is no product: one client, no business logic but what a test puts into it by hand. ``answer`` may be asked directly
or over HTTP (``serving``).
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from protocols.openadr3.client_http import Request, Response
from protocols.openadr3.names import Version
from tests.openadr3_definition import Definition

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
Json = dict[str, Any]
KINDS = ("programs", "events", "reports", "subscriptions", "vens", "resources")
_NAMES = {"vens": "venName", "programs": "programName"}
_BY_QUERY = ("programID", "eventID", "clientName", "venName", "venID", "resourceName")


class SmallVtn:
    """``objects`` by kind and id; ``before`` may answer in its place; ``asked`` is what it was asked."""

    def __init__(self, definition: Definition | None, version: Version = Version.V3_1) -> None:
        self.definition = definition
        self.version = version
        self.objects: dict[str, dict[str, Json]] = {kind: {} for kind in KINDS}
        self.now = NOON
        self.private = version is Version.V3_1
        self.forbidden: set[tuple[str, str]] = set()
        self.asked: list[tuple[str, str]] = []
        self.before: Callable[[Request], Response | None] = lambda _: None
        self.after: Callable[[Request, Response], None] = lambda _, __: None
        self._last = 0

    def put(self, kind: str, found: Json, object_id: str | None = None) -> str:
        """Hold an object as business logic would make or change it; returns its id."""
        if object_id is None:
            self._last += 1
            object_id = f"{kind[:-1]}-{self._last}"
        self.now += timedelta(microseconds=1)
        created = self.objects[kind].get(object_id, {}).get("createdDateTime", self.now.isoformat())
        held = found | {
            "id": object_id,
            "createdDateTime": created,
            "modificationDateTime": self.now.isoformat(),
            "objectType": kind[:-1].upper(),
        }
        if self.version is Version.V3_1 and kind not in {"programs", "events"}:
            held.setdefault("clientID", "client-1")
        self.objects[kind][object_id] = held
        return object_id

    def forget(self) -> None:
        """Lose everything that clients made, as a VTN without a database does when it is started again."""
        for kind in ("reports", "subscriptions", "vens", "resources"):
            self.objects[kind].clear()

    def held(self, kind: str) -> list[Json]:
        return list(self.objects[kind].values())

    async def exchange(self, request: Request, _: datetime) -> Response:
        """As an ``Exchange``, without a socket."""
        return self.answer(request)

    def answer(self, request: Request) -> Response:
        self.asked.append((request.method, request.path))
        first = self.before(request)
        response = self._by_definition(request) if first is None else first
        self.after(request, response)
        return response

    def _by_definition(self, request: Request) -> Response:
        """The answer, where the definition has such a request and such an answer; a test fails where it has not."""
        response = self._answer(request)
        if self.definition is not None:
            self.definition.check_request(request.method, request.path, request.query, request.body)
            self.definition.check_response(request.method, request.path, response.status, response.body)
        return response

    def _answer(self, request: Request) -> Response:
        steps = request.path.strip("/").split("/")
        query = list(request.query)
        if self.version is Version.V3_0 and steps[0] == "vens" and steps[2:3] == ["resources"]:
            query.append(("venID", steps[1]))
            steps = ["resources", *steps[3:]]
        if steps[0] not in KINDS or (steps[0] == "resources" and self.version is Version.V3_0 and len(query) == 0):
            return problem(404, "Not Found")
        if (request.method, steps[0]) in self.forbidden:
            return problem(403, "Forbidden")
        if request.method == "GET":
            return self._list(steps[0], query) if len(steps) == 1 else self._one(steps[0], steps[1])
        return self._write(request, steps, dict(query))

    def _list(self, kind: str, query: list[tuple[str, str]]) -> Response:
        wanted = dict(query)
        assert 0 <= int(wanted["limit"]) <= 50
        found = [
            item
            for item in self.objects[kind].values()
            if all(item.get(key) == wanted[key] for key in _BY_QUERY if key in wanted and key in item)
        ]
        if self.private and kind in {"programs", "events"}:
            asked = {value for key, value in query if key == "targets"}
            granted = {
                word for ven in (*self.held("vens"), *self.held("resources")) for word in ven.get("targets") or ()
            }
            shown = []
            for item in found:
                own = set(item.get("targets") or ())
                if not own or own & asked & granted:
                    shown.append(item | {"targets": sorted(own & asked)} if own else item)
            found = shown
        skip = int(wanted["skip"])
        page = found[skip : skip + int(wanted["limit"])]
        for item in page:
            self._check(kind, item)
        return said(200, page)

    def _one(self, kind: str, object_id: str) -> Response:
        held = self.objects[kind].get(object_id)
        return problem(404, "Not Found") if held is None else said(200, held)

    def _write(self, request: Request, steps: list[str], query: dict[str, str]) -> Response:
        kind = steps[0]
        if request.method == "DELETE":
            gone = self.objects[kind].pop(steps[1], None)
            return problem(404, "Not Found") if gone is None else said(200, gone)
        body: Json = json.loads(request.body or b"")
        if self.definition is not None:
            name = kind[:-1] if self.version is Version.V3_0 else f"{kind[:-1]}Request"
            self.definition.check(name, body)
        body.pop("objectType", None)
        if kind == "resources" and "venID" in query:
            body["venID"] = query["venID"]
        if request.method == "PUT":
            if steps[1] not in self.objects[kind]:
                return problem(404, "Not Found")
            return said(200, self._keep(kind, body, steps[1]))
        own = _NAMES.get(kind)
        if own is not None and any(item[own] == body[own] for item in self.held(kind)):
            return problem(409, "Conflict", f"{own} is taken")
        return said(201, self._keep(kind, body, None))

    def _keep(self, kind: str, body: Json, object_id: str | None) -> Json:
        held = self.objects[kind][self.put(kind, body, object_id)]
        self._check(kind, held)
        return held

    def _check(self, kind: str, held: Json) -> None:
        if self.definition is not None:
            self.definition.check(kind[:-1], held)


def said(status: int, value: object) -> Response:
    return Response(status=status, body=json.dumps(value).encode())


def problem(status: int, title: str, detail: str | None = None) -> Response:
    return said(status, {"title": title, "status": status, **({} if detail is None else {"detail": detail})})


@asynccontextmanager
async def serving(*routes: web.RouteDef) -> AsyncIterator[str]:
    """The routes on a free port of loopback; gives the URL."""
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def routes_of(
    vtn: SmallVtn, *, token: Callable[[], str | None] = lambda: None, base: str = "/openadr3"
) -> web.RouteDef:
    """The VTN over HTTP below ``base``; with a token it answers nobody else."""

    async def handle(request: web.Request) -> web.Response:
        good = token()
        if good is not None and request.headers.get("Authorization") != f"Bearer {good}":
            found = problem(401, "Unauthorized")
        else:
            found = vtn.answer(
                Request(
                    method=request.method,
                    path=f"/{request.match_info['path']}",
                    query=tuple(request.query.items()),
                    body=await request.read(),
                )
            )
        headers = {} if found.retry_after_s is None else {"Retry-After": f"{found.retry_after_s:g}"}
        return web.Response(status=found.status, body=found.body, content_type=found.content_type, headers=headers)

    return web.route("*", f"{base}/{{path:.*}}", handle)
