"""What ``gridgate allocate`` reads and shows: a fleet file, taken strictly, and an allocation as a table.

    {"fixed_w": 0, "jobs": [{"job_id", "weight", "devices", "min_throughput", "can_pause",
                             "curve": [[cap_w, power_w, throughput], ...], "idle_w": 0}]}

Watts; ``power_w``, ``throughput`` (0 to 1) and ``idle_w`` are one device's. ``fixed_w`` and ``idle_w`` may be left out.
Keys that are not ours are passed over.
"""

from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, from_json

from gateway.domain.allocate import Allocation, AllocationJob
from hardware.job import CurvePoint

_MOST = 1e12
"""Larger figures are no watts, devices or weights, and their sums would lose the small ones."""

_Amount = Annotated[float, Field(ge=0.0, le=_MOST, allow_inf_nan=False)]
_Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
_Point = tuple[Annotated[float, Field(gt=0.0, le=_MOST, allow_inf_nan=False)], _Amount, _Fraction]


class FleetFileError(Exception):
    """The file cannot be taken as a fleet; the text names the job and the field."""


class _Job(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    job_id: Annotated[str, Field(min_length=1)]
    weight: _Amount
    devices: Annotated[int, Field(ge=1, le=int(_MOST))]
    min_throughput: _Fraction
    can_pause: bool
    curve: Annotated[tuple[_Point, ...], Field(min_length=1)]
    idle_w: _Amount = 0.0


class _Fleet(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    fixed_w: _Amount = 0.0
    jobs: tuple[_Job, ...]


def parse_fleet(text: bytes) -> tuple[float, tuple[AllocationJob, ...]]:
    """The fixed power in watts and the jobs. Raises ``FleetFileError``."""
    try:
        fleet = _Fleet.model_validate_json(text)
    except ValidationError as cause:
        raise FleetFileError(_first_error(cause, text)) from cause
    seen: set[str] = set()
    for job in fleet.jobs:
        if job.job_id in seen:
            raise FleetFileError(f"job {job.job_id!r}: job_id: there are two jobs of this id")
        seen.add(job.job_id)
        for number, (before, after) in enumerate(pairwise(job.curve), start=2):
            if after[0] <= before[0]:
                raise FleetFileError(
                    f"job {job.job_id!r}: curve: point {number} has a cap of {after[0]:g} W, not over the"
                    f" {before[0]:g} W before it; caps must rise"
                )
    return fleet.fixed_w, tuple(_allocation_job(job) for job in fleet.jobs)


def _allocation_job(job: _Job) -> AllocationJob:
    return AllocationJob(
        job_id=job.job_id,
        weight=job.weight,
        devices=job.devices,
        min_throughput=job.min_throughput,
        can_pause=job.can_pause,
        curve=tuple(CurvePoint(cap_w=cap, power_w=power, throughput=given) for cap, power, given in job.curve),
        idle_w=job.idle_w,
    )


_PLAINLY = {
    "missing": "is missing",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
    "model_type": "must be an object",
}
_POINT = ("cap_w", "power_w", "throughput")


def _first_error(error: ValidationError, text: bytes) -> str:
    """The first thing that is wrong, in one line."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"not JSON: {first['ctx']['error']}"
    where, fault = _place(first["loc"], _raw_jobs(text)), _fault(first)
    return f"{where}: {fault}" if where else f"the file {fault}"


def _raw_jobs(text: bytes) -> list[object]:
    """The jobs as they stand in the file, for their names."""
    whole = from_json(text)
    jobs = whole.get("jobs") if isinstance(whole, dict) else None
    return jobs if isinstance(jobs, list) else []


def _fault(error: ErrorDetails) -> str:
    kind, limits = error["type"], error.get("ctx", {})
    for name, words in (
        ("ge", "must be {} or more"),
        ("gt", "must be over {}"),
        ("le", "must be {} or less"),
    ):
        if name in limits:
            return f"{words.format(f'{limits[name]:g}')}, not {error['input']!r}"
    return _PLAINLY.get(kind, error["msg"].lower())


def _place(location: tuple[int | str, ...], jobs: list[object]) -> str:
    """``job 'train-7': curve: point 2: power_w`` for a location in the file."""
    if len(location) < 2 or location[0] != "jobs" or not isinstance(location[1], int):
        return ": ".join(str(part) for part in location)
    job = jobs[location[1]] if location[1] < len(jobs) else None
    name = job.get("job_id") if isinstance(job, dict) else None
    words = [f"job {name!r}" if isinstance(name, str) and name else f"job {location[1] + 1} in the list"]
    rest = location[2:]
    words += [str(part) for part in rest[:1]]
    words += [f"point {part + 1}" for part in rest[1:2] if isinstance(part, int)]
    words += [_POINT[part] for part in rest[2:3] if isinstance(part, int) and part < len(_POINT)]
    return ": ".join(words)


def allocation_table(found: Allocation) -> str:
    """An allocation for people, in kilowatts, job by job."""
    width = max([len("job"), *(len(share.job_id) for share in found.jobs)])
    lines = [f"{'job':<{width}}  {'cap':>9}  {'power':>11}  throughput"]
    for share in found.jobs:
        cap = "paused" if share.paused else f"{share.cap_w:.1f} W"
        error = f"  (at most {share.envelope_error:.3f} less)" if share.envelope_error >= 0.0005 else ""
        lines.append(
            f"{share.job_id:<{width}}  {cap:>9}  {share.power_w / 1000.0:>8.2f} kW  {share.throughput:>10.3f}{error}"
        )
    lines.append("")
    lines.append(
        f"target {found.target_w / 1000.0:.2f} kW, expected {found.expected_w / 1000.0:.2f} kW,"
        f" weighted throughput {found.weighted_throughput:.1%}"
    )
    if found.shortfall_w > 0.0:
        lines.append(f"{found.shortfall_w / 1000.0:.2f} kW short of the target: no job goes under its floor")
    return "\n".join(lines)
