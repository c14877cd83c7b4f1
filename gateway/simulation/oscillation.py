"""Whether anything swings in a hold: lines in the spectrum of what the site drew because of us."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOWEST_HZ = 0.1
WINDOW_S = 300
"""Swings of less than five minutes are found at their size, and one that lasts is found in each of them."""

SHORTEST_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Oscillation:
    """The largest line from ``LOWEST_HZ`` to half a reading's rate: its amplitude as a share of the target.

    Of the site less its twin, and for comparison of the twin itself: what the load does without us.
    """

    amplitude_fraction: float
    at_hz: float
    twin_fraction: float


def oscillation(site_w: Floats, twin_w: Floats, target_w: Floats) -> Oscillation | None:
    """From true power by the second. ``None`` where the target never stands still for a minute.

    A target that moves is meant to be followed: only what lies between its changes is looked at.
    """
    found: tuple[float, float] = (0.0, 0.0)
    twin_fraction = 0.0
    windows = _windows(target_w)
    for window in windows:
        target = float(target_w[window].mean())
        found = max(found, _largest_line(site_w[window] - twin_w[window], target))
        twin_fraction = max(twin_fraction, _largest_line(twin_w[window], target)[0])
    if not windows:
        return None
    return Oscillation(amplitude_fraction=found[0], at_hz=found[1], twin_fraction=twin_fraction)


def _windows(target_w: Floats) -> list[slice]:
    """Stretches of ``WINDOW_S`` at the most under one target."""
    edges = [0, *(np.flatnonzero(np.diff(target_w) != 0.0) + 1).tolist(), len(target_w)]
    found: list[slice] = []
    for first, last in pairwise(edges):
        starts = range(first, last, WINDOW_S)
        found += [slice(start, min(start + WINDOW_S, last)) for start in starts]
    return [window for window in found if window.stop - window.start >= SHORTEST_S]


def _largest_line(power_w: Floats, target_w: float) -> tuple[float, float]:
    """Amplitude as a share of the target, and frequency. A slow trend is taken off first."""
    seconds = np.arange(len(power_w), dtype=np.float64)
    flat_w = power_w - np.polyval(np.polyfit(seconds, power_w, 1), seconds)
    taper = np.hanning(len(power_w))
    amplitude_w = 2.0 * np.abs(np.fft.rfft(flat_w * taper)) / taper.sum()
    at_hz = np.fft.rfftfreq(len(power_w), 1.0)
    amplitude_w[at_hz < LOWEST_HZ] = 0.0
    line = int(amplitude_w.argmax())
    return float(amplitude_w[line]) / target_w, float(at_hz[line])
