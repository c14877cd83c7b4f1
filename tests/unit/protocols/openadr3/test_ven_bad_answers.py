"""Every operation that our VEN uses, held to the published definition, and answered badly."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from protocols.errors import ProtocolError
from protocols.grid_report import IntervalReport, ReportInterval
from protocols.openadr3.client_http import Request, Response
from protocols.openadr3.names import Version
from tests.openadr3_definition import Definition
from tests.openadr3_server import NOON, SmallVtn, problem, said
from tests.unit.protocols.openadr3.joined import Pair, event, program

OPERATIONS = (
    ("GET", "vens"),
    ("POST", "vens"),
    ("GET", "resources"),
    ("POST", "resources"),
    ("GET", "programs"),
    ("GET", "events"),
    ("GET", "reports"),
    ("POST", "reports"),
)


def extra(response: Response) -> Response:
    """The same with a field that nobody knows in each object."""
    found = json.loads(response.body)
    for item in found if isinstance(found, list) else [found]:
        item["x-new"] = {"of": ["a", "later", "version"]}
    return said(response.status, found)


BAD = {
    "500": problem(500, "Internal Server Error"),
    "403": problem(403, "Forbidden"),
    "404": problem(404, "Not Found"),
    "malformed": Response(status=200, body=b"{"),
    "empty": Response(status=200, body=b""),
    "another type": said(200, "no object"),
    "an object of nothing": said(200, {}),
    "a list of nothing": said(200, [{}]),
    "html": Response(status=502, body=b"<html>", content_type="text/html"),
}


def kind_of(request: Request) -> tuple[str, str]:
    return request.method, request.path.strip("/").split("/")[-1] if "resources" in request.path else (
        request.path.strip("/").split("/")[0]
    )


async def live(pair: Pair) -> list[ProtocolError]:
    """A few polls and a report; what the VEN could not do."""
    faults: list[ProtocolError] = []
    for _ in range(3):
        try:
            await pair.poll()
        except ProtocolError as fault:
            faults.append(fault)
    for order in await pair.ven.orders():
        part = ReportInterval(starts_at=NOON, duration_s=900.0, power_w=1e3, coverage_fraction=1.0)
        report = IntervalReport(
            report_id=f"r-{order.order_id}",
            order_id=order.order_id,
            connection_id="utility",
            resource_id="site-1",
            created_at=pair.now,
            intervals=(part,),
        )
        try:
            await pair.ven.send_report(report, pair.now)
        except ProtocolError as fault:
            faults.append(fault)
    return faults


def filled(pair: Pair) -> Pair:
    asked = event(pair.vtn.put("programs", program()), reportDescriptors=[{"payloadType": "DEMAND", "units": "KW"}])
    pair.vtn.put("events", asked)
    return pair


async def test_these_are_the_operations_of_a_life(pair: Pair) -> None:
    used: set[tuple[str, str]] = set()

    def note(request: Request, _: Response) -> None:
        used.add(kind_of(request))

    filled(pair).vtn.after = note
    assert await live(pair) == []
    assert used == set(OPERATIONS)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
async def test_a_bad_answer_is_a_fault_of_the_protocol_and_passes(
    pair: Pair, operation: tuple[str, str], bad: str
) -> None:
    filled(pair).vtn.before = lambda request: BAD[bad] if kind_of(request) == operation else None
    await live(pair)
    pair.vtn.before = lambda _: None
    pair.now += timedelta(hours=1)
    pair.new_ven()
    assert await live(pair) == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
async def test_fields_that_nobody_knows_are_left_alone(pair: Pair, operation: tuple[str, str]) -> None:
    vtn = filled(pair).vtn
    vtn.before = lambda request: extra(vtn._by_definition(request)) if kind_of(request) == operation else None
    assert await live(pair) == []


Fault = Callable[[Definition], None]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda d: d.check_request("GET", "/prices", (), None), "GET /prices is not in the definition"),
        (lambda d: d.check_request("PATCH", "/events", (), None), "PATCH /events is not in the definition"),
        (lambda d: d.check_request("GET", "/events", (("since", "1"),), None), "has no parameter since"),
        (lambda d: d.check_request("GET", "/events", (("limit", "51"),), None), "limit"),
        (lambda d: d.check_request("GET", "/events", (("skip", "many"),), None), "is no number"),
        (lambda d: d.check_request("POST", "/reports", (), None), "a body where there is none, or none"),
        (lambda d: d.check_request("POST", "/reports", (), b"{}"), "lacks"),
        (lambda d: d.check_response("GET", "/events", 204, b""), "GET /events does not answer 204"),
        (lambda d: d.check_response("GET", "/events", 200, b"{}"), "is no array"),
    ],
)
def test_the_small_vtn_takes_and_gives_only_what_the_definition_has(
    definitions: dict[Version, Definition], fault: Fault, says: str
) -> None:
    for definition in definitions.values():
        with pytest.raises(AssertionError, match=says):
            fault(definition)


def test_a_small_vtn_without_the_definition_holds_nobody_to_it() -> None:
    assert SmallVtn(None).answer(Request(method="GET", path="/prices", query=(), body=None)).status == 404
