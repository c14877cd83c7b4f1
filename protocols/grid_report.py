"""The face between the gateway and every demand-response dialect, of what is reported: measured, settled, available."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ReportQuantity(StrEnum):
    """What a report is of."""

    POWER = "power"
    """Mean import over each interval, in watts."""
    BASELINE = "baseline"
    """What it would have been without the event, in watts."""
    REDUCTION = "reduction"
    """Baseline less power, in watts, signed: positive is less consumption."""
    AVAILABLE = "available"
    """By how many watts consumption could go down, held for as long as the interval."""
    STATE = "state"
    """Whether the resource is online, overridden or curtailed: a ``ResourceState``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOffer:
    """What we can measure and report of ``resource_id``, at least every ``min_sampling_s``.

    With ``history_s`` over 0 past data can be had from so long ago.
    """

    resource_id: str
    min_sampling_s: float
    max_sampling_s: float
    quantities: tuple[ReportQuantity, ...] = (ReportQuantity.POWER,)
    history_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOrder:
    """A report that the grid asked for.

    ``granularity_s`` is the length of each reported interval (0: one at a time as measured), ``report_back_s`` how
    often to report (0: once, at the end). ``ends_at`` is ``None`` until cancelled. With ``ahead_s`` over 0 it asks for
    forecasts: each report is of so long from when it is made on, the first at the start.
    """

    order_id: str
    connection_id: str
    resource_id: str
    granularity_s: float
    report_back_s: float
    starts_at: datetime
    ends_at: datetime | None
    quantities: tuple[ReportQuantity, ...] = (ReportQuantity.POWER,)
    history: bool = False
    ahead_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceState:
    """How a resource stands. ``overridden``: its operator has it do otherwise than asked.

    ``normal_w`` is its import when nothing is asked of it, ``lowest_w`` and ``highest_w`` how far it can be moved; each
    ``None`` where that is not known.
    """

    online: bool
    overridden: bool = False
    curtailed: bool = False
    power_w: float | None = None
    normal_w: float | None = None
    lowest_w: float | None = None
    highest_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInterval:
    """Mean power over one interval; ``power_w`` is ``None`` where nothing was measured.

    The other quantities are ``None`` where they were not asked for or are not known. ``preliminary`` says that a
    baseline or reduction may still be corrected, or that a figure is a forecast.
    """

    starts_at: datetime
    duration_s: float
    power_w: float | None
    coverage_fraction: float
    baseline_w: float | None = None
    reduction_w: float | None = None
    available_w: float | None = None
    state: ResourceState | None = None
    preliminary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalReport:
    """Measured intervals for one order. ``report_id`` is unique, so that one delivered again counts once.

    ``corrects`` is the id of the report in whose place it stands, empty where it is the first of its intervals.
    """

    report_id: str
    order_id: str
    connection_id: str
    resource_id: str
    created_at: datetime
    intervals: tuple[ReportInterval, ...]
    corrects: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The grid's answer to a report. ``accepted`` false is final: the same report is not sent again."""

    report_id: str
    accepted: bool
    received_at: datetime
    code: str
    detail: str = ""
