"""What settlement reads instead of the raw record: imported and edited intervals, cut to the slices that it settles.

An edit counts over what was on record when it was made. It names an imported interval by its exact start and length, or
else is of what our own meter says, and then counts where no import stands. An import that is recorded later displaces
the edits made before it: an estimate gives way to the meter's own word.
"""

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from gateway.domain.measurement import (
    IntervalEnergy,
    Slice,
    epoch_us,
    integrate,
    seconds_us,
    slices,
    worst,
)
from gateway.domain.meter_import import ImportedEnergy, MeterKind, StandingEnergy, covers, standing, without_overlap
from gateway.domain.vee.edit import Edit, Method, resolve
from hardware.device import PowerReading, Quality

_Place = tuple[int, int]
"""An interval by its start since the epoch and its length, in microseconds."""


def layer(imports: Sequence[ImportedEnergy], edits: Sequence[Edit]) -> tuple[IntervalEnergy, ...]:
    """The intervals that stand over our own readings, in order of time; none overlaps another.

    One that was marked as unusable is among them with a coverage of 0. ``imports`` are in the order of recording.
    """
    known = standing(imports)
    laid = list(_edited(known, edits))
    named = {_place_of(one.interval) for one in known}
    # Of edits of our own intervals that overlap the last one counts, as it does of those of one interval.
    for edit in _last_of_each([one for one in edits if _place_of(one) not in named]):
        for interval in without_overlap(resolve((), (edit,)).intervals, laid):
            insort(laid, interval, key=_start)
    return tuple(laid)


def revenue_covers(imports: Sequence[ImportedEnergy], edits: Sequence[Edit], start: datetime, end: datetime) -> bool:
    """Whether the revenue meter, or what was put in its place, says of every instant of ``[start, end)``."""
    known = standing([one for one in imports if one.source.kind is MeterKind.REVENUE])
    return covers([one for one in _edited(known, edits) if one.coverage_fraction > 0.0], start, end)


