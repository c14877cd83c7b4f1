"""From an event and a frozen live baseline to a target for the site over time."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveBaseline:
    """Mean site power over ``[from_at, to_at)``, frozen for one event; drives dispatch and nothing else."""

    connection_id: str
    event_id: str
    power_w: float
    from_at: datetime
    to_at: datetime
    readings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInterval:
    """Target for site power over ``[starts_at, ends_at)``, linear from ``start_w`` to ``end_w``.

    ``ends_at`` is ``None`` where the event is open ended (then both values are equal).
    """

    starts_at: datetime
    ends_at: datetime | None
    start_w: float
    end_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerPlan:
    """What we mean to do about one revision of an event.

    ``expected_w`` is the lowest site power that the plan expects to reach, ``shortfall_w`` what the lowest target asks
    beyond it (0 when all can be delivered). ``paused_job_ids`` are paused while the plan's target binds.
    """

    connection_id: str
    event_id: str
    revision: int
    made_at: datetime
    baseline_w: float
    intervals: tuple[PlanInterval, ...]
    paused_job_ids: tuple[str, ...]
    expected_w: float
    shortfall_w: float
    reason: str
