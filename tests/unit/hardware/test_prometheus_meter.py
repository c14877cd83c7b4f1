"""The meters against a real HTTP server on loopback that serves what a test puts there."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from hardware.device import PowerReading
from hardware.errors import MeterSilent
from hardware.prometheus_meter import DCGM_POWER, MAX_BODY_BYTES, ExporterMeter, QueryMeter, Series

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
PAGE = """\
# HELP DCGM_FI_DEV_POWER_USAGE Power draw (in W).
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",Hostname="n1"} 300.25
DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="GPU-b",Hostname="n1"} 400.5
DCGM_FI_DEV_POWER_USAGE{gpu="2",UUID="GPU-c",Hostname="n2"} 100
DCGM_FI_DEV_POWER_MGMT_LIMIT{gpu="0",UUID="GPU-a",Hostname="n1"} 700
"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Stand:
    """A server that answers every path with ``handle``, and a session."""

    url: str
    session: aiohttp.ClientSession
    asked: list[web.Request] = field(default_factory=list)
    handle: Handler | None = None

    def serve(self, body: str | bytes, *, status: int = 200, content_type: str = "text/plain") -> None:
        async def answer(_request: web.Request) -> web.StreamResponse:
            data = body.encode() if isinstance(body, str) else body
            return web.Response(body=data, status=status, content_type=content_type)

        self.handle = answer

    def serve_json(self, document: Any, *, status: int = 200) -> None:
        self.serve(json.dumps(document), status=status, content_type="application/json")

    def exporter(self, series: Series | None = None, *, pages: int = 1) -> ExporterMeter:
        return ExporterMeter(
            meter_id="gpus",
            urls=[f"{self.url}/{page}/metrics" for page in range(pages)],
            series=series or Series(metric=DCGM_POWER),
            session=self.session,
            now=lambda: NOW,
            timeout_s=0.3,
        )

    def server(self, series: Series | None = None, *, query: str | None = None) -> QueryMeter:
        return QueryMeter(
            meter_id="site",
            url=self.url,
            series=series or Series(metric="site_power_watts"),
            session=self.session,
            query=query,
            timeout_s=0.3,
        )


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async def dispatch(request: web.Request) -> web.StreamResponse:
        one.asked.append(request)
        assert one.handle is not None
        return await one.handle(request)

    application = web.Application()
    application.router.add_get("/{path:.*}", dispatch)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        one = Stand(url=f"http://127.0.0.1:{runner.addresses[0][1]}", session=session)
        yield one
    await runner.cleanup()


async def test_gpus_are_added_up(stand: Stand) -> None:
    stand.serve(PAGE)
    assert await stand.exporter().read() == (PowerReading(meter_id="gpus", power_w=800.75, measured_at=NOW),)
    assert stand.asked[0].headers["Accept"] == "text/plain;version=0.0.4"


async def test_labels_select_and_a_scale_converts(stand: Stand) -> None:
    stand.serve('pdu_kw{feed="a",name="x"} 1.5\npdu_kw{feed="b",name="x"} 9\npdu_kw{feed="a"} 2 1782907195000\n')
    series = Series(metric="pdu_kw", labels={"feed": "a"}, scale=1000.0)
    (reading,) = await stand.exporter(series).read()
    assert (reading.power_w, reading.measured_at) == (3500.0, NOW - timedelta(seconds=5))
    unnamed = Series(metric="pdu_kw", labels={"feed": "a", "name": ""})
    assert (await stand.exporter(unnamed).read())[0].power_w == 2.0


async def test_hosts_are_added_up_and_each_must_answer(stand: Stand) -> None:
    stand.serve(PAGE)
    assert (await stand.exporter(pages=3).read())[0].power_w == 3 * 800.75

    async def one_fails(request: web.Request) -> web.StreamResponse:
        return web.Response(text=PAGE) if request.path == "/0/metrics" else web.Response(status=503)

    stand.handle = one_fails
    with pytest.raises(MeterSilent, match="/1/metrics: answered 503"):
        await stand.exporter(pages=2).read()


