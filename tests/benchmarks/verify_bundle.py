"""How long it takes to verify the bundles of many sites, and where the time goes.

    python tests/benchmarks/verify_bundle.py [SITES] [READING_S]

Makes the record of one site with an event whose baseline looks back over 15 afternoons of closed intervals and of
readings each READING_S seconds (60 by default), bundles its statement, and verifies that bundle SITES times (100 by
default), each time from the zip's bytes on. The bound is 10 s for 100 sites, held against the time of the processor:
the clock on the wall, printed beside it, counts what else the machine does.

Beside that it prints what takes most of the time where readings come by the second, energy from the records of
readings: in columns, as it is done, and with an object each.
"""

import asyncio
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from time import perf_counter, process_time

from pydantic import TypeAdapter

from gateway.bundle_recorded import READING, Recorded
from gateway.domain.measurement import Slice, integrate
from hardware.device import PowerReading, Quality
from tests.bundle_record import Made, make, verified

BOUND_S = 10.0
"""For a hundred sites."""


_ROWS = TypeAdapter(list[tuple[datetime, float, float | None, Quality]])


def in_columns(made: Made) -> float:
    """Seconds of the processor for the energy of all closed intervals."""
    recorded = Recorded(made.bundle)
    assert recorded.closed
    began = process_time()
    assert recorded.recomputed.pairs
    return process_time() - began


def one_by_one(made: Made) -> float:
    """As ``in_columns``, with an object for each reading."""
    recorded = Recorded(made.bundle)
    closed = recorded.closed
    began = process_time()
    readings = [
        PowerReading(meter_id="site", measured_at=at, power_w=power_w, energy_j=energy_j, quality=quality)
        for _, content in recorded.of_kind(READING)
        for at, power_w, energy_j, quality in _ROWS.validate_json(content)
    ]
    integrate(readings, [Slice(starts_at=one.starts_at, duration_s=one.duration_s) for one in closed])
    return process_time() - began


def main() -> None:
    sites = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    reading_s = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    with tempfile.TemporaryDirectory() as folder:
        began = perf_counter()
        made = asyncio.run(make(Path(folder), reading_s=reading_s))
        making_s = perf_counter() - began
    began, began_cpu = perf_counter(), process_time()
    for _ in range(sites):
        if not verified(made.bundle, *made.heads).holds:
            raise SystemExit("the bundle does not hold")
    wall_s, cpu_s = perf_counter() - began, process_time() - began_cpu
    bound_s = BOUND_S * sites / 100
    print(f"made in {making_s:.1f} s: {len(made.body) / 1e6:.2f} MB, {made.statement.delivered_kwh} kWh")
    print(f"{sites} bundles verified in {cpu_s:.2f} s of the processor, {wall_s:.2f} s by the clock")
    print(f"a bundle takes {cpu_s / sites:.3f} s of the processor")
    columns_s, objects_s = in_columns(made), one_by_one(made)
    print(
        f"of which energy from readings {columns_s:.3f} s; one by one {objects_s:.3f} s ({objects_s / columns_s:.1f}x)"
    )
    print(f"bound {bound_s:.2f} s: {'held' if cpu_s <= bound_s else 'NOT held'} ({cpu_s / bound_s:.2f} of it)")


if __name__ == "__main__":
    main()
