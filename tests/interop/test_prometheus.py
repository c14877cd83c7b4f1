"""A real Prometheus server between an exporter and the meter."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hardware.device import PowerReading
from hardware.errors import MeterSilent
from hardware.prometheus_meter import DCGM_POWER, QueryMeter, Series

PROMETHEUS = shutil.which("prometheus")
GPUS = Series(metric=DCGM_POWER, labels={"Hostname": 'n"1'}, expected=2)

CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: gpus
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@dataclass
class Chain:
    """An exporter whose GPUs the test sets, and the Prometheus that scrapes it."""

    url: str
    session: aiohttp.ClientSession
    powers_w: list[float]
    stamped_at: datetime | None = None

    async def page(self, _request: web.Request) -> web.Response:
        lines = [f"# TYPE {DCGM_POWER} gauge"]
        at = "" if self.stamped_at is None else f" {round(self.stamped_at.timestamp() * 1000)}"
        lines += [
            f'{DCGM_POWER}{{gpu="{gpu}",Hostname="n\\"1"}} {power_w!r}{at}' for gpu, power_w in enumerate(self.powers_w)
        ]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")

    def meter(self, query: str | None = None) -> QueryMeter:
        return QueryMeter(meter_id="gpus", url=self.url, series=GPUS, session=self.session, query=query)

    async def read_until(self, power_w: float, *, within_s: float) -> PowerReading:
        last: object = None
        for _ in range(int(within_s / 0.1)):
            try:
                (last,) = await self.meter().read()
            except MeterSilent as fault:
                last = fault
            else:
                if last.power_w == power_w:
                    return last
            await asyncio.sleep(0.1)
        raise AssertionError(f"{power_w} W was not read in {within_s} s: {last}")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[Chain]:
    if PROMETHEUS is None:
        pytest.skip("no prometheus on this machine: install it (Debian: apt-get install prometheus)")
    port = free_port()
    async with aiohttp.ClientSession() as session:
        one = Chain(url=f"http://127.0.0.1:{port}", session=session, powers_w=[300.25, 400.5])
        application = web.Application()
        application.router.add_get("/metrics", one.page)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        config = tmp_path / "prometheus.yml"
        config.write_text(CONFIG.format(port=runner.addresses[0][1]))
        server = await asyncio.create_subprocess_exec(
            PROMETHEUS,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        )
        try:
            yield one
        finally:
            server.terminate()
            await server.wait()
            await runner.cleanup()


async def test_watts_come_through_with_the_time_of_the_scrape(chain: Chain) -> None:
    reading = await chain.read_until(700.75, within_s=20.0)
    assert abs(datetime.now(UTC) - reading.measured_at) < timedelta(seconds=3)
    chain.powers_w = [100.0, 50.5]
    changed = await chain.read_until(150.5, within_s=5.0)
    assert changed.measured_at > reading.measured_at

    with pytest.raises(MeterSilent, match="400 bad_data"):
        await chain.meter("sum(").read()

    # The series end: they are no load that was shed, but a reading that grows old.
    chain.powers_w = []
    await asyncio.sleep(2.5)
    (old,) = await chain.meter().read()
    assert old.power_w == 150.5
    assert datetime.now(UTC) - old.measured_at > timedelta(seconds=1.4)


async def test_an_expression_hides_the_age_of_its_samples(chain: Chain) -> None:
    chain.stamped_at = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=20)
    reading = await chain.read_until(700.75, within_s=20.0)
    assert reading.measured_at == chain.stamped_at
    chain.stamped_at += timedelta(seconds=5)
    chain.powers_w = [1.0, 2.0]
    assert (await chain.read_until(3.0, within_s=5.0)).measured_at == chain.stamped_at
    selector = GPUS.query(60).removesuffix("[60s]")
    meter = QueryMeter(
        meter_id="gpus",
        url=chain.url,
        series=Series(metric=DCGM_POWER),
        session=chain.session,
        query=f"sum({selector})",
    )
    (hidden,) = await meter.read()
    assert hidden.power_w == 3.0
    assert abs(datetime.now(UTC) - hidden.measured_at) < timedelta(seconds=2)