async def test_a_gpu_that_vanished_is_no_load_that_was_shed(stand: Stand) -> None:
    stand.serve(PAGE)
    assert (await stand.exporter(Series(metric=DCGM_POWER, expected=3)).read())[0].power_w == 800.75
    with pytest.raises(MeterSilent, match="gpus: 3 series of DCGM_FI_DEV_POWER_USAGE instead of 4"):
        await stand.exporter(Series(metric=DCGM_POWER, expected=4)).read()
    with pytest.raises(MeterSilent, match="0 series of DCGM_FI_DEV_POWER_USAGE instead of some"):
        await stand.exporter(Series(metric=DCGM_POWER, labels={"Hostname": "n9"})).read()


async def test_a_gpu_told_once_a_mig_instance_counts_once(stand: Stand) -> None:
    stand.serve(
        'DCGM_FI_DEV_POWER_USAGE{UUID="GPU-a",GPU_I_ID="1"} 251\n'
        'DCGM_FI_DEV_POWER_USAGE{UUID="GPU-a",GPU_I_ID="2"} 250\n'
        'DCGM_FI_DEV_POWER_USAGE{UUID="GPU-b",GPU_I_ID=""} 100\n'
    )
    once = Series(metric=DCGM_POWER, once_by="UUID", expected=2)
    assert (await stand.exporter(once).read())[0].power_w == 351.0
    with pytest.raises(MeterSilent, match="has no label Hostname"):
        await stand.exporter(Series(metric=DCGM_POWER, once_by="Hostname")).read()


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (PAGE[:-4], "the last line does not end"),
        (PAGE.replace("300.25", "NaN"), "holds no number"),
        (PAGE.replace("300.25", "+Inf").replace("400.5", "-Inf"), "holds no number"),
        (PAGE.replace("GPU-b", "GPU-a").replace('gpu="1"', 'gpu="0"'), "comes twice"),
        (PAGE.replace(" gauge", " counter"), "is a counter and no gauge"),
        (PAGE.encode().replace(b"n1", b"\xff\xfe"), "not readable"),
    ],
)
async def test_a_page_that_cannot_be_right(stand: Stand, page: str | bytes, why: str) -> None:
    stand.serve(page)
    with pytest.raises(MeterSilent, match=why):
        await stand.exporter().read()


