"""What a curtailment plan says: who slows down or pauses when, what that gives and costs, and why each was chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np

from gateway.domain.curtailment.certainty import Certainty, asked_ws
from gateway.domain.curtailment.choice import Choice, Worth, pauses, worth
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.curtailment.reasons import reasons
from hardware.job import PauseMethod

NOTHING_W = 0.5
"""A shortfall under half a watt is none."""


class Status(StrEnum):
    """How good a schedule is."""

    OPTIMAL = "optimal"
    """Nothing is missing, and no schedule is better by more than the gap asked for."""
    FEASIBLE = "feasible"
    """Nothing is missing; how much better another might be is the gap."""
    INFEASIBLE = "infeasible"
    """Something is missing, and said in watts. A small ``missing_gap`` says that no schedule misses notably less."""


class MadeBy(StrEnum):
    """Which method made a schedule."""

    MILP = "milp"
    HEURISTIC = "heuristic"


class Limit(StrEnum):
    """What could not be kept."""

    TARGET = "target"
    RAMP = "ramp"
    NODE = "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """So many watts over a limit in interval ``interval``; ``node_id`` says which node's."""

    limit: Limit
    interval: int
    starts_at: datetime
    missing_w: float
    node_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPause:
    """A pause that was chosen. One that goes on from before has the start of the plan as its own."""

    job_id: str
    from_at: datetime
    to_at: datetime
    method: PauseMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSchedule:
    """One job's part, one element an interval: ``throughput`` of a device, ``power_w`` of all its devices together.

    ``mean_throughput`` is that over all intervals, the cost of its pauses taken off. ``lost_gpu_hours`` are devices
    times hours of full throughput. ``reason`` says why it was chosen, and is empty where it gives nothing.
    """

    job_id: str
    tier: str
    throughput: tuple[float, ...]
    power_w: tuple[float, ...]
    mean_throughput: float
    lost_gpu_hours: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CurtailmentSchedule:
    """The plan of one curtailment. Tuples in watts have one element an interval, ``edges_at`` one more.

    ``asked_wh`` is the reduction asked for, ``missing_wh`` what is missing of it and of the other limits (a node's
    counted ``NODE_PRICE`` times), ``least_missing_wh`` what no schedule misses less than, and ``missing_gap`` how far
    these two are apart as a fraction of what is asked. ``gap`` is how much more weighted throughput there might be with
    no more missing, as a fraction of it; ``heuristic_gap`` and ``heuristic_missing_wh`` are those of the heuristic's
    schedule alone.
    ``objective`` is the weighted throughput less the price of what is missing, and ``bound`` what no schedule can
    exceed. ``lost_gpu_hours`` are by tier.
    """

    status: Status
    made_by: MadeBy
    edges_at: tuple[datetime, ...]
    jobs: tuple[JobSchedule, ...]
    pauses: tuple[PlannedPause, ...]
    expected_w: tuple[float, ...]
    shortfall_w: tuple[float, ...]
    missing: tuple[Missing, ...]
    weighted_throughput: float
    lost_gpu_hours: Mapping[str, float]
    objective: float
    bound: float
    gap: float
    asked_wh: float
    missing_wh: float
    least_missing_wh: float
    missing_gap: float
    heuristic_gap: float
    heuristic_missing_wh: float

    def reasons(self) -> dict[str, str]:
        """Why each job that gives something was chosen, one sentence each."""
        return {job.job_id: job.reason for job in self.jobs if job.reason}


def schedule(
    prepared: Prepared,
    choice: Choice,
    *,
    made_by: MadeBy,
    bound: float,
    gap: float,
    proven: Certainty,
    of_heuristic: Certainty,
) -> CurtailmentSchedule:
    """Put into words and instants what was chosen. ``gap`` is what was asked for."""
    found = worth(prepared, choice)
    missing = _missing(prepared, found)
    status = Status.INFEASIBLE if missing else Status.OPTIMAL if proven.gap <= gap else Status.FEASIBLE
    jobs = _jobs(prepared, choice, found)
    lost: dict[str, float] = {}
    for job in jobs:
        lost[job.tier] = lost.get(job.tier, 0.0) + job.lost_gpu_hours
    return CurtailmentSchedule(
        status=status,
        made_by=made_by,
        edges_at=tuple(prepared.at(edge) for edge in range(prepared.intervals + 1)),
        jobs=jobs,
        pauses=_pauses(prepared, choice),
        expected_w=tuple(found.site_w.tolist()),
        shortfall_w=tuple(np.where(found.missing_w >= NOTHING_W, found.missing_w, 0.0).tolist()),
        missing=missing,
        weighted_throughput=found.weighted_throughput,
        lost_gpu_hours=lost,
        objective=found.objective,
        bound=max(bound, found.objective),
        gap=proven.gap,
        asked_wh=asked_ws(prepared) / 3600.0,
        missing_wh=proven.missing_wh,
        least_missing_wh=proven.least_missing_wh,
        missing_gap=proven.missing_gap,
        heuristic_gap=of_heuristic.gap,
        heuristic_missing_wh=of_heuristic.missing_wh,
    )


def _missing(prepared: Prepared, found: Worth) -> tuple[Missing, ...]:
    rows: list[tuple[Limit, str | None, Sequence[float]]] = [
        (Limit.TARGET, None, found.missing_w.tolist()),
        (Limit.RAMP, None, found.over_ramp_w.tolist()),
    ]
    nodes = zip(prepared.problem.nodes, found.over_node_w.tolist(), strict=True)
    rows += [(Limit.NODE, node.node_id, over_w) for node, over_w in nodes]
    return tuple(
        Missing(limit=limit, interval=t, starts_at=prepared.at(t), missing_w=watts, node_id=node_id)
        for limit, node_id, row in rows
        for t, watts in enumerate(row)
        if watts >= NOTHING_W
    )


def _jobs(prepared: Prepared, choice: Choice, found: Worth) -> tuple[JobSchedule, ...]:
    hours = prepared.duration_s / 3600.0
    whole_s = float(prepared.edges_s[-1])
    why = reasons(prepared, choice, found)
    jobs: list[JobSchedule] = []
    for j, job in enumerate(prepared.jobs):
        cost_s = float(found.pause_cost_s[j])
        given_s = float(found.throughput[j] @ prepared.duration_s) - cost_s
        lost = float((prepared.top[j] - found.throughput[j]) @ hours) + cost_s / 3600.0
        jobs.append(
            JobSchedule(
                job_id=job.job_id,
                tier=job.tier,
                throughput=tuple(found.throughput[j].tolist()),
                power_w=tuple(choice.power_w[j].tolist()),
                mean_throughput=given_s / whole_s,
                lost_gpu_hours=max(0.0, job.devices * lost),
                reason=why.get(j, ""),
            )
        )
    return tuple(jobs)


def _pauses(prepared: Prepared, choice: Choice) -> tuple[PlannedPause, ...]:
    planned: list[PlannedPause] = []
    for pause in pauses(prepared, choice.paused):
        job = prepared.jobs[pause.job]
        if job.pause is not None and pause.last > pause.first:
            planned.append(
                PlannedPause(
                    job_id=job.job_id,
                    from_at=prepared.at(pause.first),
                    to_at=prepared.at(pause.last),
                    method=job.pause.method,
                )
            )
    return tuple(planned)
