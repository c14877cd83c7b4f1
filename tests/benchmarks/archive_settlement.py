"""Totals of many events over an archive of closed days, beside the bare reading of the same columns.

    python tests/benchmarks/archive_settlement.py [DAYS]

Writes so many closed days (174 by default: 100 million rows) of 2,000 sites with 288 intervals each into a temporary
folder, then asks for what every event delivered. The bound is 10 s for 100 million rows on two cores. The sums are held
against sums that were taken while the rows were made: they agree to the microwatt-hour or the script fails.
"""

import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import perf_counter

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gateway.storage.closed_day_tables import INTERVALS, ROW_GROUP, SCHEMAS, STATEMENTS
from gateway.storage.closed_day_totals import totals_of

FIRST = date(2026, 1, 1)
SITES = 2000
INTERVALS_OF_AN_EVENT = 288
ROWS_OF_A_DAY = SITES * INTERVALS_OF_AN_EVENT


def write_day(folder: Path, number: int, random: np.random.Generator) -> int:
    """One closed day; returns the sum of what was delivered, in microwatt-hours."""
    day = FIRST + timedelta(days=number)
    place = folder / day.isoformat() / "v1"
    place.mkdir(parents=True)
    events = SITES
    names = [f"site-{index:04}-{number}-{index}" for index in range(events)]
    begins_us = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
    baseline = random.integers(10_000_000_000, 90_000_000_000, ROWS_OF_A_DAY)
    delivered = random.integers(-1_000_000_000, 9_000_000_000, ROWS_OF_A_DAY)
    of_event = np.repeat(np.arange(events, dtype=np.int32), INTERVALS_OF_AN_EVENT)
    schema = SCHEMAS[INTERVALS]
    table = pa.table(
        [
            pa.DictionaryArray.from_arrays(pa.array(of_event), pa.array(names)),
            pa.array(
                begins_us + np.tile(np.arange(INTERVALS_OF_AN_EVENT, dtype=np.int64) * 300_000_000, events),
                type=schema.field("starts_at").type,
            ),
            pa.array(np.full(ROWS_OF_A_DAY, 300.0)),
            pa.array(baseline),
            pa.array(baseline - delivered),
            pa.array(delivered),
            pa.array(np.ones(ROWS_OF_A_DAY)),
            pa.DictionaryArray.from_arrays(pa.array(np.zeros(ROWS_OF_A_DAY, dtype=np.int32)), pa.array(["good"])),
        ],
        schema=schema,
    )
    pq.write_table(table, place / INTERVALS, compression="zstd", version="2.6", row_group_size=ROW_GROUP)
    sums = delivered.reshape(events, INTERVALS_OF_AN_EVENT).sum(axis=1)
    kwh = [Decimal(int(one)).scaleb(-9).quantize(Decimal("0.001")) for one in sums]
    columns = {
        "statement_id": names,
        "site_id": [name.rsplit("-", 2)[0] for name in names],
        "connection_id": ["utility"] * events,
        "event_id": names,
        "rule": ["caiso-10-in-10"] * events,
        "rule_version": ["1.0"] * events,
        "issued_at": [begins_us] * events,
        "delivered_kwh": kwh,
        "amount": kwh,
        "currency": ["USD"] * events,
        "inputs_sha256": [""] * events,
    }
    statements = SCHEMAS[STATEMENTS]
    pq.write_table(
        pa.table([pa.array(columns[field.name], type=field.type) for field in statements], schema=statements),
        place / STATEMENTS,
        compression="zstd",
    )
    return int(delivered.sum())


def main() -> None:
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 174
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made_uwh = sum(write_day(folder, number, random) for number in range(days))
        places = sorted(folder.glob("*/v1"))
        files = [str(place / INTERVALS) for place in places]
        size_mib = sum(Path(file).stat().st_size for file in files) / 2**20
        began = perf_counter()
        with duckdb.connect() as connection:
            connection.execute(
                "select sum(baseline_uwh), sum(measured_uwh), sum(delivered_uwh) from read_parquet($files)",
                {"files": files},
            ).fetchall()
        bare_s = perf_counter() - began
        began = perf_counter()
        totals = totals_of(places)
        asked_s = perf_counter() - began
    if sum(total.delivered_uwh for total in totals) != made_uwh or not all(total.agrees for total in totals):
        raise SystemExit("the totals are not what was written")
    rows = days * ROWS_OF_A_DAY
    print(f"{rows:,} intervals of {len(totals):,} events in {days} days, {size_mib:,.0f} MiB")
    print(f"totals of every event: {asked_s:.2f} s; the columns read and summed alone: {bare_s:.2f} s")
    print(
        f"{asked_s / rows * 1e8:.2f} s for 100 million rows, bound 10 s; {asked_s / bare_s:.1f} times the bare reading"
    )


if __name__ == "__main__":
    main()
