"""The site, what it was told about itself, and its jobs as allocation sees them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from gateway.domain.allocate import Allocation, AllocationJob, guarded_floor
from gateway.domain.tree import ElectricalTree
from hardware.device import CapRange, DeviceView
from hardware.job import CurvePoint, JobState, JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The site behind the meter.

    ``meter_id`` is the meter that settles, ``generator_meter_id`` the one at the output of a generator behind it;
    ``interval_s`` the length of their metered intervals (a divisor of an hour); ``import_limit_w`` the most the feed
    may draw, ``None`` where nobody said; ``tree`` has that limit and those of the feeds, racks and hosts, ``None``
    where there are none.
    """

    site_id: str
    timezone: ZoneInfo
    meter_id: str
    interval_s: int = 300
    import_limit_w: float | None = None
    tree: ElectricalTree | None = None
    generator_meter_id: str | None = None


def allocation_jobs(
    views: Iterable[JobView],
    *,
    ranges: Mapping[str, CapRange] | None = None,
    pausable: Collection[str] | None = None,
    idle_w: float | None = None,
    floors: Mapping[str, float] | None = None,
) -> tuple[AllocationJob, ...]:
    """The jobs whose power can be counted on: those with a curve and devices that have not finished.

    ``ranges`` are the cap ranges of the devices that are there, by device_id: lost devices leave the promise, and no
    cap is planned that a device would not take, or that the electrical tree has no room for. ``pausable`` names the
    jobs that may be paused (``None``: all with a tested ``max_pause_s``). ``idle_w`` is what a device draws while its
    job is paused, where the job's view does not say; unknown, it is taken for the least its curve was measured at, so
    that a pause is never sold for more than is known.

    The floor is set so that the measured curve, not only its envelope, keeps the job's ``min_throughput``; ``floors``
    are higher ones that a plan asks for, by job_id.
    """
    planned = floors or {}
    jobs: list[AllocationJob] = []
    for view in views:
        devices = [device_id for device_id in view.device_ids if ranges is None or device_id in ranges]
        if not devices or not view.curve or view.state is JobState.FINISHED:
            continue
        curve = view.curve if ranges is None else _within(view.curve, [ranges[device_id] for device_id in devices])
        least_w = min(point.power_w for point in curve)
        jobs.append(
            AllocationJob(
                job_id=view.job_id,
                weight=view.weight,
                devices=len(devices),
                min_throughput=guarded_floor(curve, max(view.min_throughput, planned.get(view.job_id, 0.0))),
                can_pause=view.max_pause_s > 0.0 and (pausable is None or view.job_id in pausable),
                curve=curve,
                idle_w=next(known_w for known_w in (view.idle_w, idle_w, least_w) if known_w is not None),
            )
        )
    return tuple(jobs)


def movable_jobs(
    views: Iterable[JobView], *, devices: Mapping[str, DeviceView], not_ours: Collection[str]
) -> tuple[JobView, ...]:
    """Jobs with a curve that run on devices we can cap, with those devices: neither lost nor in ``not_ours``."""
    usable = {device_id for device_id, device in devices.items() if device.present and device_id not in not_ours}
    kept = (
        replace(job, device_ids=tuple(device_id for device_id in job.device_ids if device_id in usable))
        for job in views
        if job.state in {JobState.RUNNING, JobState.PAUSED} and job.curve
    )
    return tuple(job for job in kept if job.device_ids)


def _within(curve: tuple[CurvePoint, ...], ranges: list[CapRange]) -> tuple[CurvePoint, ...]:
    """The part of a curve that every device can be capped at, up to what any of them may have.

    Its own last point stays where no cap is needed.
    """
    lowest_w = max(cap_range.min_w for cap_range in ranges)
    highest_w = max(cap_range.max_w for cap_range in ranges)
    kept = [point for point in curve if point.cap_w > lowest_w]
    if not kept:
        return (curve[-1],)
    first = len(curve) - len(kept)
    if first:
        kept.insert(0, _between(curve[first - 1], curve[first], lowest_w))
    inside = [point for point in kept if point.cap_w <= highest_w]
    if not inside:
        return (kept[0],)
    if len(inside) < len(kept) and inside[-1].cap_w < highest_w:
        inside.append(_between(inside[-1], kept[len(inside)], highest_w))
    return tuple(inside)


def _between(below: CurvePoint, above: CurvePoint, cap_w: float) -> CurvePoint:
    share = (cap_w - below.cap_w) / (above.cap_w - below.cap_w)
    return CurvePoint(
        cap_w=cap_w,
        power_w=below.power_w + share * (above.power_w - below.power_w),
        throughput=below.throughput + share * (above.throughput - below.throughput),
    )


def device_caps(allocation: Allocation, views: Iterable[JobView], ranges: Mapping[str, CapRange]) -> dict[str, float]:
    """The cap of each device in watts, within its range; devices of no job, or not in ``ranges``, are left out.

    The devices of a paused job have the cap of its floor. Where jobs share a device the highest cap holds, so that
    none of them falls under its floor.
    """
    cap_of_job = {share.job_id: share.cap_w for share in allocation.jobs}
    caps: dict[str, float] = {}
    range_of, set_down = ranges.get, caps.setdefault
    for view in views:
        cap_w = cap_of_job.get(view.job_id)
        if cap_w is None:
            continue
        for device_id in view.device_ids:
            cap_range = range_of(device_id)
            if cap_range is None:
                continue
            # Comparisons, not min() and max(): this runs for each device at each control step.
            allowed_w = cap_w
            if cap_w < cap_range.min_w:
                allowed_w = cap_range.min_w
            elif cap_w > cap_range.max_w:
                allowed_w = cap_range.max_w
            if set_down(device_id, allowed_w) < allowed_w:
                caps[device_id] = allowed_w
    return caps
