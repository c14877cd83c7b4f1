"""All events as one curtailment of the site: what the planner is asked, and what dispatch takes from its answer.

Jobs are shared by all events, so that pauses are planned for the target that governs, not event by event.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil

import numpy as np

from gateway.domain.curtailment.choice import NODE_PRICE
from gateway.domain.curtailment.problem import (
    CurtailmentInterval,
    CurtailmentJob,
    CurtailmentProblem,
    NodeLimit,
    PauseTerms,
)
from gateway.domain.curtailment.schedule import CurtailmentSchedule, Limit
from gateway.domain.fleet import allocation_jobs
from gateway.domain.overlap import governing_target
from gateway.domain.plan import PowerPlan
from gateway.domain.tree import ElectricalTree, wire
from gateway.domain.work_account import WorkAccount
from hardware.device import CapRange, DeviceView
from hardware.job import JobView

HORIZON = timedelta(hours=24)
"""Nothing is planned for later than this."""

OPEN_END = timedelta(hours=4)
"""An event without an end is planned for so long, and again before that is over."""

MOST_INTERVALS = 48
SHORTEST_S = 60.0

MOST_REASONS = 5
LEAST_HOURS = 0.05
"""Fewer GPU-hours than this are not worth a word."""

_EVEN_S = 1.0
"""So much less than the mean is none: curves and readings are no better."""

_JUST_BEFORE = timedelta(microseconds=1)


def governed_intervals(plans: Collection[PowerPlan], now: datetime) -> tuple[CurtailmentInterval, ...]:
    """The target that governs from ``now`` on, in at most about ``2 * MOST_INTERVALS`` stretches; empty for none.

    A stretch has the lowest target that governs at any instant of it. Ramps are cut so that each of their parts is not
    much lower than what is asked.
    """
    corners = _corners(plans, now)
    if not corners:
        return ()
    step_s = max(SHORTEST_S, (corners[-1] - now).total_seconds() / MOST_INTERVALS)
    edges = {now, corners[-1]} if len(corners) > MOST_INTERVALS else {now, *corners}
    cells: list[CurtailmentInterval] = []
    ordered = sorted(edges)
    for begin, end in pairwise(ordered):
        count = ceil((end - begin).total_seconds() / step_s - 1e-9)
        for part in range(count):
            from_at, to_at = (begin + (end - begin) * (at / count) for at in (part, part + 1))
            cells.append(
                CurtailmentInterval(
                    duration_s=(to_at - from_at).total_seconds(), target_w=_lowest(plans, corners, from_at, to_at)
                )
            )
    return tuple(cells)


def _corners(plans: Collection[PowerPlan], now: datetime) -> list[datetime]:
    """Every instant from ``now`` on at which a target begins, ends or bends."""
    found: set[datetime] = set()
    for plan in plans:
        for interval in plan.intervals:
            ends_at = interval.ends_at or max(now, interval.starts_at) + OPEN_END
            found |= {at for at in (interval.starts_at, ends_at) if at > now}
    return sorted(min(at, now + HORIZON) for at in found)


def _lowest(
    plans: Collection[PowerPlan], corners: Sequence[datetime], from_at: datetime, to_at: datetime
) -> float | None:
    """The lowest target that governs between two instants: targets are straight between their corners."""
    inside = [at for at in corners if from_at < at < to_at]
    looked_at = [from_at, *(at - _JUST_BEFORE for at in inside), *inside, to_at - _JUST_BEFORE]
    found = [governing.target_w for at in looked_at if (governing := governing_target(plans, at)) is not None]
    return min(found, default=None)


def curtailment_problem(
    plans: Collection[PowerPlan],
    jobs: Sequence[JobView],
    *,
    now: datetime,
    fixed_w: float,
    ranges: Mapping[str, CapRange],
    paused_s: Mapping[str, float],
    accounts: Mapping[str, WorkAccount] | None = None,
    tree: ElectricalTree | None = None,
    devices: Mapping[str, DeviceView] | None = None,
) -> CurtailmentProblem | None:
    """What the planner is asked; ``None`` where no target governs from ``now`` on, or no job can be moved.

    ``fixed_w`` and ``ranges`` are as ``plan`` takes them; ``paused_s`` says for how long jobs have been paused already,
    ``accounts`` what was kept back from them so far, by job_id and up to ``now``.
    """
    intervals = governed_intervals(plans, now)
    movable = curtailment_jobs(jobs, ranges=ranges, paused_s=paused_s, accounts=accounts or {})
    if not movable or not any(interval.target_w is not None for interval in intervals):
        return None
    return CurtailmentProblem(
        starts_at=now,
        intervals=intervals,
        jobs=movable,
        fixed_w=fixed_w,
        nodes=() if tree is None or devices is None else node_limits(tree, devices, jobs),
    )


def curtailment_jobs(
    views: Iterable[JobView],
    *,
    ranges: Mapping[str, CapRange],
    paused_s: Mapping[str, float],
    accounts: Mapping[str, WorkAccount],
) -> tuple[CurtailmentJob, ...]:
    """Jobs as the planner knows them: what was promised binds in each interval in which they run, and in the mean.

    A deadline binds where it is known how much work is left (``JobView.remaining_s``).
    """
    by_id = {view.job_id: view for view in views}
    return tuple(
        _with_account(
            CurtailmentJob(
                job_id=job.job_id,
                tier=by_id[job.job_id].tier,
                weight=job.weight,
                devices=job.devices,
                curve=job.curve,
                min_throughput=job.min_throughput,
                tier_mean=_tier_mean(by_id[job.job_id]),
                idle_w=job.idle_w,
                deadline_at=by_id[job.job_id].deadline_at,
                remaining_s=by_id[job.job_id].remaining_s or 0.0,
                pause=_pause_terms(by_id[job.job_id], paused_s.get(job.job_id, 0.0)) if job.can_pause else None,
            ),
            accounts.get(job.job_id),
        )
        for job in allocation_jobs(by_id.values(), ranges=ranges)
    )


def _with_account(job: CurtailmentJob, account: WorkAccount | None) -> CurtailmentJob:
    if account is None:
        return job
    return replace(
        job,
        elapsed_s=(account.at - account.since).total_seconds(),
        throughput_so_far=account.given_fraction,
        asked_s=account.asked_s,
        asked_given_s=account.asked_given_s,
    )


def in_debt(jobs: Iterable[JobView], accounts: Mapping[str, WorkAccount]) -> frozenset[str]:
    """The jobs that have had less than their mean since something is asked: the rest of it must make up for that."""
    return frozenset(
        job.job_id
        for job in jobs
        if (account := accounts.get(job.job_id)) is not None
        and account.asked_given_s < _tier_mean(job) * account.asked_s - _EVEN_S
    )


def _tier_mean(view: JobView) -> float:
    return view.min_throughput if view.mean_throughput is None else view.mean_throughput


def _pause_terms(view: JobView, paused_s: float) -> PauseTerms:
    costs = view.pause_costs
    return PauseTerms(
        method=view.method,
        max_pause_s=view.max_pause_s,
        min_run_s=costs.min_run_s,
        min_rest_s=costs.min_rest_s,
        checkpoint_cost_s=costs.checkpoint_s,
        resume_cost_s=costs.resume_s,
        paused_for_s=paused_s,
    )


def node_limits(
    tree: ElectricalTree, devices: Mapping[str, DeviceView], jobs: Iterable[JobView]
) -> tuple[NodeLimit, ...]:
    """What each node with a limit leaves for the devices of jobs: those of none may draw all they can."""
    wiring = wire(tree, {device_id: view.host_id for device_id, view in devices.items()})
    place = {device_id: index for index, device_id in enumerate(wiring.device_ids)}
    of_job = {device_id: job.job_id for job in jobs for device_id in job.device_ids if device_id in place}
    others_w = np.array([0.0 if key in of_job else devices[key].cap_range.max_w for key in wiring.device_ids])
    left_w = wiring.budget_w - wiring.sums(others_w)
    counts: list[dict[str, int]] = [{} for _ in wiring.budget_w]
    for device_id, job_id in of_job.items():
        for index in {int(node) for node in wiring.paths[:, place[device_id]]}:
            counts[index][job_id] = counts[index].get(job_id, 0) + 1
    return tuple(
        NodeLimit(node_id=node.node_id, budget_w=max(0.0, budget_w), devices=count)
        for node, budget_w, count in zip(wiring.nodes, left_w.tolist(), counts, strict=False)
        if count
    )


def paused_at(schedule: CurtailmentSchedule, at: datetime) -> tuple[str, ...]:
    """The jobs that are to be paused at an instant."""
    return tuple(dict.fromkeys(pause.job_id for pause in schedule.pauses if pause.from_at <= at < pause.to_at))


def floors(schedule: CurtailmentSchedule, indebted: Collection[str] = ()) -> dict[str, float]:
    """The least throughput, while it runs, of each job that is paused at some time: what its mean needs of the rest.

    So it is for those that have had less than their mean already (``in_debt``).
    """
    sometimes = {pause.job_id for pause in schedule.pauses} | set(indebted)
    return {
        job.job_id: min((given for given in job.throughput if given > 0.0), default=0.0)
        for job in schedule.jobs
        if job.job_id in sometimes
    }


def in_words(schedule: CurtailmentSchedule) -> str:
    """The schedule in a few sentences, for the history of an event."""
    lost = [f"{hours:.1f} of {tier}" for tier, hours in sorted(schedule.lost_gpu_hours.items()) if hours >= LEAST_HOURS]
    made = f"{schedule.status} by {schedule.made_by}"
    given = f"{schedule.weighted_throughput:.1%} of weighted throughput"
    said = [f"{made}, at most {schedule.gap:.1%} from the best: {given}"]
    if schedule.missing:
        kwh = [one / 1000.0 for one in (schedule.missing_wh, schedule.asked_wh, schedule.least_missing_wh)]
        short = "{:.2f} kWh are missing, where {:.1f} kWh are asked for and at least {:.2f} kWh are missing in any plan"
        # See ``Worth.lacking_ws``.
        over_node = any(one.limit is Limit.NODE for one in schedule.missing)
        counted = f" ({NODE_PRICE:.0f} times what is over a node)" if over_node else ""
        said = [
            f"{made}: {short.format(*kwh)}{counted}",
            f"{given}, at most {schedule.gap:.1%} from the best that misses no more",
        ]
    said.append(f"costs GPU-hours {', '.join(lost)}" if lost else "costs nothing")
    if schedule.pauses:
        said.append(f"pauses {len({pause.job_id for pause in schedule.pauses})} jobs")
    if schedule.missing:
        worst = max(schedule.missing, key=lambda one: one.missing_w)
        where = f"node {worst.node_id}" if worst.node_id else f"the {worst.limit}"
        said.append(f"{worst.missing_w / 1000.0:.2f} kW over {where} from {worst.starts_at:%H:%M:%SZ} at the worst")
    return "; ".join(said) + _chosen(schedule)


def _chosen(schedule: CurtailmentSchedule) -> str:
    """Why the jobs that give most were chosen."""
    chosen = sorted((job for job in schedule.jobs if job.reason), key=lambda job: -job.lost_gpu_hours)
    more = f" And {len(chosen) - MOST_REASONS} more." if len(chosen) > MOST_REASONS else ""
    return "".join(f". {job.job_id}: {job.reason.rstrip('.')}" for job in chosen[:MOST_REASONS]) + "." + more
