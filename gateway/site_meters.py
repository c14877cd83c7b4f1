"""Site meters, opened: those that are declared in order of preference, or what stands in for them.

Each driver is imported inside the function that opens it, so that only what is configured is loaded.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import structlog

from gateway.attach import MeteredFleet
from gateway.clock import Clock
from gateway.config import (
    GENERATOR_METER_ID,
    SITE_METER_ID,
    MeterSettings,
    ModbusSettings,
    OverheadSettings,
    PrometheusSettings,
    RegisterSettings,
    Settings,
    SimulatedSettings,
)
from hardware.device import DeviceView, PowerMeter
from hardware.errors import Condition

log = structlog.get_logger()


async def open_site_meter(edges: AsyncExitStack, settings: Settings, fleet: MeteredFleet, clock: Clock) -> PowerMeter:
    """The declared site meters in order of preference, over the devices' sum; ``edges`` closes their connections.

    Where none is declared a simulated site brings its own, and elsewhere the devices are summed. The meter of a
    generator is read beside it.
    """
    local = settings.fleets[0] if settings.fleets and settings.agents is None else None
    site: PowerMeter = fleet
    if settings.meters or not isinstance(local, SimulatedSettings):
        opened = [(meter, await open_meter(edges, meter, clock)) for meter in settings.meters]
        site = over_devices(opened, settings.site.overhead, fleet, clock)
    if settings.generator_meter is None:
        return site
    from hardware.site_meter import WithGenerator

    generator = await open_meter(edges, settings.generator_meter, clock)
    return WithGenerator(meters=site, generator=generator, meter_id=GENERATOR_METER_ID, on_change=_log_change)


def over_devices(
    meters: Sequence[tuple[MeterSettings, PowerMeter]],
    overhead: OverheadSettings | None,
    fleet: MeteredFleet,
    clock: Clock,
    tell: Callable[[str, str | None], None] | None = None,
) -> PowerMeter:
    """Site meters, in order of preference, over the devices' sum. Without any the devices are summed.

    ``tell(part, reason)`` hears of changes; without it the log does.
    """
    from hardware.device_sum import DeviceSum, EstimatedMeter
    from hardware.meter_watch import Plausible
    from hardware.site_meter import FailoverMeter, SiteAndDevices, Source

    devices = DeviceSum(
        devices=fleet,
        expected=lambda: [view.device_id for view in fleet.devices().values() if draws(view)],
        site_meter_id=SITE_METER_ID,
        now=clock.now,
    )
    if not meters:
        return SiteAndDevices(devices=devices, site=EstimatedMeter(meter_id=SITE_METER_ID, devices=devices))
    sources = [
        Source(
            name=meter.name,
            meter=opened,
            plausible=Plausible(
                min_w=meter.min_kw * 1000.0,
                max_w=math.inf if meter.max_kw is None else meter.max_kw * 1000.0,
                stale_after_s=meter.stale_after_s,
                stuck_after_s=meter.stuck_after_s,
                moved_fraction=meter.stuck_moved_fraction,
            ),
        )
        for meter, opened in meters
    ]
    if overhead is not None and overhead.estimate:
        guess = EstimatedMeter(
            meter_id=SITE_METER_ID,
            devices=devices,
            overhead_w=500.0 * (overhead.min_kw + overhead.max_kw),
            overhead_fraction=0.5 * (overhead.min_fraction + overhead.max_fraction),
        )
        sources.append(Source(name="sum of devices", meter=guess, estimate=True))
    site = FailoverMeter(
        meter_id=SITE_METER_ID,
        sources=sources,
        now=clock.now,
        devices=devices,
        overhead=None if overhead is None else _overhead_range(overhead),
        on_change=_log_change if tell is None else tell,
    )
    return SiteAndDevices(devices=devices, site=site)


def _log_change(part: str, reason: str | None) -> None:
    log.warning("meter_changed", part=part, reason=reason)


def draws(view: DeviceView) -> bool:
    """Whether a device counts: one that is lost draws nothing, one whose agent is away draws on unseen."""
    return view.present or (view.fault is not None and view.fault.condition is Condition.SILENT)


def _overhead_range(overhead: OverheadSettings) -> Any:
    from hardware.device_sum import OverheadRange

    return OverheadRange(
        min_w=overhead.min_kw * 1000.0,
        max_w=overhead.max_kw * 1000.0,
        min_fraction=overhead.min_fraction,
        max_fraction=overhead.max_fraction,
    )


async def open_meter(edges: AsyncExitStack, meter: ModbusSettings | PrometheusSettings, clock: Clock) -> PowerMeter:
    """One meter; ``edges`` closes its connection."""
    import aiohttp

    from hardware.modbus_meter import ModbusMeter
    from hardware.prometheus_meter import ExporterMeter, QueryMeter, Series

    if isinstance(meter, ModbusSettings):
        modbus = ModbusMeter(
            meter_id=meter.name,
            host=meter.host,
            port=meter.port,
            unit_id=meter.unit_id,
            registers=register_map(meter),
            now=clock.now,
            timeout_s=meter.timeout_s,
        )
        edges.callback(modbus.close)
        return modbus
    session = await edges.enter_async_context(aiohttp.ClientSession())
    series = Series(
        metric=meter.metric,
        labels=meter.labels,
        scale=meter.scale,
        expected=meter.expected,
        once_by=meter.once_by,
    )
    if meter.server is None:
        return ExporterMeter(
            meter_id=meter.name,
            urls=meter.urls,
            series=series,
            session=session,
            now=clock.now,
            timeout_s=meter.timeout_s,
        )
    return QueryMeter(
        meter_id=meter.name,
        url=meter.server,
        series=series,
        session=session,
        query=meter.query,
        window_s=meter.window_s,
        timeout_s=meter.timeout_s,
    )


def register_map(meter: ModbusSettings) -> Any:
    """The registers of a Modbus meter. Raises ``ValueError`` for ones that cannot be."""
    from hardware.register_map import SHIPPED, Kind, Register, RegisterMap, Table, WordOrder

    def register(one: RegisterSettings) -> Register:
        return Register(
            address=one.address,
            kind=Kind(one.kind),
            scale=one.scale,
            words=WordOrder(one.words),
            table=Table(one.table),
            exponent_at=one.exponent_at,
        )

    if meter.power is None:
        return SHIPPED[str(meter.map)].moved(meter.map_offset)
    return RegisterMap(
        power=register(meter.power),
        energy=None if meter.energy is None else register(meter.energy),
        energy_wraps_at=meter.energy_wraps_at,
    )
