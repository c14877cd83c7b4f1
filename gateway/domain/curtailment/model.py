"""The curtailment problem as a mixed-integer linear program over given pauses.

Columns: how far the segments of each job's concave envelope are filled in each interval, the site's power, and each
pause that may be chosen (the only whole numbers). What is missing to the target, to the limits of the electrical tree
and to the ramp are columns too, at a price that no throughput is worth: so there always is a solution, and what cannot
be kept is a number in it.

Throughput is maximised and nothing rewards power under the target, so that more is given than asked only where a job
cannot be paused in part. Where a job may be paused, points of its envelope and the pauses are mixed to one job
at most: the tightest linear form of "runs on its curve, or is paused".
"""

from collections.abc import Sequence

import numpy as np

from gateway.domain.curtailment.choice import NODE_PRICE, Choice, Pause, missing_price, pause_cost_s, ramp_room_w
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.curtailment.pricing import Prices, tie_worth
from gateway.domain.curtailment.program import LinearProgram, ProgramBuilder
from gateway.domain.tree import Flags, Floats, Indices


class CurtailmentModel:
    """The program of one problem with these pauses to choose from, and the way between its columns and a choice.

    Watts count in ``_unit_w``, a job's mean power, and the objective in ``scale`` seconds of weighted throughput, so
    that coefficients stay near 1. ``constant_s`` is what the jobs give at their floors.
    """

    def __init__(self, prepared: Prepared, pauses: Sequence[Pause]) -> None:
        self._prepared = prepared
        self._pauses = tuple(pauses)
        jobs, steps = len(prepared.jobs), prepared.intervals
        self.scale = max(1e-9, prepared.total_worth / max(1, jobs * steps))
        self._unit_w = max(1.0, float(prepared.top_w.mean())) if jobs else 1.0
        self._worth = tie_worth(prepared)
        self.constant_s = float((self._worth * prepared.floor).sum() * prepared.edges_s[-1])
        self._owner: Indices = np.array([pause.job for pause in self._pauses], dtype=np.intp)
        edges = np.arange(steps)
        self._covers: Flags = np.array(
            [(pause.first <= edges) & (edges < pause.last) for pause in self._pauses], dtype=np.bool_
        ).reshape(len(self._pauses), steps)
        self._cost_s: Floats = np.array([pause_cost_s(prepared, pause) for pause in self._pauses], dtype=np.float64)
        covered = np.zeros((jobs, steps), dtype=np.bool_)
        np.logical_or.at(covered, self._owner, self._covers)
        self._mixed = covered
        self._mixes: Flags = covered[prepared.segment_job]
        self._width_w = self._from_floor(prepared.segment_w)
        self._gain = self._from_floor(prepared.segment_gain)
        self._builder = ProgramBuilder()
        self._add_columns()
        self._add_power()
        self._add_needs()
        self._add_pauses()
        self.program: LinearProgram = self._builder.build()

    def _from_floor(self, sizes: Floats) -> Floats:
        """Sizes of segments by interval, counted from the floor where points are mixed."""
        owner = self._prepared.segment_job
        total = np.cumsum(sizes)
        first = np.searchsorted(owner, owner)
        points = total - (total[first] - sizes[first]) if len(sizes) else sizes
        return np.where(self._mixes, points[:, np.newaxis], sizes[:, np.newaxis])

    def _add_columns(self) -> None:
        prepared, new = self._prepared, self._builder.columns
        seconds = prepared.duration_s / self.scale
        self._filled = new(
            self._gain.shape, gain=self._worth[prepared.segment_job, np.newaxis] * self._gain * seconds, high=1.0
        )
        at_floor = (self._worth * prepared.floor)[self._owner]
        paused = at_floor * (self._covers @ seconds) + self._worth[self._owner] * self._cost_s / self.scale
        self._chosen = new((len(self._pauses),), gain=-paused, high=1.0, whole=True)
        self._site = new((prepared.intervals,), gain=0.0)
        price = missing_price(prepared) * self._unit_w * seconds
        self._missing = new((prepared.intervals,), gain=-price)
        self._over_ramp = new((prepared.intervals,), gain=-price)
        self._over_node = new((len(prepared.problem.nodes), prepared.intervals), gain=-NODE_PRICE * price)

    def _add_power(self) -> None:
        """The site's power and target, the nodes' budgets, the ramp."""
        prepared, builder = self._prepared, self._builder
        steps = prepared.intervals
        saved = ((prepared.floor_w - prepared.idle_w) / self._unit_w)[self._owner, np.newaxis] * self._covers
        fixed = (prepared.problem.fixed_w + prepared.floor_w.sum()) / self._unit_w
        rows = builder.rows((steps,), low=-fixed, high=-fixed)
        builder.entries(rows, self._filled, self._width_w / self._unit_w)
        builder.entries(rows, self._chosen[:, np.newaxis], -saved)
        builder.entries(rows, self._site, -1.0)
        self._target_rows = builder.rows((steps,), high=prepared.target_w / self._unit_w)
        builder.entries(self._target_rows, self._site, 1.0)
        builder.entries(self._target_rows, self._missing, -1.0)
        self._node_rows = np.full(self._over_node.shape, -1, dtype=np.intp)
        for i, node in enumerate(prepared.problem.nodes):
            share = prepared.node_share[i]
            if float(share @ prepared.top_w) <= node.budget_w:
                continue
            spare_w = node.budget_w - float(share @ prepared.floor_w)
            rows = builder.rows((steps,), high=spare_w / self._unit_w)
            builder.entries(rows, self._filled, share[prepared.segment_job, np.newaxis] * self._width_w / self._unit_w)
            builder.entries(rows, self._chosen[:, np.newaxis], -share[self._owner, np.newaxis] * saved)
            builder.entries(rows, self._over_node[i], -1.0)
            self._node_rows[i] = rows
        room = ramp_room_w(prepared) / self._unit_w
        before_w = prepared.problem.power_before_w
        room[0] += np.inf if before_w is None else before_w / self._unit_w
        self._ramp_rows = builder.rows((steps,), high=room)
        builder.entries(self._ramp_rows, self._site, 1.0)
        builder.entries(self._ramp_rows[1:], self._site[:-1], -1.0)
        builder.entries(self._ramp_rows, self._over_ramp, -1.0)

    def _add_needs(self) -> None:
        """Tier means and deadlines, in shares of the whole time."""
        prepared, builder = self._prepared, self._builder
        whole_s = float(prepared.edges_s[-1])
        at_floor = np.array(
            [prepared.floor[need.job] * need.seconds.sum() for need in prepared.needs], dtype=np.float64
        )
        value_s = np.array([need.value_s for need in prepared.needs], dtype=np.float64)
        self._need_rows = builder.rows((len(prepared.needs),), low=(value_s - at_floor) / whole_s)
        for row, need in zip(self._need_rows, prepared.needs, strict=True):
            one = np.array([row])
            first, last = np.searchsorted(prepared.segment_job, [need.job, need.job + 1])
            share = need.seconds / whole_s
            builder.entries(one, self._filled[first:last], self._gain[first:last] * share)
            of_job = np.flatnonzero(self._owner == need.job)
            lost = float(prepared.floor[need.job]) * (self._covers[of_job] @ share) + self._cost_s[of_job] / whole_s
            builder.entries(one, self._chosen[of_job], -lost)

    def _add_pauses(self) -> None:
        """One job either runs on its curve or is paused; rest between pauses; few at one instant."""
        prepared, builder = self._prepared, self._builder
        steps = prepared.intervals
        place = np.full(self._mixed.shape, -1, dtype=np.intp)
        place[self._mixed] = builder.rows((int(self._mixed.sum()),), high=1.0)
        segments, at = np.nonzero(self._mixes)
        builder.entries(place[prepared.segment_job[segments], at], self._filled[segments, at], 1.0)
        chosen, at = np.nonzero(self._covers)
        builder.entries(place[self._owner[chosen], at], self._chosen[chosen], 1.0)
        saved = (prepared.top_w - prepared.idle_w)[self._owner] / self._unit_w
        fresh = np.array([not pause.goes_on for pause in self._pauses], dtype=np.bool_)
        first = np.array([pause.first for pause in self._pauses], dtype=np.intp)
        last = np.array([pause.last for pause in self._pauses], dtype=np.intp)
        most = prepared.stagger_w / self._unit_w
        self._begin_rows = builder.rows((steps,), high=most)
        builder.entries(self._begin_rows[first[fresh]], self._chosen[fresh], saved[fresh])
        due = np.maximum(most, prepared.due_w() / self._unit_w)
        self._end_rows = builder.rows((steps + 1,), high=due)
        builder.entries(self._end_rows[last], self._chosen, saved)
        for j, windows in zip(prepared.pausable.tolist(), prepared.windows, strict=True):
            of_job = np.flatnonzero(self._owner == j)
            if windows.goes_on is not None:
                row = builder.rows((1,), low=1.0, high=1.0)
                builder.entries(row, self._chosen[of_job[~fresh[of_job]]], 1.0)
            if len(of_job) > 1:
                # From where it begins to where another may: only one of the job's pauses holds an edge.
                edges = np.arange(steps + 1)[:, np.newaxis]
                holds = (first[of_job] <= edges) & (edges < windows.ready[last[of_job]])
                rows = builder.rows((steps + 1,), high=1.0)
                builder.entries(rows[:, np.newaxis], self._chosen[of_job], holds.astype(np.float64))

    def prices(self, row_price: Floats) -> Prices:
        """What a unit more of each limit is worth; ``row_price`` says it in the program's units, row by row."""
        prepared = self._prepared
        per_w = self.scale / self._unit_w
        nodes = np.where(self._node_rows >= 0, row_price[self._node_rows], 0.0)
        return Prices(
            target=row_price[self._target_rows] * per_w,
            ramp=row_price[self._ramp_rows] * per_w,
            node=nodes * per_w,
            need=-row_price[self._need_rows] * self.scale / float(prepared.edges_s[-1]),
            begin=row_price[self._begin_rows] * per_w,
            end=row_price[self._end_rows] * per_w,
        )

    def choice(self, values: Floats) -> Choice:
        """What the values of the columns mean."""
        prepared = self._prepared
        paused = np.zeros(self._mixed.shape, dtype=np.bool_)
        taken = values[self._chosen] > 0.5
        np.logical_or.at(paused, self._owner[taken], self._covers[taken])
        drawn = np.zeros(paused.shape, dtype=np.float64)
        np.add.at(drawn, prepared.segment_job, self._width_w * np.clip(values[self._filled], 0.0, 1.0))
        power_w = np.clip(prepared.floor_w[:, np.newaxis] + drawn, None, prepared.top_w[:, np.newaxis])
        return Choice(power_w=np.where(paused, prepared.idle_w[:, np.newaxis], power_w), paused=paused)

    def taken(self, values: Floats) -> list[tuple[Pause, float]]:
        """The pauses with how far each is chosen."""
        return list(zip(self._pauses, values[self._chosen].tolist(), strict=True))

    @property
    def chosen(self) -> Indices:
        """The columns of the pauses, in the order given."""
        return self._chosen
