"""How well a fast signal was followed, in the manner of PJM's performance score.

PJM Manual 12, Balancing Operations, "Determining Regulation Performance Score": from samples of ten seconds, for each
five minutes, correlation and delay are found together (the shift of the response by 0 to 5 minutes with the highest sum
of both), precision is one less the mean absolute error over the hour's mean absolute signal, and the score is the mean
of the three. Written from knowledge of the manual and a published transcription of it (the University of Michigan's
co-simulation testbed), not from the manual itself. The ten seconds of latency that it allows are not used here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAMPLE_S = 10
WINDOW = 30
"""Samples: five minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegulationScore:
    """Each from 0 to 1; ``score`` is the mean of the others."""

    correlation: float
    delay: float
    precision: float

    @property
    def score(self) -> float:
        """All three together."""
        return (self.correlation + self.delay + self.precision) / 3.0


def regulation_score(signal_w: Sequence[float], response_w: Sequence[float]) -> RegulationScore | None:
    """The score of a response to a signal, both by the second as departures from the basepoint.

    ``None`` for less than ten minutes: there is no shift of five minutes to look at.
    """
    signal, response = _sampled(signal_w), _sampled(response_w)
    if len(signal) < 2 * WINDOW or float(np.abs(signal).mean()) == 0.0:
        return None
    found = [_together(signal[at : at + WINDOW], response[at:]) for at in range(len(signal) - WINDOW + 1)]
    error = float(np.abs(response - signal).mean() / np.abs(signal).mean())
    return RegulationScore(
        correlation=float(np.mean([max(0.0, correlation) for correlation, _ in found])),
        delay=float(np.mean([delay for _, delay in found])),
        precision=max(0.0, 1.0 - error),
    )


def _sampled(values: Sequence[float]) -> Floats:
    """Means of ten seconds: what a sample that falls between two steps of the signal would show is chance."""
    count = len(values) // SAMPLE_S
    means: Floats = np.asarray(values[: count * SAMPLE_S], dtype=np.float64).reshape(count, SAMPLE_S).mean(axis=1)
    return means


def _together(signal: Floats, response: Floats) -> tuple[float, float]:
    """Correlation and delay score at the shift where both together are highest."""
    best = (0.0, 0.0)
    for shift in range(min(WINDOW, len(response) - WINDOW) + 1):
        part = response[shift : shift + WINDOW]
        spread = float(signal.std() * part.std())
        if spread == 0.0:
            continue
        correlation = float(((signal - signal.mean()) * (part - part.mean())).mean()) / spread
        delay = 1.0 - shift / WINDOW
        if correlation + delay > sum(best):
            best = (correlation, delay)
    return best
