"""Whether a device works steadily, in bursts or not at all, and what capping it would save: never its nameplate.

A cap is a ceiling. What it saves is what the device would have drawn over it, moment by moment; a device that does
nothing saves nothing, however far its cap is lowered. All arrays are of watts, a row a device and a column a window
(``curve_observation.WINDOW_S``, or whatever the readings were averaged over), NaN where nothing was heard.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gateway.domain.curve_learning import BINDS_FRACTION

Floats: TypeAlias = NDArray[np.float64]

REMEMBERED_WINDOWS = 90
"""A quarter of an hour of ten-second windows, as the live baseline looks back."""

KNOWN_FROM_WINDOWS = 30
"""A device that was heard of for less is unknown: five minutes, in which a training step or a batch comes round."""

IDLE_SHARE = 0.95
"""Idle is what caps would not touch in so much of the time."""

FAR_BELOW_FRACTION = 0.5
FAR_BELOW_SHARE = 0.1
SWING_FRACTION = 0.25
"""Bursty is what lies under half of its full draw in a tenth of the time, or swings by a quarter of it (from the tenth
to the ninetieth part of its windows). Second by second a matrix product on a V100 swings by 0.04 and an alternating
load by 0.4 (GridPilot, CC BY 4.0)."""

LOW_QUANTILE = 0.1
"""What was there in nine windows of ten can be counted on."""


class LoadKind(StrEnum):
    """How a device works."""

    STEADY = "steady"
    BURSTY = "bursty"
    IDLE = "idle"
    UNKNOWN = "unknown"
    """It was not heard of for long enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLoad:
    """What holding all devices of a job at a cap would have saved over the windows remembered.

    ``expected_w`` is the mean, ``scatter_w`` the standard deviation from window to window, ``countable_w`` what was
    there nine times of ten; ``devices_over`` is how many drew more than that on average. Devices that are not known
    yet count for nothing.
    """

    kinds: tuple[LoadKind, ...]
    devices_over: float
    expected_w: float
    scatter_w: float
    countable_w: float


class DemandHistory:
    """What each device wanted to draw in the last windows. Time is whoever calls: one ``add`` a window."""

    def __init__(self, windows: int = REMEMBERED_WINDOWS) -> None:
        self._row_of: dict[str, int] = {}
        self._table = np.empty((0, windows), dtype=np.float32)
        self._next = 0

    def add(self, demand_w: Mapping[str, float]) -> None:
        """Take one window, by device_id. Who is not in it was not heard of; who was not in any is dropped."""
        windows = self._table.shape[1]
        if self._next == 0:
            heard = ~np.isnan(self._table).all(axis=1)
            self._row_of = {name: i for i, name in enumerate(np.array([*self._row_of], dtype=object)[heard].tolist())}
            self._table = self._table[heard]
        new = demand_w.keys() - self._row_of.keys()
        for device_id in sorted(new):
            self._row_of[device_id] = len(self._row_of)
        fresh = np.full((len(new), windows), np.nan, dtype=np.float32)
        self._table = np.concatenate((self._table, fresh)) if new else self._table
        known = map(demand_w.get, self._row_of)
        self._table[:, self._next] = [np.nan if one_w is None else one_w for one_w in known]
        self._next = (self._next + 1) % windows

    def of(self, device_ids: Sequence[str]) -> Floats:
        """The windows of these devices, a row each, in no order of time."""
        found = np.full((len(device_ids), self._table.shape[1]), np.nan)
        rows = [(i, row) for i, name in enumerate(device_ids) if (row := self._row_of.get(name)) is not None]
        if rows:
            at, row = np.array(rows, dtype=np.intp).T
            found[at] = self._table[row]
        return found


def known_rows(demand_w: Floats) -> NDArray[np.bool_]:
    """Which devices were heard of for long enough."""
    return np.asarray((~np.isnan(demand_w)).sum(axis=1) >= KNOWN_FROM_WINDOWS)


