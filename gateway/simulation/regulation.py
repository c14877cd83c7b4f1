"""A made-up signal as an operator sends it to fast regulating resources."""

import math

import numpy as np

FAST_S = 15.0
SLOW_S = 150.0
SETTLE_STEPS = 1000
"""Steps that are thrown away, so that the signal does not begin at its mean."""


def regulation_signal(steps: int, *, step_s: float, seed: int) -> list[float]:
    """``steps`` values from -1 to 1, the mean near 0, made with a seed.

    In the manner of PJM's RegD, which is the fast part of the area control error, high-pass filtered and driven to be
    neutral in energy over a quarter of an hour: noise through a low pass of ``FAST_S`` less the same through one of
    ``SLOW_S``, scaled so that it uses the whole range and touches both ends. No measured signal went into it.
    """
    dice = np.random.default_rng((seed, 12))
    fast = slow = 0.0
    values: list[float] = []
    for noise in dice.standard_normal(SETTLE_STEPS + steps).tolist():
        fast += (noise - fast) * (1.0 - math.exp(-step_s / FAST_S))
        slow += (fast - slow) * (1.0 - math.exp(-step_s / SLOW_S))
        values.append(fast - slow)
    signal = np.array(values[SETTLE_STEPS:])
    # RegD spends a good part of its time at its limits: two standard deviations are full scale here.
    return [float(value) for value in np.clip(signal / (2.0 * signal.std()), -1.0, 1.0)]
