"""Questions over archived days, answered by DuckDB over their Parquet files. Sums are of whole numbers, hence exact."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from gateway.archive import ArchiveBroken
from gateway.domain.closed_day import EventTotal
from gateway.storage.closed_day_tables import INTERVALS, STATEMENTS

# A statement and its intervals are in files of the same day, so that days are asked one by one: what is held in memory
# is then a day's. An event without intervals is there with sums of nothing.
_OF_A_DAY = """
    with sums as (
        select statement_id, count(*) as intervals, sum(baseline_uwh)::bigint as baseline_uwh,
            sum(measured_uwh)::bigint as measured_uwh, sum(delivered_uwh)::bigint as delivered_uwh
        from read_parquet($intervals) group by statement_id
    )
    select issued_at, site_id, connection_id, event_id, statement_id,
        coalesce(intervals, 0), coalesce(baseline_uwh, 0), coalesce(measured_uwh, 0), coalesce(delivered_uwh, 0),
        delivered_kwh, amount, currency
    from read_parquet($statements) left join sums using (statement_id)
    order by issued_at, statement_id
"""


def totals_of(places: Sequence[Path]) -> tuple[EventTotal, ...]:
    """What was delivered in each event, by the last of its statements in these folders. Raises ``ArchiveBroken``."""
    last: dict[tuple[str, str, str], tuple[datetime, Sequence[Any]]] = {}
    try:
        with duckdb.connect() as connection:
            for place in places:
                files = {"statements": str(place / STATEMENTS), "intervals": str(place / INTERVALS)}
                for issued_at, *figures in connection.execute(_OF_A_DAY, files).fetchall():
                    event = (figures[0], figures[1], figures[2])
                    if event not in last or last[event][0] <= issued_at:
                        last[event] = (issued_at, figures)
    except duckdb.Error as cause:
        raise ArchiveBroken(f"the archive cannot be read: {cause}") from cause
    return tuple(_total(figures) for _, (_, figures) in sorted(last.items()))


def _total(figures: Sequence[Any]) -> EventTotal:
    site_id, connection_id, event_id, statement_id, intervals, *energies, stated_kwh, amount, currency = figures
    baseline_uwh, measured_uwh, delivered_uwh = energies
    return EventTotal(
        site_id=site_id,
        connection_id=connection_id,
        event_id=event_id,
        statement_id=statement_id,
        intervals=intervals,
        baseline_uwh=baseline_uwh,
        measured_uwh=measured_uwh,
        delivered_uwh=delivered_uwh,
        stated_kwh=stated_kwh,
        amount=amount,
        currency=currency,
    )
