"""Power over the last minutes, thinned for a chart. Pure but for the reading of the ledger."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.domain.event import effective_end
from gateway.http import words
from gateway.http.sources import Record, Sources
from gateway.http.view import SILENT_AFTER_S
from hardware.device import PowerReading

MOST_POINTS = 600
LEAST_MINUTES = 1
MOST_MINUTES = 240
USUAL_MINUTES = 30
ROWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSpan:
    """Where an event that we acted on lies; ``ends_at`` is ``None`` while it is open ended."""

    event_id: str
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """One line of the table beside the chart, in words."""

    at: str
    power: str
    target: str
    baseline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Site power, target and live baseline in watts at ``starts_at + time_s``; ``None`` where there is none.

    Site power is the mean over ``bucket_s`` from there on. A ``None`` in it is a silence, not a bucket that happened to
    be empty. ``rows`` says the same in few words.
    """

    starts_at: datetime
    ends_at: datetime
    utc_offset_s: float
    bucket_s: float
    time_s: tuple[float, ...]
    site_w: tuple[float | None, ...]
    target_w: tuple[float | None, ...]
    baseline_w: tuple[float | None, ...]
    events: tuple[EventSpan, ...]
    rows: tuple[SeriesRow, ...]
    rows_note: str


async def series(sources: Sources, minutes: int) -> Series:
    """The last ``minutes``. Raises ``LedgerUnavailable``."""
    now = sources.now()
    record = await sources.view.record(now)
    window = await _window(sources, now, minutes)
    offset = now.astimezone(sources.site.timezone).utcoffset() or timedelta(0)
    forces = [record.in_force(window.starts_at + timedelta(seconds=time_s)) for time_s, _ in window.means]
    return Series(
        starts_at=window.starts_at,
        ends_at=now,
        utc_offset_s=offset.total_seconds(),
        bucket_s=window.bucket_s,
        time_s=tuple(time_s for time_s, _ in window.means),
        site_w=tuple(mean_w for _, mean_w in window.means),
        target_w=tuple(None if force is None else force[0] for force in forces),
        baseline_w=tuple(None if force is None else force[1].baseline_w for force in forces),
        events=_spans(record, window),
        rows=_rows(sources, record, window),
        rows_note=(
            f"Mean power over {words.span(minutes * 60 / ROWS)} from each time (in the first line, up to now); "
            "target and baseline as of that time."
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """What was measured in the time that is shown; ``means`` are seconds after the start, and watts."""

    starts_at: datetime
    ends_at: datetime
    minutes: int
    bucket_s: float
    means: Sequence[tuple[float, float | None]]


async def _window(sources: Sources, now: datetime, minutes: int) -> _Window:
    bucket_s = math.ceil(minutes * 60 / MOST_POINTS)
    starts_at = _on_grid(now - timedelta(minutes=minutes), bucket_s)
    readings = await sources.ledger.readings_between(sources.site.meter_id, starts_at, now)
    means = thinned(readings, starts_at, bucket_s)
    return _Window(starts_at=starts_at, ends_at=now, minutes=minutes, bucket_s=bucket_s, means=means)


def _spans(record: Record, window: _Window) -> tuple[EventSpan, ...]:
    spans = (
        EventSpan(event_id=found.event.event_id, starts_at=found.event.starts_at, ends_at=effective_end(found))
        for found in record.events
        if (plan := record.plan_of(found.event)) is not None and plan.intervals
    )
    return tuple(
        span
        for span in spans
        if span.starts_at < window.ends_at and (span.ends_at is None or span.ends_at > window.starts_at)
    )


def _rows(sources: Sources, record: Record, window: _Window) -> tuple[SeriesRow, ...]:
    """The last ``ROWS`` parts of the window on round times, the latest (and unfinished) first."""
    row_s = window.minutes * 60 / ROWS
    latest_at = _on_grid(window.ends_at, row_s)
    rows = []
    for number in range(ROWS):
        at = latest_at - timedelta(seconds=number * row_s)
        from_s = (at - window.starts_at).total_seconds()
        part = [mean_w for time_s, mean_w in window.means if from_s <= time_s < from_s + row_s and mean_w is not None]
        force = record.in_force(at)
        rows.append(
            SeriesRow(
                at=words.instant(at, sources.site.timezone, window.ends_at),
                power=words.power(sum(part) / len(part)) if part else "no reading",
                target="none" if force is None else words.power(force[0]),
                baseline="none" if force is None else words.power(force[1].baseline_w),
            )
        )
    return tuple(rows)


def _on_grid(at: datetime, step_s: float) -> datetime:
    """The last multiple of the step, so that the buckets stay where they are from one request to the next."""
    return datetime.fromtimestamp(at.timestamp() // step_s * step_s, UTC)


def thinned(readings: Iterable[PowerReading], starts_at: datetime, bucket_s: float) -> list[tuple[float, float | None]]:
    """Mean power by bucket (its start in seconds, watts), with one ``None`` in each silence of the meter.

    ``readings`` are in order of time, none before ``starts_at``.
    """
    sums: dict[int, tuple[float, int]] = {}
    silences: set[int] = set()
    last_s: float | None = None
    for reading in readings:
        at_s = (reading.measured_at - starts_at).total_seconds()
        bucket = int(at_s // bucket_s)
        if last_s is not None and at_s - last_s > max(SILENT_AFTER_S, 2 * bucket_s):
            silences.add(int(last_s // bucket_s) + 1)
        total_w, number = sums.get(bucket, (0.0, 0))
        sums[bucket] = (total_w + reading.power_w, number + 1)
        last_s = at_s
    points: list[tuple[float, float | None]] = [
        (bucket * bucket_s, total_w / number) for bucket, (total_w, number) in sums.items()
    ]
    points += [(bucket * bucket_s, None) for bucket in silences if bucket not in sums]
    return sorted(points, key=lambda point: point[0])