async def test_a_page_that_is_none(stand: Stand) -> None:
    stand.serve("<html>login</html>", content_type="text/html")
    with pytest.raises(MeterSilent, match="answered 200 text/html, not metrics"):
        await stand.exporter().read()

    async def elsewhere(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/other"})

    stand.handle = elsewhere
    with pytest.raises(MeterSilent, match="answered 302"):
        await stand.exporter().read()
    assert len(stand.asked) == 2


async def test_an_answer_without_end_is_cut_off(stand: Stand) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        while True:
            await response.write(b"# padding padding padding\n" * 4096)
            sent += 26 * 4096

    stand.handle = endless
    one = stand.exporter()
    one._timeout_s = 5.0
    with pytest.raises(MeterSilent, match=f"more than {MAX_BODY_BYTES} bytes"):
        await one.read()
    assert sent < 4 * MAX_BODY_BYTES


async def test_a_slow_page_ends_at_the_deadline(stand: Stand) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        for _ in range(20):
            await response.write(b"# still here\n")
            await asyncio.sleep(0.05)
        return response

    stand.handle = slow
    with pytest.raises(MeterSilent, match=r"did not answer in 0.3 s"):
        await stand.exporter().read()


async def test_half_an_answer_and_nobody_there(stand: Stand) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(PAGE[:200].encode())
        assert request.transport is not None
        request.transport.abort()
        return response

    stand.handle = half
    with pytest.raises(MeterSilent, match="ClientPayloadError"):
        await stand.exporter().read()
    with pytest.raises(MeterSilent, match=r"127\.0\.0\.1:1/metrics: ClientConnector"):
        await ExporterMeter(
            meter_id="gpus",
            urls=["http://user:secret@127.0.0.1:1/metrics"],
            series=Series(metric="x"),
            session=stand.session,
            now=lambda: NOW,
        ).read()


async def test_a_fault_tells_no_password(stand: Stand) -> None:
    stand.serve("", status=401)
    one = stand.exporter()
    one._urls = (stand.url.replace("//", "//user:secret@") + "/metrics?token=secret",)
    with pytest.raises(MeterSilent, match="answered 401") as caught:
        await one.read()
    assert "secret" not in str(caught.value)


def vector(*values: tuple[dict[str, str], float, str]) -> dict[str, Any]:
    result = [{"metric": labels, "value": [at, value]} for labels, at, value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def matrix(*series: tuple[dict[str, str], list[tuple[float, str]]]) -> dict[str, Any]:
    result = [{"metric": labels, "values": values} for labels, values in series]
    return {"status": "success", "data": {"resultType": "matrix", "result": result}, "warnings": ["whatever"]}


async def test_a_server_is_asked_for_samples_with_their_own_stamps(stand: Stand) -> None:
    at = NOW.timestamp()
    stand.serve_json(
        matrix(({"feed": "a"}, [(at - 16, "9"), (at - 1, "1.5")]), ({"feed": "b"}, [(at - 4.5, "2"), (at - 19.5, "7")]))
    )
    series = Series(metric="feed_kw", labels={"site": 'p"1'}, scale=1000.0, expected=2)
    (reading,) = await stand.server(series).read()
    assert (reading.meter_id, reading.power_w) == ("site", 3500.0)
    assert reading.measured_at == NOW - timedelta(seconds=4.5)
    assert stand.asked[0].path == "/api/v1/query"
    assert stand.asked[0].query["query"] == 'feed_kw{site="p\\"1"}[60s]'


@pytest.mark.parametrize(
    "document",
    [
        vector(({}, NOW.timestamp(), "1234.5")),
        {"status": "success", "data": {"resultType": "scalar", "result": [NOW.timestamp(), "1234.5"]}},
    ],
)
async def test_any_other_query(stand: Stand, document: dict[str, Any]) -> None:
    stand.serve_json(document)
    (reading,) = await stand.server(query="sum(x) * 1000").read()
    assert (reading.power_w, reading.measured_at) == (1234.5, NOW)
    assert stand.asked[0].query["query"] == "sum(x) * 1000"


@pytest.mark.parametrize(
    ("document", "status", "why"),
    [
        ({"status": "error", "errorType": "bad_data", "error": "parse error"}, 400, "400 bad_data: parse error"),
        (vector(), 200, "0 series"),
        (vector(({}, 1.0, "NaN")), 200, "holds no number"),
        (vector(({}, 1.0, "many")), 200, "no answer of Prometheus"),
        (vector(({}, 1e300, "1")), 200, "no answer of Prometheus"),
        (matrix(({}, [])), 200, "no answer of Prometheus"),
        ({"status": "success", "data": {"resultType": "string", "result": [1, "x"]}}, 200, "no answer"),
        ({"status": "success"}, 200, "no answer"),
        (["anything"], 502, "502, and no answer"),
    ],
)
async def test_an_answer_that_gives_no_power(stand: Stand, document: Any, status: int, why: str) -> None:
    stand.serve_json(document, status=status)
    with pytest.raises(MeterSilent, match=why):
        await stand.server().read()


async def test_an_answer_that_is_no_json(stand: Stand) -> None:
    stand.serve("[" * 100_000, content_type="application/json")
    with pytest.raises(MeterSilent, match="no answer of Prometheus"):
        await stand.server().read()