def counting(imports: Sequence[ImportedEnergy], edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """The edits that count, in order of time: no later edit of the interval, and no later import, came in place of it.

    One that takes others back counts, too. ``imports`` and ``edits`` are all that share time with each other.
    """
    recorded_at = {_place_of(one.interval): one.source.at for one in standing(imports)}
    laid = {_place_of(one) for one in layer(imports, edits)}

    def counts(edit: Edit) -> bool:
        at = recorded_at.get(_place_of(edit))
        if at is not None:
            return edit.at >= at
        return edit.method is Method.RAW or _place_of(edit) in laid

    return tuple(sorted(filter(counts, _last_of_each(edits)), key=_place_of))


def settled_slices(
    start: datetime, end: datetime, interval_s: float, known: Sequence[IntervalEnergy]
) -> tuple[Slice, ...]:
    """``[start, end)`` cut at the multiples of ``interval_s``, but for those within an interval that is known.

    So what a meter gives by the quarter of an hour is settled by the quarter of an hour, and only an interval that the
    event begins or ends within is shared out. Where known intervals begin or end to cover there is a cut, too.
    """
    cuts = {one.starts_at for one in slices(start, end, interval_s)}
    cuts = {at for at in cuts if at == start or not _is_within(at, known)}
    cuts |= {at for at in _run_ends(known) if start < at < end}
    return tuple(
        Slice(starts_at=left, duration_s=(right - left).total_seconds())
        for left, right in pairwise([*sorted(cuts), end])
    )


def shared_out(
    known: Sequence[IntervalEnergy],
    pieces: Sequence[Slice],
    readings: Sequence[PowerReading],
    *,
    max_gap_s: float = 60.0,
) -> tuple[IntervalEnergy | None, ...]:
    """Known intervals cut to each piece; ``None`` for a piece that they don't cover.

    An interval that lies in a piece only in part gives of its energy what the readings say of that part, and by time
    where there are none of it (or where it gives energy back); what it gives is then an estimate. All that it gives
    adds up to its own energy. ``known`` is in order of time and does not overlap itself; ``readings`` are of the same
    meter, or stand for it, from ``max_gap_s`` before the first known interval on.
    """
    # Energy given back has no share: shares are never negative, and those of an interval add up to one.
    drawing = [one if one.power_w >= 0 else replace(one, power_w=0.0) for one in readings]
    ends = [one.ends_at for one in known]
    parts = [_parts(known, ends, piece) for piece in pieces]
    cut = sorted({interval for found in parts for interval, part in found if not _is_whole(interval, part)}, key=_start)
    places = [Slice(starts_at=one.starts_at, duration_s=one.duration_s) for one in cut]
    wholes = dict(zip(cut, integrate(drawing, places, max_gap_s=max_gap_s), strict=True))
    within = [part for found in parts for interval, part in found if interval in wholes]
    drawn = dict(zip(within, integrate(drawing, within, max_gap_s=max_gap_s), strict=True))
    return tuple(
        _joined(piece, [(one, part, _share(one, wholes.get(one), drawn.get(part), part)) for one, part in found])
        if covers([one for one, _ in found], piece.starts_at, piece.ends_at)
        else None
        for piece, found in zip(pieces, parts, strict=True)
    )


def laid_over(
    meter_id: str,
    closed: Sequence[IntervalEnergy],
    known: Sequence[IntervalEnergy],
    pieces: Sequence[Slice],
    *,
    interval_s: float,
) -> tuple[IntervalEnergy, ...]:
    """Closed intervals with known ones in their place, cut to the pieces of the site's grid and shared out by them."""
    cut = shared_out(known, pieces, as_readings(meter_id, closed), max_gap_s=interval_s)
    settled = [one for one in cut if one is not None]
    found = [*settled, *without_overlap(closed, settled)]
    return tuple(sorted(found, key=lambda one: (one.starts_at, one.duration_s)))


def as_readings(meter_id: str, closed: Sequence[IntervalEnergy]) -> tuple[PowerReading, ...]:
    """Closed intervals as the power that was drawn over them on average, to share out by."""
    return tuple(
        PowerReading(
            meter_id=meter_id,
            power_w=one.energy_wh * 3_600 / (one.duration_s * one.coverage_fraction),
            measured_at=one.starts_at,
            quality=one.quality,
        )
        for one in closed
        if one.coverage_fraction > 0
    )


def _parts(
    known: Sequence[IntervalEnergy], ends: Sequence[datetime], piece: Slice
) -> list[tuple[IntervalEnergy, Slice]]:
    """The known intervals that share time with a piece, each with what it shares."""
    found = []
    piece_end = piece.ends_at
    for index in range(bisect_right(ends, piece.starts_at), len(known)):
        interval = known[index]
        if interval.starts_at >= piece_end:
            break
        begin, stop = max(interval.starts_at, piece.starts_at), min(ends[index], piece_end)
        found.append((interval, Slice(starts_at=begin, duration_s=(stop - begin).total_seconds())))
    return found


def _share(interval: IntervalEnergy, whole: IntervalEnergy | None, drawn: IntervalEnergy | None, part: Slice) -> float:
    """The fraction of an interval's energy that lies in a part of it.

    Where nobody looked, it drew what it drew on average: so the shares of all parts add up to one.
    """
    by_time = part.duration_s / interval.duration_s
    if whole is None or drawn is None or whole.energy_wh <= 0.0:
        return by_time
    return drawn.energy_wh / whole.energy_wh * whole.coverage_fraction + by_time * (1.0 - drawn.coverage_fraction)


def _joined(piece: Slice, shares: Sequence[tuple[IntervalEnergy, Slice, float]]) -> IntervalEnergy:
    cut = any(not _is_whole(interval, part) for interval, part, _ in shares)
    qualities = [interval.quality for interval, _, _ in shares]
    covered_us = math.fsum(seconds_us(part.duration_s) * interval.coverage_fraction for interval, part, _ in shares)
    return IntervalEnergy(
        starts_at=piece.starts_at,
        duration_s=piece.duration_s,
        energy_wh=math.fsum(interval.energy_wh * share for interval, _, share in shares),
        coverage_fraction=covered_us / seconds_us(piece.duration_s),
        quality=worst([*qualities, Quality.ESTIMATED] if cut else qualities),
    )


def _is_whole(interval: IntervalEnergy, part: Slice) -> bool:
    return part.starts_at == interval.starts_at and part.ends_at == interval.ends_at


def _edited(known: Sequence[StandingEnergy], edits: Sequence[Edit]) -> tuple[IntervalEnergy, ...]:
    """Imported intervals with the edits of them that were made when they were on record."""
    recorded_at = {_place_of(one.interval): one.source.at for one in known}
    over = [one for one in edits if (at := recorded_at.get(_place_of(one))) is not None and one.at >= at]
    return resolve([one.interval for one in known], over).intervals


def _last_of_each(edits: Sequence[Edit]) -> list[Edit]:
    """The edit of each interval that counts, the last one made first."""
    last_first = sorted(edits, key=lambda one: (epoch_us(one.at), one.edit_id), reverse=True)
    found: dict[_Place, Edit] = {}
    for edit in last_first:
        found.setdefault(_place_of(edit), edit)
    return list(found.values())


def _run_ends(known: Sequence[IntervalEnergy]) -> list[datetime]:
    """Where known intervals begin or end to follow each other without a gap."""
    found = [
        at
        for before, after in pairwise(known)
        if before.ends_at < after.starts_at
        for at in (before.ends_at, after.starts_at)
    ]
    return [*(one.starts_at for one in known[:1]), *found, *(one.ends_at for one in known[-1:])]


def _is_within(at: datetime, known: Sequence[IntervalEnergy]) -> bool:
    """Whether an instant lies within one of the intervals, and at neither end of it."""
    index = bisect_right(known, at, key=_end)
    return index < len(known) and known[index].starts_at < at


def _place_of(one: IntervalEnergy | Edit) -> _Place:
    return epoch_us(one.starts_at), seconds_us(one.duration_s)


def _start(interval: IntervalEnergy) -> datetime:
    return interval.starts_at


def _end(interval: IntervalEnergy) -> datetime:
    return interval.ends_at
