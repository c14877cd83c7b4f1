"""Edits: new records laid over raw intervals, which are never changed.

The latest edit of an interval counts. Taking one back is one edit more, by the method ``raw``: it points back to what
the meter said, and the ledger of edits keeps all of them.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.domain.measurement import IntervalEnergy, epoch_us, from_epoch_us, seconds_us
from hardware.device import Quality

_Place = tuple[int, int]
"""An interval by its start since the epoch and its length, in microseconds."""


class Method(StrEnum):
    """How an edit came by its energy."""

    INTERPOLATION = "interpolation"
    LIKE_DAYS = "like-days"
    INTERPOLATION_TO_REGISTER = "interpolation-to-register"
    """Interpolated, then scaled so that the energy adds up to the register's difference."""
    LIKE_DAYS_TO_REGISTER = "like-days-to-register"
    ENTERED = "entered"
    """Put there by a person: a value read elsewhere, or the raw one confirmed or doubted."""
    REMOVED = "removed"
    """The interval is not usable: it has no energy."""
    RAW = "raw"
    """Earlier edits are taken back: what the meter said counts again."""


class EditError(ValueError):
    """An edit that cannot be laid over the intervals. ``edit_id`` names it."""

    def __init__(self, edit_id: str, text: str) -> None:
        super().__init__(f"edit {edit_id}: {text}")
        self.edit_id = edit_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One interval's energy as it is to count from ``at`` on, whoever put it there (``by``) and why (``reason``).

    ``energy_wh`` is ``None`` for the methods ``removed`` and ``raw``, and only for them; ``quality`` is what the
    interval is worth then, suspect for ``removed``, and for ``raw`` of no meaning. Raises ``EditError`` for a naive
    instant, an interval without duration, energy that is no finite number or does not go with the method, and where
    the reason or the author is not told.
    """

    edit_id: str
    meter_id: str
    starts_at: datetime
    duration_s: float
    energy_wh: float | None
    quality: Quality
    reason: str
    by: str
    at: datetime
    method: Method

    def __post_init__(self) -> None:
        if self.starts_at.tzinfo is None or self.at.tzinfo is None:
            raise EditError(self.edit_id, "starts_at and at need a time zone")
        if not math.isfinite(self.duration_s) or seconds_us(self.duration_s) <= 0:
            raise EditError(self.edit_id, f"an interval of {self.duration_s} s is not positive")
        empty = self.method in {Method.REMOVED, Method.RAW}
        if empty and self.energy_wh is not None:
            raise EditError(self.edit_id, f"the method {self.method.value} has no energy of its own: leave it out")
        if not empty and (self.energy_wh is None or not math.isfinite(self.energy_wh)):
            raise EditError(
                self.edit_id, f"the method {self.method.value} wants energy in watt-hours, not {self.energy_wh}"
            )
        if self.method is Method.REMOVED and self.quality is not Quality.SUSPECT:
            raise EditError(self.edit_id, f"an interval that is removed is suspect, not {self.quality.value}")
        if not self.reason.strip() or not self.by.strip():
            raise EditError(self.edit_id, "say who edits (by) and why (reason)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """``intervals`` in order of time with the edits laid over them, and ``counted``, the edit that counts of each.

    An edit that takes others back is counted too: it is the last word on its interval.
    """

    intervals: tuple[IntervalEnergy, ...]
    counted: tuple[Edit, ...]


def undo(edit: Edit, *, edit_id: str, reason: str, by: str, at: datetime) -> Edit:
    """The edit after which the interval of another counts as the meter measured it."""
    return Edit(
        edit_id=edit_id,
        meter_id=edit.meter_id,
        starts_at=edit.starts_at,
        duration_s=edit.duration_s,
        energy_wh=None,
        quality=Quality.GOOD,
        reason=reason,
        by=by,
        at=at,
        method=Method.RAW,
    )


def resolve(intervals: Sequence[IntervalEnergy], edits: Sequence[Edit]) -> Resolved:
    """Lay edits over the raw intervals of one meter; the order of either does not matter.

    The latest edit of an interval counts, of two made at the same instant the one whose id sorts last. It stands in
    place of every raw record of that interval, or in a gap. A removed interval stays in the series with a coverage of
    0, which is how an interval of which nothing is known is written everywhere here. What no edit names is answered as
    it came. An edit names one interval of the meter's grid (the commonest length and offset of the raw intervals), or
    a raw interval off it by its exact start and length. Raises ``EditError`` for an edit that does neither, for edits
    of more than one meter, and for two that share an id and differ.
    """
    latest = _latest(edits)
    raw = {_place(interval) for interval in intervals}
    if latest:
        grid_us, offset_us = _grid(raw or latest.keys())
        for place, edit in latest.items():
            if place not in raw:
                _on_grid(edit, grid_us, offset_us)
    laid = {place: edit for place, edit in latest.items() if edit.method is not Method.RAW}
    found = [interval for interval in intervals if _place(interval) not in laid]
    found += [_as_interval(edit) for edit in laid.values()]
    return Resolved(
        intervals=tuple(sorted(found, key=_order)),
        counted=tuple(latest[place] for place in sorted(latest)),
    )


def _latest(edits: Sequence[Edit]) -> dict[_Place, Edit]:
    """The edit that counts, by the interval's start and length in microseconds."""
    by_id: dict[str, Edit] = {}
    for edit in edits:
        if by_id.setdefault(edit.edit_id, edit) != edit:
            raise EditError(edit.edit_id, "two edits have this id and differ: give each an id of its own")
    meters = sorted({edit.meter_id for edit in edits})
    if len(meters) > 1:
        raise EditError(edits[0].edit_id, f"the edits are of the meters {', '.join(meters)}: resolve one at a time")
    latest: dict[_Place, Edit] = {}
    for edit in sorted(by_id.values(), key=lambda one: (epoch_us(one.at), one.edit_id)):
        latest[epoch_us(edit.starts_at), seconds_us(edit.duration_s)] = edit
    return latest


