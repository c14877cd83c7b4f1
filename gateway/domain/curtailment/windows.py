"""When a job may be paused: from which edge between intervals to which, by its shortest and longest pause."""

from dataclasses import dataclass

import numpy as np

from gateway.domain.curtailment.problem import PauseTerms
from gateway.domain.tree import Flags, Floats, Indices

SAME_S = 1e-6
"""Two durations that differ by less are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseWindows:
    """The pauses that one job may have, over ``n`` intervals with ``n + 1`` edges.

    ``allowed[a, b]`` says whether a pause may last from edge ``a`` to edge ``b``. ``goes_on`` is ``None`` for a job
    that runs; for one that is paused, ``goes_on[b]`` says whether that pause may end at edge ``b``: it has to end at
    one of them. ``ready[b]`` is the first edge at which a job that came back at ``b`` may be paused again, ``n + 1``
    where there is none. ``begin_cost_s`` and ``end_cost_s`` are seconds of its full work.
    """

    allowed: Flags
    goes_on: Flags | None
    ready: Indices
    begin_cost_s: float
    end_cost_s: float

    def surely_lost(self, seconds: Floats) -> float:
        """The seconds, weighted as given an interval, that a pause that goes on costs however soon it ends."""
        if self.goes_on is None:
            return 0.0
        held = int(np.flatnonzero(self.goes_on)[0])
        return float(seconds[:held].sum()) + self.end_cost_s


def pause_windows(pause: PauseTerms, edges_s: Floats) -> PauseWindows:
    """Every pause that keeps the terms.

    A pause ends with the last interval at the latest. One that is longer already than was tested ends at once; one
    that has to go on for longer than it may ends as late as it may.
    """
    count = len(edges_s)
    length_s = edges_s[np.newaxis, :] - edges_s[:, np.newaxis]
    least_s = max(pause.min_rest_s, 2.0 * SAME_S)
    allowed = (length_s >= least_s - SAME_S) & (length_s <= pause.max_pause_s + SAME_S)
    goes_on: Flags | None = None
    if pause.paused_for_s > 0.0:
        lasted_s = pause.paused_for_s + edges_s
        may = lasted_s <= pause.max_pause_s + SAME_S
        goes_on = may & (lasted_s >= pause.min_rest_s - SAME_S)
        if not goes_on.any():
            goes_on = np.arange(count) == max(0, int(np.count_nonzero(may)) - 1)
    after_s = np.maximum(edges_s + pause.min_run_s - SAME_S, edges_s + SAME_S)
    return PauseWindows(
        allowed=allowed,
        goes_on=goes_on,
        ready=np.searchsorted(edges_s, after_s),
        begin_cost_s=pause.checkpoint_cost_s,
        end_cost_s=pause.resume_cost_s,
    )