def demanded_w(power_w: Floats, cap_w: Floats | float, free_w: Floats | float) -> Floats:
    """What devices would draw without their caps.

    One that fills its cap is held down by it and is taken to want what its work draws uncapped (``free_w``, the last
    power of its curve); any other draws what it wants.
    """
    held = power_w >= BINDS_FRACTION * np.asarray(cap_w)
    return np.where(held, np.maximum(power_w, free_w), power_w)


def savings_w(demand_w: Floats, capped_w: Floats | float) -> Floats:
    """What each device would have saved at a draw of ``capped_w``; nothing where nothing was heard of it."""
    # Of NaN and 0 that is 0.
    return np.asarray(np.fmax(0.0, demand_w - capped_w))


def load_kinds(demand_w: Floats, *, lowest_cap_w: float, free_w: float) -> tuple[LoadKind, ...]:
    """How each of some devices works, whose caps go down to ``lowest_cap_w`` and whose full draw is ``free_w``."""
    heard = ~np.isnan(demand_w)
    count = np.maximum(1, heard.sum(axis=1))
    ordered = np.sort(demand_w, axis=1)  # NaN goes last.
    low_w, high_w = (_quantile(ordered, count, part) for part in (LOW_QUANTILE, 1.0 - LOW_QUANTILE))
    idle = ((demand_w < lowest_cap_w) & heard).sum(axis=1) >= IDLE_SHARE * count
    far_below = ((demand_w < FAR_BELOW_FRACTION * free_w) & heard).sum(axis=1) >= FAR_BELOW_SHARE * count
    swings = high_w - low_w >= SWING_FRACTION * free_w
    # A light load that is steady stays far below all the time: only what is at work at times comes in bursts.
    bursts = (far_below & (high_w >= FAR_BELOW_FRACTION * free_w)) | swings
    unknown = ~known_rows(demand_w)
    return tuple(
        LoadKind.UNKNOWN if unheard else LoadKind.IDLE if rests else LoadKind.BURSTY if comes else LoadKind.STEADY
        for unheard, rests, comes in zip(unknown.tolist(), idle.tolist(), bursts.tolist(), strict=True)
    )


def job_loads(
    demand_w: Floats, capped_w: Sequence[float], *, lowest_cap_w: float, free_w: float
) -> tuple[JobLoad, ...]:
    """What all devices of a job together would have saved at each of some draws a device."""
    kinds = load_kinds(demand_w, lowest_cap_w=lowest_cap_w, free_w=free_w)
    known = [kind is not LoadKind.UNKNOWN for kind in kinds]
    wanted_w = demand_w[known]
    wanted_w = wanted_w[:, ~np.isnan(wanted_w).all(axis=0)]
    return tuple(_job_load(kinds, wanted_w, one_w) for one_w in capped_w)


def _job_load(kinds: tuple[LoadKind, ...], wanted_w: Floats, capped_w: float) -> JobLoad:
    saved_w = savings_w(wanted_w, capped_w)
    if not saved_w.size:
        return JobLoad(kinds=kinds, devices_over=0.0, expected_w=0.0, scatter_w=0.0, countable_w=0.0)
    together_w = saved_w.sum(axis=0)
    mean_w = float(together_w.mean())
    return JobLoad(
        kinds=kinds,
        devices_over=float((saved_w > 0.0).sum()) / len(together_w),
        expected_w=mean_w,
        scatter_w=float(np.sqrt(np.square(together_w - mean_w).mean())),
        countable_w=float(np.sort(together_w)[int(LOW_QUANTILE * (len(together_w) - 1))]),
    )


def _quantile(ordered: Floats, count: NDArray[np.int_], part: float) -> Floats:
    """The nearest window below the quantile of each row's heard ones, which come first; NaN where none was heard."""
    at = np.floor(part * (count - 1)).astype(np.intp)
    return np.asarray(np.take_along_axis(ordered, at[:, None], axis=1)[:, 0])
