"""Metered history of many sites on one grid, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gateway.domain.baseline.history import LoadHistory
from gateway.domain.measurement import epoch_us, seconds_us

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLoad:
    """``power_w`` by interval and site, in watts, 0 where it is missing; the first interval begins at ``first_us``.

    ``absent_before`` counts a site's missing intervals before each interval, so that a gap is found without a search;
    it has one row more than there are intervals.
    """

    first_us: int
    interval_us: int
    power_w: Floats
    absent_before: NDArray[np.int32]

    @property
    def sites(self) -> int:
        """How many sites there are."""
        return int(self.power_w.shape[1])

    def absent(self, places: Places) -> NDArray[np.int64]:
        """How many of the intervals at these places each site lacks; a place off the grid is lacking."""
        inside = places[(places >= 0) & (places < len(self.power_w))]
        lacking = np.full(self.sites, len(places) - len(inside), dtype=np.int64)
        for begin, end in _runs(inside):
            lacking += self.absent_before[end] - self.absent_before[begin]
        return lacking

    def total(self, places: Places) -> Floats:
        """Sum of the watts at these places by site."""
        total = np.zeros(self.sites)
        for begin, end in _runs(places):
            total += self.power_w[begin:end].sum(axis=0)
        return total

    def weighted(self, places: Sequence[Places], weights: Floats) -> Floats:
        """Sum of the days' watts, each by its weight of each site; a day off the grid has none and is not read."""
        found = np.zeros((len(places[0]), self.sites))
        term = np.empty_like(found)
        for place, weight in zip(places, weights, strict=True):
            if not weight.any():
                continue
            at = 0
            for begin, end in _runs(place):
                row = slice(at, at + end - begin)
                np.multiply(self.power_w[begin:end], weight, out=term[row])
                found[row] += term[row]
                at += end - begin
        return found

    def of_site(self, site: int) -> LoadHistory:
        """One site's history by itself."""
        present = np.diff(self.absent_before[:, site]) == 0
        starts = (self.first_us + int(number) * self.interval_us for number in np.flatnonzero(present))
        watts = self.power_w[present, site].tolist()
        return LoadHistory(
            interval_us=self.interval_us,
            offset_us=self.first_us % self.interval_us,
            power_w=dict(zip(starts, watts, strict=True)),
        )


def fleet_load(starts_at: datetime, interval_s: float, power_w: ArrayLike) -> FleetLoad:
    """The load of a fleet, ``power_w`` by interval and site in watts, not a number where it is missing.

    Raises ``ValueError`` for a table that has not two dimensions, and an interval without duration.
    """
    table = np.ascontiguousarray(power_w, dtype=np.float64)
    if table.ndim != 2 or seconds_us(interval_s) <= 0:
        raise ValueError(f"watts by interval and site are wanted, of intervals with duration, not of {interval_s} s")
    absent = ~np.isfinite(table)
    before = np.zeros((len(table) + 1, table.shape[1]), dtype=np.int32)
    np.cumsum(absent, axis=0, out=before[1:])
    return FleetLoad(
        first_us=epoch_us(starts_at),
        interval_us=seconds_us(interval_s),
        power_w=np.where(absent, 0.0, table),
        absent_before=before,
    )


def _runs(places: Places) -> list[tuple[int, int]]:
    """Places that follow each other, as ``[begin, end)``."""
    if not len(places):
        return []
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(places, cuts)]
