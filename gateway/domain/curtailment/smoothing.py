"""Evens out a schedule where that costs nothing, so that caps are not moved about for no gain."""

import numpy as np

from gateway.domain.curtailment.choice import Choice
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.tree import Floats

_SAME_W = 1.0


def smoothed(prepared: Prepared, choice: Choice) -> Choice:
    """Each job at its mean power over intervals that are alike: one target, one site power, the same jobs paused.

    A linear program is as glad to have a job fast now and slow later as the other way round. The mean is as good: no
    sum of powers moves, and on a concave curve the mean power gives the mean throughput or more.
    """
    power_w = choice.power_w.copy()
    site_w = power_w.sum(axis=0)
    first = 0
    for t in range(1, prepared.intervals + 1):
        if t < prepared.intervals and _alike(prepared, choice, site_w, first, t):
            continue
        if t - first > 1:
            seconds = prepared.duration_s[first:t]
            power_w[:, first:t] = (power_w[:, first:t] @ seconds / seconds.sum())[:, np.newaxis]
        first = t
    return Choice(power_w=power_w, paused=choice.paused)


def _alike(prepared: Prepared, choice: Choice, site_w: Floats, one: int, other: int) -> bool:
    if prepared.asked[one] != prepared.asked[other]:
        return False
    if prepared.asked[one] and abs(prepared.target_w[one] - prepared.target_w[other]) > _SAME_W:
        return False
    if abs(site_w[one] - site_w[other]) > _SAME_W or (choice.paused[:, one] != choice.paused[:, other]).any():
        return False
    counts = [need.seconds / prepared.duration_s for need in prepared.needs]
    return all(abs(count[one] - count[other]) < 1e-9 for count in counts)
