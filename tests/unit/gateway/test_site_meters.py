"""Site meters as the settings declare them, over a simulated fleet and a real exporter on loopback."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.attach import in_process_fleet
from gateway.clock import VirtualClock
from gateway.config import GENERATOR_METER_ID, SITE_METER_ID, settings_from
from gateway.site_meters import open_site_meter
from hardware.device import PowerReading, Quality

FLEET = {"kind": "simulated", "hosts": 1, "devices_per_host": 4}


async def opened(edges: AsyncExitStack, declared: dict[str, Any]) -> Any:
    settings = settings_from({"site": {"id": "a"}, **declared}, source="test")
    clock = VirtualClock(datetime(2026, 7, 1, tzinfo=UTC))
    fleet = in_process_fleet(settings.fleets[0], clock)
    await fleet.refresh()
    return await open_site_meter(edges, settings, fleet, clock)


def site_of(readings: tuple[PowerReading, ...]) -> PowerReading:
    (site,) = [reading for reading in readings if reading.meter_id == SITE_METER_ID]
    return site


async def test_a_simulated_site_brings_its_own_meter() -> None:
    async with AsyncExitStack() as edges:
        readings = await (await opened(edges, {"hardware": [FLEET]})).read()
        assert len(readings) == 5
        devices_w = sum(reading.power_w for reading in readings if reading.meter_id != SITE_METER_ID)
        assert site_of(readings).power_w > devices_w


async def test_a_declared_meter_is_preferred_and_the_estimate_stands_in() -> None:
    watts = ["4321"]

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=f"# TYPE feed_watts gauge\nfeed_watts {watts[0]}\n")

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    async with AsyncExitStack() as edges:
        server = TestServer(application)
        await server.start_server()
        meter = {
            "kind": "prometheus",
            "name": "feed",
            "urls": [str(server.make_url("/metrics"))],
            "metric": "feed_watts",
        }
        overhead = {"min_kw": 0.2, "max_kw": 4.0, "estimate": True}
        site = await opened(edges, {"site": {"id": "a", "overhead": overhead}, "hardware": [FLEET, meter]})
        readings = await site.read()
        assert len(readings) == 5, "the devices' own readings stay, the simulated site meter does not"
        assert site_of(readings).power_w == 4321.0
        assert site_of(readings).quality is Quality.GOOD
        watts[0] = "NaN"
        fallen_back = site_of(await site.read())
        await server.close()
    devices_w = sum(reading.power_w for reading in readings if reading.meter_id != SITE_METER_ID)
    assert fallen_back.quality is Quality.SUSPECT
    assert abs(fallen_back.power_w - (devices_w + 2100.0)) < 0.05 * devices_w


async def test_a_generator_s_meter_is_read_beside_the_site_and_is_none_of_its_sources() -> None:
    watts = ["1500"]

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=f"# TYPE chp_watts gauge\nchp_watts {watts[0]}\n")

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    async with AsyncExitStack() as edges:
        server = TestServer(application)
        await server.start_server()
        urls = [str(server.make_url("/metrics"))]
        meter = {"kind": "prometheus", "name": "chp", "urls": urls, "metric": "chp_watts"}
        site = await opened(edges, {"site": {"id": "a", "generator_meter": "chp"}, "hardware": [FLEET, meter]})
        readings = await site.read()
        watts[0] = "NaN"
        silent = await site.read()
        await server.close()
    assert [one.power_w for one in readings if one.meter_id == GENERATOR_METER_ID] == [1500.0]
    assert len(readings) == 6, "the simulated site keeps its own meter"
    assert len(silent) == 5
