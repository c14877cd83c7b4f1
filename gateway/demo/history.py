"""A past for the demonstration's site, made up with a seed."""

import random
from datetime import datetime, timedelta
from math import pi, sin

from gateway.domain.fleet import Site
from gateway.domain.measurement import IntervalEnergy
from gateway.ledger import Ledger
from hardware.device import PowerMeter

SEED = 7
HISTORY_DAYS = 16
"""Long enough for ten business days whatever the weekday, short enough to be made in a moment."""


async def seed_history(ledger: Ledger, meter: PowerMeter, site: Site, now: datetime) -> None:
    """Give the site a past: metered intervals of the days before, around what it draws now, with a seed.

    Days differ by some percent, nights are a little lower, weekends lower still: enough for a rule to have something
    to choose and adjust, and the same each time.
    """
    present_w = next(reading.power_w for reading in await meter.read() if reading.meter_id == site.meter_id)
    chance = random.Random(SEED)  # noqa: S311 - a made-up past wants repeatable numbers, not secret ones
    end = now.replace(second=0, microsecond=0)
    at = end - timedelta(days=HISTORY_DAYS)
    intervals: list[IntervalEnergy] = []
    day_factor, day = 1.0, None
    while at < end:
        local = at.astimezone(site.timezone)
        if local.date() != day:
            day = local.date()
            day_factor = chance.gauss(1.0, 0.02) * (0.93 if local.weekday() >= 5 else 1.0)
        hour = local.hour + local.minute / 60
        shape = 1.0 + 0.015 * sin(2 * pi * (hour - 10.0) / 24)
        power_w = present_w * day_factor * shape * chance.gauss(1.0, 0.004)
        intervals.append(
            IntervalEnergy(
                starts_at=at,
                duration_s=float(site.interval_s),
                energy_wh=power_w * site.interval_s / 3600.0,
                coverage_fraction=1.0,
            )
        )
        at += timedelta(seconds=site.interval_s)
    await ledger.record_energy(site.meter_id, intervals)
