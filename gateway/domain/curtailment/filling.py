"""Power for each job under a budget, the steepest segments first: what allocation does, for given pauses."""

import numpy as np

from gateway.domain.curtailment.choice import missing_price, ramp_room_w
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.curtailment.pricing import Prices
from gateway.domain.tree import Flags, Floats, Indices

_REPAIRS = 12
"""So often floors are raised until every mean is kept; then each job that lacks runs at its mean all the time."""

_BOOSTS = 8
"""So often what a job counts for is raised, before its floor is."""

_A_LITTLE_MORE = 1.0 + 1e-6

_SAME_S = 1e-6


class Filling:
    """The segments, sorted once.

    ``most_w`` is what the electrical tree leaves each job, each node used as well as it can be.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        owner = prepared.segment_job
        per_w = prepared.worth[owner] * prepared.segment_gain / prepared.segment_w
        self._per_w: Floats = per_w
        self._boost = np.ones(len(prepared.jobs))
        self._order = np.argsort(-per_w, kind="stable")
        first = np.searchsorted(owner, owner)
        before_w = np.cumsum(prepared.segment_w) - prepared.segment_w
        self._from_w = before_w - (before_w[first] if len(before_w) else before_w)
        # Each job's segments in a row, -1 where it has fewer than others.
        place = np.arange(len(owner)) - first
        self._segments_of: Indices = np.full((len(prepared.jobs), int(place.max(initial=0)) + 1), -1, dtype=np.intp)
        self._segments_of[owner, place] = np.arange(len(owner))
        self._need_job = np.array([need.job for need in prepared.needs], dtype=np.intp)
        self._need_s = np.array([need.value_s for need in prepared.needs], dtype=np.float64)
        self._need_seconds = np.array([need.seconds for need in prepared.needs], dtype=np.float64)
        self.most_w: Floats = prepared.top_w.copy()
        steady_w = self._steady_w()
        nodes = sorted(range(len(prepared.problem.nodes)), key=lambda i: (float(prepared.node_share[i].sum()), i))
        for i in nodes:
            share = prepared.node_share[i]
            budget_w = prepared.problem.nodes[i].budget_w
            if float(share @ self.most_w) > budget_w:
                filled_w = self.fill(np.array([budget_w]), steady_w, np.zeros((len(share), 1), dtype=np.bool_), share)[
                    :, 0
                ]
                self.most_w = np.where(share > 0.0, np.minimum(self.most_w, filled_w), self.most_w)

    def reach(self) -> Floats:
        """The most throughput that the electrical tree leaves each job's devices."""
        return self._throughput(self.most_w[:, np.newaxis])[:, 0]

    def _steady_w(self) -> Floats:
        """The power at which each job keeps what it needs when it runs evenly."""
        prepared = self._prepared
        steady_w = prepared.floor_w.copy()
        for need in prepared.needs:
            curve = prepared.envelopes[need.job]
            even = min(need.value_s / max(_SAME_S, float(need.seconds.sum())), float(prepared.top[need.job]))
            steady_w[need.job] = max(steady_w[need.job], float(prepared.devices[need.job]) * curve.power_for(even))
        return steady_w

    def fill(self, budget_w: Floats, least_w: Floats, paused: Flags, share: Floats | None = None) -> Floats:
        """Each job's power in each interval that has a budget, ``least_w`` at least where it runs.

        Of each watt of a job ``share`` counts against the budget, all of it where no share is given.
        """
        prepared = self._prepared
        owner, order = prepared.segment_job, self._order
        most_w = np.maximum(self.most_w, least_w)
        floor_w = np.maximum(least_w, prepared.floor_w)
        base_w = np.where(paused, prepared.idle_w[:, np.newaxis], floor_w[:, np.newaxis])
        from_w = np.clip((floor_w - prepared.floor_w)[owner] - self._from_w, 0.0, prepared.segment_w)
        to_w = np.clip((most_w - prepared.floor_w)[owner] - self._from_w, 0.0, prepared.segment_w)
        room_w = np.where(paused[owner[order]], 0.0, np.maximum(0.0, to_w - from_w)[order, np.newaxis])
        part = np.ones(len(floor_w)) if share is None else share
        counted_w = room_w * part[owner[order], np.newaxis]
        spare_w = budget_w - part @ base_w
        taken_w = np.clip(spare_w - (np.cumsum(counted_w, axis=0) - counted_w), 0.0, counted_w)
        filled = np.divide(taken_w, counted_w, out=np.ones_like(taken_w), where=counted_w > 0.0)
        np.add.at(base_w, owner[order], filled * room_w)
        return base_w

    def schedule(self, paused: Flags, least_w: Floats) -> Floats:
        """Each job's power in each interval, the site under its target and rising no faster than it may."""
        prepared = self._prepared
        fixed_w, before_w = prepared.problem.fixed_w, prepared.problem.power_before_w
        power_w = self.fill(prepared.target_w - fixed_w, least_w, paused)
        room_w = ramp_room_w(prepared)
        site_w = np.inf if before_w is None else before_w - fixed_w
        for t in range(prepared.intervals):
            if float(power_w[:, t].sum()) > site_w + float(room_w[t]):
                most_w = np.array([site_w + float(room_w[t])])
                power_w[:, t] = self.fill(most_w, least_w, paused[:, t, np.newaxis])[:, 0]
            site_w = float(power_w[:, t].sum())
        return power_w

    def keeping_needs(self, paused: Flags, cost_s: Floats) -> Floats:
        """A schedule that keeps every mean.

        A job that lacks counts for more, so that it gets what is given where power is not as short. What it lacks even
        then its floor is raised for, in all intervals at once.
        """
        prepared = self._prepared
        least_w = prepared.floor_w.copy()
        self._boost[:] = 1.0
        for _ in range(_BOOSTS):
            power_w = self.schedule(paused, least_w)
            if not self._boosted(power_w, paused, cost_s):
                break
        power_w = self.schedule(paused, least_w)
        for repair in range(_REPAIRS):
            lacking = self._raised(power_w, paused, cost_s, at_once=repair == _REPAIRS - 1)
            if not lacking:
                break
            for j, floor_w in lacking.items():
                least_w[j] = max(least_w[j], floor_w)
            power_w = self.schedule(paused, least_w)
        return power_w

    def _boosted(self, power_w: Floats, paused: Flags, cost_s: Floats) -> bool:
        """Let jobs that lack count for as much as they need to; whether any did not yet.

        At the price of power in an interval, that of the dearest watt not given there, a job takes each segment that
        is worth more to it.
        """
        prepared = self._prepared
        lacking = self._lacking(power_w, paused, cost_s)
        if not lacking or not len(prepared.segment_job):
            return False
        which = np.array([i for i, _ in lacking], dtype=np.intp)
        jobs = self._need_job[which]
        seconds = np.where(paused[jobs], 0.0, self._need_seconds[which])
        over_floor_s = np.array([asked_s for _, asked_s in lacking]) - prepared.floor[jobs] * seconds.sum(axis=1)
        segments, real = self._segments_of[jobs], (self._segments_of[jobs] >= 0)[:, :, np.newaxis]
        factor = np.where(real, self._price(power_w, paused) / self._per_w[segments][:, :, np.newaxis], np.inf)
        more_s = np.where(real, prepared.segment_gain[segments][:, :, np.newaxis], 0.0) * seconds[:, np.newaxis, :]
        factor = factor.reshape(len(jobs), -1)
        order = np.argsort(factor, axis=1, kind="stable")
        factor = np.take_along_axis(factor, order, axis=1)
        given_s = np.cumsum(np.take_along_axis(more_s.reshape(len(jobs), -1), order, axis=1), axis=1)
        reached = (given_s < over_floor_s[:, np.newaxis] - _SAME_S).sum(axis=1)
        last = np.minimum(reached, np.isfinite(factor).sum(axis=1) - 1)
        boost = np.where(last >= 0, factor[np.arange(len(jobs)), last] * _A_LITTLE_MORE, 0.0)
        before = self._boost.copy()
        np.maximum.at(self._boost, jobs, boost)
        changed = bool((self._boost > before).any())
        if changed:
            self._order = np.argsort(-self._per_w * self._boost[prepared.segment_job], kind="stable")
        return changed

    def prices(self, power_w: Floats, paused: Flags) -> Prices:
        """Prices that speak for a schedule: of power by what it was worth last, of means by how much jobs count."""
        prepared = self._prepared
        price = np.minimum(self._price(power_w, paused), missing_price(prepared)) * prepared.duration_s
        none = np.zeros(prepared.intervals + 1)
        extra = prepared.worth * (self._boost - 1.0)
        # A job's boost pays for one of its needs: the one that asks for most.
        need = np.zeros(len(prepared.needs))
        hardest: dict[int, tuple[float, int]] = {}
        for i, one in enumerate(prepared.needs):
            share = one.value_s / max(_SAME_S, float(one.seconds.sum()))
            hardest[one.job] = max(hardest.get(one.job, (-1.0, 0)), (share, i))
        for j, (_, i) in hardest.items():
            need[i] = extra[j]
        return Prices(
            target=price,
            ramp=none[:-1],
            node=np.zeros((len(prepared.problem.nodes), prepared.intervals)),
            need=need,
            begin=none[:-1],
            end=none,
        )

    def _price(self, power_w: Floats, paused: Flags) -> Floats:
        """The worth of the dearest watt not given in each interval; infinite where nothing over the floors is."""
        prepared = self._prepared
        owner = prepared.segment_job
        over_w = (power_w - prepared.floor_w[:, np.newaxis])[owner] - self._from_w[:, np.newaxis]
        worth = (self._per_w * self._boost[owner])[:, np.newaxis]
        runs = ~paused[owner]
        to_w = np.clip((self.most_w - prepared.floor_w)[owner] - self._from_w, 0.0, prepared.segment_w)
        open_ = runs & (over_w < (to_w * (1.0 - 1e-9))[:, np.newaxis])
        price: Floats = np.where(open_, worth, 0.0).max(axis=0, initial=0.0)
        nothing = ~(runs & (over_w > 1e-9)).any(axis=0)
        return np.where(nothing, np.inf, price)

    def _throughput(self, power_w: Floats) -> Floats:
        """Of a device of each job in each interval, were it to run at these powers."""
        prepared = self._prepared
        over_w = (power_w - prepared.floor_w[:, np.newaxis])[prepared.segment_job] - self._from_w[:, np.newaxis]
        part = np.clip(over_w / prepared.segment_w[:, np.newaxis], 0.0, 1.0)
        given = np.repeat(prepared.floor[:, np.newaxis], power_w.shape[1], axis=1)
        np.add.at(given, prepared.segment_job, part * prepared.segment_gain[:, np.newaxis])
        return given

    def _lacking(self, power_w: Floats, paused: Flags, cost_s: Floats) -> list[tuple[int, float]]:
        """The needs that are not kept, with the seconds that running has to give for them."""
        prepared = self._prepared
        if not prepared.needs:
            return []
        seconds = np.where(paused[self._need_job], 0.0, self._need_seconds)
        asked_s = self._need_s + cost_s[self._need_job]
        given_s = (seconds * self._throughput(power_w)[self._need_job]).sum(axis=1)
        return [(int(i), float(asked_s[i])) for i in np.flatnonzero(given_s < asked_s - _SAME_S)]

    def _raised(self, power_w: Floats, paused: Flags, cost_s: Floats, *, at_once: bool) -> dict[int, float]:
        """The floors in watts with which jobs that lack would keep their needs, all else as it is."""
        prepared = self._prepared
        found: dict[int, float] = {}
        throughput = self._throughput(power_w)
        for i, asked_s in self._lacking(power_w, paused, cost_s):
            need = prepared.needs[i]
            j = need.job
            curve = prepared.envelopes[j]
            seconds = np.where(paused[j], 0.0, need.seconds)
            floor = _level(throughput[j], seconds, asked_s, at_once=at_once)
            level_w = curve.power_for(min(floor, float(prepared.top[j]))) * float(prepared.devices[j])
            found[j] = max(found.get(j, 0.0), level_w)
        return found


def _level(given: Floats, seconds: Floats, asked_s: float, *, at_once: bool) -> float:
    """The level ``f`` at which ``seconds @ max(given, f)`` is what is asked; without ``given`` where at once."""
    whole_s = float(seconds.sum())
    if whole_s <= 0.0:
        return 0.0
    if at_once:
        return asked_s / whole_s
    order = np.argsort(given, kind="stable")
    level, weight = given[order], seconds[order]
    under_s = np.cumsum(weight)
    above = float(weight @ level) - np.cumsum(weight * level)
    for i in range(len(level)):
        if under_s[i] <= 0.0:
            continue
        f = (asked_s - float(above[i])) / float(under_s[i])
        if i + 1 == len(level) or f <= level[i + 1]:
            return float(f)
    return asked_s / whole_s
