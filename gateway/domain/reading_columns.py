"""Readings of one meter in columns, for those who have millions of them: read and integrated without an object each.

What comes out is bit by bit what ``integrate`` gives over the same readings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from gateway.domain.measurement import (
    IntervalEnergy,
    Slice,
    epoch_us,
    from_epoch_us,
    integrate,
    seconds_us,
    worst,
)
from hardware.device import PowerReading, Quality

QUALITIES = tuple(Quality)
"""A quality's place here stands for it in columns."""

_US_AN_HOUR = 3_600 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadingColumns:
    """Readings of one meter in the order of their stamps; of those with the same stamp in the order of their record.

    ``stamps_us`` are whole microseconds since 1970, shape (n,) like the others; ``energies_j`` is NaN where a reading
    has no counter, ``qualities`` their places in ``QUALITIES``.
    """

    meter_id: str
    stamps_us: NDArray[np.int64]
    powers_w: NDArray[np.float64]
    energies_j: NDArray[np.float64]
    qualities: NDArray[np.int8]

    @classmethod
    def of(cls, readings: Sequence[PowerReading], meter_id: str) -> "ReadingColumns":
        """The columns of readings in any order. Raises ``ValueError`` for a naive stamp."""
        return cls(
            meter_id=meter_id,
            stamps_us=np.array([epoch_us(one.measured_at) for one in readings], dtype=np.int64),
            powers_w=np.array([one.power_w for one in readings], dtype=np.float64),
            energies_j=np.array(
                [math.nan if one.energy_j is None else one.energy_j for one in readings], dtype=np.float64
            ),
            qualities=np.array([QUALITIES.index(one.quality) for one in readings], dtype=np.int8),
        )

    def between(self, start: datetime, end: datetime) -> tuple[PowerReading, ...]:
        """The readings in ``[start, end)``, as objects."""
        return self._objects(slice(*np.searchsorted(self.stamps_us, [epoch_us(start), epoch_us(end)]).tolist()))

    def all(self) -> tuple[PowerReading, ...]:
        """The readings as objects."""
        return self._objects(slice(None))

    def _objects(self, part: slice) -> tuple[PowerReading, ...]:
        columns = (self.stamps_us, self.powers_w, self.energies_j, self.qualities)
        rows = zip(*(column[part].tolist() for column in columns), strict=True)
        return tuple(
            PowerReading(
                meter_id=self.meter_id,
                measured_at=from_epoch_us(stamp_us),
                power_w=power_w,
                energy_j=None if math.isnan(energy_j) else energy_j,
                quality=QUALITIES[quality],
            )
            for stamp_us, power_w, energy_j, quality in rows
        )


def joined(parts: Sequence[ReadingColumns], meter_id: str) -> ReadingColumns:
    """One after the other, and then in the order of their stamps."""
    found = [
        np.concatenate([getattr(one, name) for one in parts] or [np.empty(0, dtype)])
        for name, dtype in (
            ("stamps_us", np.int64),
            ("powers_w", np.float64),
            ("energies_j", np.float64),
            ("qualities", np.int8),
        )
    ]
    if (np.diff(found[0]) < 0).any():
        order = np.argsort(found[0], kind="stable")
        found = [column[order] for column in found]
    return ReadingColumns(
        meter_id=meter_id, stamps_us=found[0], powers_w=found[1], energies_j=found[2], qualities=found[3]
    )


def integrate_columns(
    readings: ReadingColumns, pieces: Sequence[Slice], *, max_gap_s: float = 60.0
) -> tuple[IntervalEnergy, ...]:
    """As ``integrate``; raises as it does."""
    stamps_us, gap_us = readings.stamps_us, seconds_us(max_gap_s)
    if not len(stamps_us) or (np.diff(stamps_us) <= 0).any() or not np.isfinite(readings.powers_w).all():
        # Two readings with one stamp, or none that counts: what that means is said there.
        return integrate(readings.all(), pieces, max_gap_s=max_gap_s)
    ends_us = np.append(np.minimum(stamps_us[1:], stamps_us[:-1] + gap_us), stamps_us[-1] + gap_us)
    begins = [epoch_us(piece.starts_at) for piece in pieces]
    ends = [begin + seconds_us(piece.duration_s) for begin, piece in zip(begins, pieces, strict=True)]
    # From the reading that is in force at the start to the last one before the end.
    firsts = np.maximum(np.searchsorted(stamps_us, begins, side="right") - 1, 0).tolist()
    lasts = np.searchsorted(stamps_us, ends).tolist()
    found: list[IntervalEnergy] = []
    for piece, begin_us, end_us, first, last in zip(pieces, begins, ends, firsts, lasts, strict=True):
        if end_us <= begin_us:
            raise ValueError(f"the slice at {piece.starts_at.isoformat()} lasts {piece.duration_s} s")
        part = slice(first, last)
        overlaps_us = np.minimum(ends_us[part], end_us) - np.maximum(stamps_us[part], begin_us)
        if len(overlaps_us) and overlaps_us[0] <= 0:
            # It stood no longer than to the start.
            part, overlaps_us = slice(first + 1, last), overlaps_us[1:]
        found.append(
            IntervalEnergy(
                starts_at=piece.starts_at,
                duration_s=piece.duration_s,
                energy_wh=math.fsum((readings.powers_w[part] * overlaps_us).tolist()) / _US_AN_HOUR,
                coverage_fraction=int(overlaps_us.sum()) / (end_us - begin_us),
                quality=worst(QUALITIES[code] for code in set(readings.qualities[part].tobytes())),
            )
        )
    return tuple(found)