def _grid(places: Iterable[_Place]) -> _Place:
    """Length and offset that most of them have; of equally common ones the finer."""
    grids = Counter((length_us, start_us % length_us) for start_us, length_us in places if length_us > 0)
    return min(grids, key=lambda grid: (-grids[grid], grid)) if grids else (1, 0)


def _on_grid(edit: Edit, grid_us: int, offset_us: int) -> None:
    if seconds_us(edit.duration_s) != grid_us:
        raise EditError(
            edit.edit_id,
            f"it lasts {edit.duration_s:g} s, the meter's intervals last {grid_us / 1e6:g} s: "
            "write one edit for each interval",
        )
    off_us = (epoch_us(edit.starts_at) - offset_us) % grid_us
    if off_us:
        before = from_epoch_us(epoch_us(edit.starts_at) - off_us)
        after = from_epoch_us(epoch_us(before) + grid_us)
        raise EditError(
            edit.edit_id,
            f"it begins at {edit.starts_at.isoformat()}, within an interval of the meter: "
            f"let it begin at {before.isoformat()} or {after.isoformat()}",
        )


def _as_interval(edit: Edit) -> IntervalEnergy:
    return IntervalEnergy(
        starts_at=edit.starts_at,
        duration_s=edit.duration_s,
        energy_wh=0.0 if edit.energy_wh is None else edit.energy_wh,
        coverage_fraction=0.0 if edit.energy_wh is None else 1.0,
        quality=edit.quality,
    )


def _place(interval: IntervalEnergy) -> _Place:
    return epoch_us(interval.starts_at), seconds_us(interval.duration_s)


def _order(interval: IntervalEnergy) -> tuple[int, int, float, float, str]:
    return (*_place(interval), interval.energy_wh, interval.coverage_fraction, interval.quality.value)
