"""The report messages of OpenADR 2.0b as data; see ``model`` for the conventions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from protocols.openadr2b.model import EiResponse, ItemBase, Period, Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadControlValue:
    """One way of controlling a load: its range, its present value and its normal one."""

    current: float
    minimum: float | None = None
    maximum: float | None = None
    normal: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadControlState:
    """How a load is controlled now."""

    capacity: LoadControlValue | None = None
    level_offset: LoadControlValue | None = None
    percent_offset: LoadControlValue | None = None
    set_point: LoadControlValue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceStatus:
    """Whether a resource can be controlled."""

    online: bool
    manual_override: bool
    load_control: LoadControlState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPayload:
    """One data point: a number in the unit that the METADATA report named, or a status."""

    r_id: str
    value: float | ResourceStatus
    confidence: int | None = None
    accuracy: float | None = None
    quality: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInterval:
    """The data points of one interval."""

    payloads: tuple[ReportPayload, ...]
    starts_at: datetime | None = None
    duration: timedelta | None = None
    uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingRate:
    """How often a data point can be had."""

    min_period: timedelta
    max_period: timedelta
    on_change: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDescription:
    """A data point on offer in a METADATA report."""

    r_id: str
    report_type: str
    reading_type: str
    subject: Targets | None = None
    data_source: Targets | None = None
    unit: ItemBase | None = None
    market_context: str | None = None
    sampling: SamplingRate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A METADATA report (``descriptions``, ``report_request_id`` "0") or one with data (``intervals``)."""

    report_request_id: str
    specifier_id: str
    created_at: datetime
    starts_at: datetime | None = None
    duration: timedelta | None = None
    intervals: tuple[ReportInterval, ...] = ()
    report_id: str | None = None
    descriptions: tuple[ReportDescription, ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecifierPayload:
    """A data point that is asked for."""

    r_id: str
    reading_type: str
    unit: ItemBase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSpecifier:
    """Which data points, how fine, how often, over which time."""

    specifier_id: str
    granularity: timedelta
    report_back: timedelta
    payloads: tuple[SpecifierPayload, ...]
    interval: Period | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """One order for a report."""

    report_request_id: str
    specifier: ReportSpecifier


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterReport:
    """Either way: this is what can be reported."""

    request_id: str
    reports: tuple[Report, ...] = ()
    ven_id: str | None = None
    report_request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredReport:
    """The answer to it, with what is wanted of that."""

    response: EiResponse
    requests: tuple[ReportRequest, ...] = ()
    ven_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateReport:
    """Either way: report this."""

    request_id: str
    requests: tuple[ReportRequest, ...]
    ven_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedReport:
    """The answer to it; ``pending`` is every order that now stands."""

    response: EiResponse
    pending: tuple[str, ...] = ()
    ven_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateReport:
    """Either way: the data."""

    request_id: str
    reports: tuple[Report, ...] = ()
    ven_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelReport:
    """Either way: these orders end; ``to_follow`` asks for one last report."""

    request_id: str
    report_request_ids: tuple[str, ...]
    to_follow: bool
    ven_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CanceledReport:
    """The answer to it; ``pending`` is every order that still stands."""

    response: EiResponse
    pending: tuple[str, ...] = ()
    ven_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatedReport:
    """The answer to data, which may end orders in passing."""

    response: EiResponse
    cancel: CancelReport | None = None
    ven_id: str | None = None
