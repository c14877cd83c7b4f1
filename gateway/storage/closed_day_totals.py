"""Questions over archived days, answered by DuckDB over their Parquet files. Sums are of whole numbers, hence exact."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from gateway.archive import ArchiveBroken
from gateway.domain.closed_day import EventTotal
from gateway.storage.closed_day_tables import INTERVALS, STATEMENTS

# Of each event the statement that was issued last; an event without intervals is there with sums of nothing.
_TOTALS = """
    with latest as (
        select * from read_parquet($statements)
        qualify row_number() over (
            partition by site_id, connection_id, event_id order by issued_at desc, statement_id desc
        ) = 1
    ),
    sums as (
        select statement_id, count(*) as intervals, sum(baseline_uwh) as baseline_uwh,
            sum(measured_uwh) as measured_uwh, sum(delivered_uwh) as delivered_uwh
        from read_parquet($intervals) group by statement_id
    )
    select site_id, connection_id, event_id, statement_id, coalesce(intervals, 0), coalesce(baseline_uwh, 0),
        coalesce(measured_uwh, 0), coalesce(delivered_uwh, 0), delivered_kwh, amount, currency
    from latest left join sums using (statement_id)
    order by connection_id, event_id, site_id
"""


def totals_of(places: Sequence[Path]) -> tuple[EventTotal, ...]:
    """What was delivered in each event over the days in these folders. Raises ``ArchiveBroken``."""
    if not places:
        return ()
    files = {
        "statements": [str(place / STATEMENTS) for place in places],
        "intervals": [str(place / INTERVALS) for place in places],
    }
    try:
        with duckdb.connect() as connection:
            found = connection.execute(_TOTALS, files).fetchall()
    except duckdb.Error as cause:
        raise ArchiveBroken(f"the archive cannot be read: {cause}") from cause
    return tuple(
        EventTotal(
            site_id=site_id,
            connection_id=connection_id,
            event_id=event_id,
            statement_id=statement_id,
            intervals=intervals,
            baseline_uwh=int(baseline_uwh),
            measured_uwh=int(measured_uwh),
            delivered_uwh=int(delivered_uwh),
            stated_kwh=delivered_kwh,
            amount=amount,
            currency=currency,
        )
        for (
            site_id,
            connection_id,
            event_id,
            statement_id,
            intervals,
            baseline_uwh,
            measured_uwh,
            delivered_uwh,
            delivered_kwh,
            amount,
            currency,
        ) in found
    )
