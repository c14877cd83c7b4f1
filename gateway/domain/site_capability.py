"""The jobs of the site as capability must know them."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from gateway.domain.capability import Capability, CapableJob, capability
from gateway.domain.curve_learning import LearntCurve
from gateway.domain.fleet import allocation_jobs
from gateway.domain.load_kind import DemandHistory
from hardware.device import CapRange
from hardware.job import JobView


def site_capability(
    views: Iterable[JobView],
    *,
    at: datetime,
    ranges: Mapping[str, CapRange],
    demand: DemandHistory,
    learnt: Mapping[str, LearntCurve],
) -> Capability:
    """What these jobs could give from an instant on; ``ranges`` are as ``allocation_jobs`` takes them.

    A job is held no lower than its deadline allows, whatever its tier, and paused for no longer.
    """
    by_id = {view.job_id: view for view in views}
    floors = {job_id: _needed(view, at) for job_id, view in by_id.items()}
    return capability(
        [
            CapableJob(
                job=job,
                learnt=learnt.get(job.job_id),
                demand_w=demand.of([one for one in by_id[job.job_id].device_ids if one in ranges]),
                ends_at=_counted_until(by_id[job.job_id], at),
                max_pause_s=_longest_pause_s(by_id[job.job_id], at),
                pause_share=_pause_share(by_id[job.job_id]),
            )
            for job in allocation_jobs(by_id.values(), ranges=ranges, floors=floors)
        ],
        at=at,
    )


def _time_left_s(view: JobView, at: datetime) -> float | None:
    """How long until the deadline of a job of which it is known what is left to do."""
    if view.deadline_at is None or view.remaining_s is None:
        return None
    return (view.deadline_at - at).total_seconds()


def _needed(view: JobView, at: datetime) -> float:
    """The least throughput with which its work is done by its deadline; 1 where that is late already."""
    left_s, work_s = _time_left_s(view, at), view.remaining_s or 0.0
    if left_s is None or work_s <= 0.0:
        return 0.0
    return work_s / left_s if work_s < left_s else 1.0


def _longest_pause_s(view: JobView, at: datetime) -> float:
    """The tested maximum, up to the slack before its deadline."""
    left_s = _time_left_s(view, at)
    slack_s = view.max_pause_s if left_s is None else left_s - (view.remaining_s or 0.0)
    return min(view.max_pause_s, max(0.0, slack_s))


def _pause_share(view: JobView) -> float:
    """Running at its floor it has something over its mean only where less was promised of that."""
    mean = view.min_throughput if view.mean_throughput is None else view.mean_throughput
    if mean <= 0.0:
        return 1.0
    return max(0.0, 1.0 - mean / view.min_throughput) if view.min_throughput > 0.0 else 0.0


def _counted_until(view: JobView, at: datetime) -> datetime | None:
    """A job that gets all that it can do is done no later; slowed down it stays for longer, which is not counted on."""
    return None if view.remaining_s is None else at + timedelta(seconds=view.remaining_s)
