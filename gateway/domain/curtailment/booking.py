"""Pauses chosen one after the other, each only where it keeps what was promised together with those before it."""

import numpy as np

from gateway.domain.curtailment.choice import Pause, pause_cost_s
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.curtailment.windows import PauseWindows
from gateway.domain.tree import Flags, Floats

_SAME_W = 1e-6

_NEARLY = 0.9
"""How much of its full throughput a job can count on where power is not short: others need some, too."""


class Booking:
    """The pauses taken so far. ``paused`` has a row a job and a column an interval.

    ``reach`` is the throughput that each job's devices can have at most, all they can where it is not given.
    """

    def __init__(self, prepared: Prepared, reach: Floats | None = None) -> None:
        self._prepared = prepared
        self._windows: dict[int, PauseWindows] = dict(zip(prepared.pausable.tolist(), prepared.windows, strict=True))
        self._of_job: dict[int, list[Pause]] = {}
        self._reach = prepared.top if reach is None else reach
        self._begin_w = np.zeros(prepared.intervals + 1)
        self._end_w = np.zeros(prepared.intervals + 1)
        self._end_most_w = np.maximum(prepared.stagger_w, prepared.due_w())
        self._needs = {j: [need for need in prepared.needs if need.job == j] for j in self._windows}
        self.paused: Flags = np.zeros((len(prepared.jobs), prepared.intervals), dtype=np.bool_)

    @property
    def pauses(self) -> tuple[Pause, ...]:
        """All that were taken, by job and time."""
        return tuple(sorted(pause for pauses in self._of_job.values() for pause in pauses))

    def fits(self, pause: Pause) -> bool:
        """Whether a pause keeps its job's terms and promises, and few begin or end at its ends."""
        prepared, windows = self._prepared, self._windows[pause.job]
        if pause.goes_on:
            return windows.goes_on is not None and bool(windows.goes_on[pause.last]) and not self._of_job.get(pause.job)
        if not windows.allowed[pause.first, pause.last]:
            return False
        saved_w = prepared.saved_w(pause.job)
        if self._begin_w[pause.first] + saved_w > prepared.stagger_w + _SAME_W:
            return False
        if self._end_w[pause.last] + saved_w > self._end_most_w[pause.last] + _SAME_W:
            return False
        others = self._of_job.get(pause.job, [])
        if windows.goes_on is not None and not others:
            return False
        clear = all(windows.ready[one.last] <= pause.first or windows.ready[pause.last] <= one.first for one in others)
        return clear and self._keeps_needs(pause, others)

    def _keeps_needs(self, pause: Pause, others: list[Pause]) -> bool:
        """Whether the job can still give what it needs to where it runs uncapped beside its pauses."""
        prepared = self._prepared
        runs = ~self.paused[pause.job]
        runs[pause.first : pause.last] = False
        cost_s = sum(pause_cost_s(prepared, one) for one in (*others, pause))
        top = float(prepared.top[pause.job])
        return all(
            top * float(need.seconds[runs].sum()) - cost_s >= need.value_s - 1e-6 for need in self._needs[pause.job]
        )

    def leaves_floor(self, pause: Pause, short: Flags) -> bool:
        """Whether the job, with this pause, could run at its floor where power is ``short`` and keep its needs.

        Elsewhere it may run at nearly all it can. A job that has to run faster than its floor in a short interval
        would take back what its pause gives.
        """
        prepared = self._prepared
        runs = ~self.paused[pause.job]
        runs[pause.first : pause.last] = False
        cost_s = sum(pause_cost_s(prepared, one) for one in (*self._of_job.get(pause.job, ()), pause))
        floor, high = float(prepared.floor[pause.job]), _NEARLY * float(self._reach[pause.job])
        return all(
            floor * float(need.seconds[runs & short].sum()) + high * float(need.seconds[runs & ~short].sum())
            >= need.value_s + cost_s
            for need in self._needs[pause.job]
        )

    def take(self, pause: Pause) -> None:
        """Take a pause; whoever takes one asked whether it fits."""
        saved_w = self._prepared.saved_w(pause.job)
        if not pause.goes_on:
            self._begin_w[pause.first] += saved_w
        self._end_w[pause.last] += saved_w
        self._of_job.setdefault(pause.job, []).append(pause)
        self.paused[pause.job, pause.first : pause.last] = True
