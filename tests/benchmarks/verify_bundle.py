"""How long it takes to verify the bundles of many sites, and where the time goes.

    python tests/benchmarks/verify_bundle.py [SITES] [READING_S]

Makes the record of one site with an event whose baseline looks back over 15 afternoons of closed intervals and of
readings each READING_S seconds (60 by default), bundles its statement, and verifies that bundle SITES times (100 by
default), each time from the zip's bytes on. The bound is 10 s for 100 sites, held against the time of the processor:
the clock on the wall, printed beside it, counts what else the machine does.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time

from tests.bundle_record import make, verified

BOUND_S = 10.0
"""For a hundred sites."""


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
    print(f"bound {bound_s:.2f} s: {'held' if cpu_s <= bound_s else 'NOT held'} ({cpu_s / bound_s:.2f} of it)")


if __name__ == "__main__":
    main()
