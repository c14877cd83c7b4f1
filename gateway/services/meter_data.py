"""What settlement reads of a meter: imports and edits laid over our own readings. The raw record stays as it is."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from gateway.domain.event import EventRecord
from gateway.domain.measurement import IntervalEnergy, Slice, epoch_us, from_epoch_us, integrate, seconds_us, slices
from gateway.domain.meter_import import ImportedEnergy, without_overlap
from gateway.domain.settled_energy import counting, laid_over, layer, revenue_covers, settled_slices, shared_out
from gateway.domain.vee.edit import Edit
from hardware.device import PowerReading

MARGIN = timedelta(minutes=1)
"""A reading stands for at most so long after it was taken."""


class SettledFrom(Protocol):
    """What a settlement asks of a record; a ``Ledger`` answers it, and so does what somebody hands over of one."""

    async def events(self, since: datetime | None = None) -> tuple[EventRecord, ...]: ...

    async def readings_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[PowerReading, ...]: ...

    async def energy_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[IntervalEnergy, ...]: ...

    async def imported_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[ImportedEnergy, ...]: ...

    async def edits_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[Edit, ...]: ...

    async def temperatures_between(
        self, start: datetime, end: datetime, *, known_by: datetime | None = None
    ) -> tuple[tuple[datetime, float], ...]: ...


class MeterData:
    """A record as settlement reads it. Where nothing was imported nor edited the answers are the record's own.

    ``interval_s`` is the length of the site's metered intervals, by which ``energy_between`` answers. With ``as_of``
    counts only what was imported or edited by that instant, so that what was settled earlier can be computed again.
    """

    def __init__(self, record: SettledFrom, *, interval_s: float = 300.0, as_of: datetime | None = None) -> None:
        self._record = record
        self._interval_s = interval_s
        self._as_of = as_of

    async def events(self, since: datetime | None = None) -> tuple[EventRecord, ...]:
        """As ``Ledger.events``."""
        return await self._record.events(since)

    async def readings_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[PowerReading, ...]:
        """As ``Ledger.readings_between``: what our own meter said, whatever was imported."""
        return await self._record.readings_between(meter_id, start, end)

    async def imported_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[ImportedEnergy, ...]:
        """As ``Ledger.imported_between``."""
        found = await self._record.imported_between(meter_id, start, end)
        return tuple(one for one in found if self._is_known(one.source.at))

    async def edits_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[Edit, ...]:
        """As ``Ledger.edits_between``."""
        found = await self._record.edits_between(meter_id, start, end)
        return tuple(one for one in found if self._is_known(one.at))

    async def energy_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[IntervalEnergy, ...]:
        """Intervals that start in ``[start, end)``, in order of time, on the site's own grid where they are not ours.

        Longer intervals that were imported are shared out over it by the closed intervals that they stand in place of.
        """
        closed = await self._record.energy_between(meter_id, start, end)
        first, stop = self._grid_at(start), self._grid_at(end)
        known = await self.standing_between(meter_id, first, stop)
        if not known:
            return closed
        # Weeks of it take a second: in a thread, so that the control loop keeps its own.
        pieces = slices(first, stop, self._interval_s)
        return await asyncio.to_thread(laid_over, meter_id, closed, known, pieces, interval_s=self._interval_s)

    async def measured_between(
        self, meter_id: str, start: datetime, end: datetime, interval_s: float
    ) -> tuple[IntervalEnergy, ...]:
        """The settled slices of ``[start, end)``, at multiples of ``interval_s`` or as long as the interval known.

        An interval that ``start`` or ``end`` lies within is shared out by our own readings, by time where there are
        none of it, and is then an estimate.
        """
        known = await self.standing_between(meter_id, start, end)
        return await self._over(meter_id, settled_slices(start, end, interval_s, known), end, known)

    async def energy_over(self, meter_id: str, pieces: Sequence[Slice], until: datetime) -> tuple[IntervalEnergy, ...]:
        """Energy of each piece, in order of time; of our own readings only those before ``until``."""
        if not pieces:
            return ()
        known = await self.standing_between(meter_id, pieces[0].starts_at, until)
        return await self._over(meter_id, pieces, until, known)

    async def known_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[IntervalEnergy, ...]:
        """What stands over our own readings and starts in ``[start, end)``: imported and edited intervals."""
        return tuple(one for one in await self.standing_between(meter_id, start, end) if one.starts_at >= start)

    async def counting_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[Edit, ...]:
        """The edits of intervals that share time with ``[start, end)`` and count, in order of time."""
        return counting(*await self._over_ours(meter_id, start, end))

    async def series_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[IntervalEnergy, ...]:
        """What stands of ``[start, end)``, each interval as long as it came: imported, edited, else our own.

        Those that start in it, in order of time; what was marked as unusable has a coverage of 0.
        """
        closed = await self._record.energy_between(meter_id, start, end)
        known = await self.standing_between(meter_id, start, end)
        found = [*(one for one in known if one.starts_at >= start), *without_overlap(closed, known)]
        return tuple(sorted(found, key=lambda one: (one.starts_at, one.duration_s)))

    async def revenue_covers(self, meter_id: str, start: datetime, end: datetime) -> bool:
        """Whether the revenue meter says of every instant of ``[start, end)``."""
        return revenue_covers(*await self._over_ours(meter_id, start, end), start, end)

    async def standing_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[IntervalEnergy, ...]:
        """What stands over our own readings and shares time with ``[start, end)``."""
        imported, edits = await self._over_ours(meter_id, start, end)
        if not imported and not edits:
            return ()
        found = await asyncio.to_thread(layer, imported, edits)
        return tuple(one for one in found if one.starts_at < end and one.ends_at > start)

    async def _over_ours(
        self, meter_id: str, start: datetime, end: datetime
    ) -> tuple[tuple[ImportedEnergy, ...], tuple[Edit, ...]]:
        """Imports and edits that share time with ``[start, end)``, and with each other at its ends.

        Whether an interval stands is decided by those that overlap it, so that the answer must not hang on where the
        question begins and ends.
        """
        while True:
            imported = await self.imported_between(meter_id, start, end)
            edits = await self.edits_between(meter_id, start, end)
            touched = [(one.starts_at, one.ends_at) for of_import in imported for one in of_import.intervals]
            touched += [(one.starts_at, one.starts_at + timedelta(seconds=one.duration_s)) for one in edits]
            first, last = (
                min([start, *(begin for begin, _ in touched)]),
                max([end, *(stop for _, stop in touched)]),
            )
            if (first, last) == (start, end):
                return imported, edits
            start, end = first, last

    async def _over(
        self, meter_id: str, pieces: Sequence[Slice], until: datetime, known: Sequence[IntervalEnergy]
    ) -> tuple[IntervalEnergy, ...]:
        if not pieces:
            return ()
        begin = pieces[0].starts_at - MARGIN
        own = integrate(await self._record.readings_between(meter_id, begin, until), pieces)
        if not known:
            return own
        around = await self._record.readings_between(
            meter_id, min(begin, known[0].starts_at - MARGIN), max(until, known[-1].ends_at)
        )
        cut = await asyncio.to_thread(shared_out, known, pieces, around)
        return tuple(ours if ready is None else ready for ours, ready in zip(own, cut, strict=True))

    def _grid_at(self, at: datetime) -> datetime:
        """The first instant of the site's grid from then on."""
        step_us = seconds_us(self._interval_s)
        return from_epoch_us(-(-epoch_us(at) // step_us) * step_us)

    def _is_known(self, at: datetime) -> bool:
        return self._as_of is None or at <= self._as_of
