"""Tables of EiReport."""

from protocols.openadr2b import model_report as model
from protocols.openadr2b.codec_parts import (
    boolean,
    date_time,
    duration,
    maybe_ven_id,
    number,
    payload_float,
    period,
    plain_duration,
    request_id,
    response,
    start,
    targets,
    text,
    uid,
    unit,
)
from protocols.openadr2b.names import EI, EMIX, OADR, PYLD, STRM, XCAL
from protocols.openadr2b.schema import Content, Field, Leaf, ListOf, Sequence, many, maybe, one
from protocols.openadr2b.values import PERCENT, one_of

REPORT_NAMES = tuple(
    prefix + name
    for name in ("HISTORY_USAGE", "HISTORY_GREENBUTTON", "TELEMETRY_USAGE", "TELEMETRY_STATUS")
    for prefix in ("METADATA_", "")
)
REPORT_TYPES = (
    "reading",
    "usage",
    "demand",
    "setPoint",
    "deltaUsage",
    "deltaSetPoint",
    "deltaDemand",
    "baseline",
    "deviation",
    "avgUsage",
    "avgDemand",
    "operatingState",
    "upRegulationCapacityAvailable",
    "downRegulationCapacityAvailable",
    "regulationSetpoint",
    "storedEnergy",
    "targetEnergyStorage",
    "availableEnergyStorage",
    "price",
    "level",
    "powerFactor",
    "percentUsage",
    "percentDemand",
    "x-resourceStatus",
)
READING_TYPES = (
    "Direct Read",
    "Net",
    "Allocated",
    "Estimated",
    "Summed",
    "Derived",
    "Mean",
    "Peak",
    "Hybrid",
    "Contract",
    "Projected",
    "x-RMS",
    "x-notApplicable",
)
QUALITIES = (
    "No Quality - No Value",
    "No New Value - Previous Value Used",
    "Quality Bad - Non Specific",
    "Quality Bad - Configuration Error",
    "Quality Bad - Not Connected",
    "Quality Bad - Device Failure",
    "Quality Bad - Sensor Failure",
    "Quality Bad - Last Known Value",
    "Quality Bad - Comm Failure",
    "Quality Bad - Out of Service",
    "Quality Uncertain - Non Specific",
    "Quality Uncertain - Last Usable Value",
    "Quality Uncertain - Sensor Not Accurate",
    "Quality Uncertain - EU Units Exceeded",
    "Quality Uncertain - Sub Normal",
    "Quality Good - Non Specific",
    "Quality Good - Local Override",
    "Quality Limit - Field/Not",
    "Quality Limit - Field/Low",
    "Quality Limit - Field/High",
    "Quality Limit - Field/Constant",
)

_r_id = one("r_id", EI + "rID", text)
_report_request_id = one("report_request_id", EI + "reportRequestID", text)
_specifier_id = one("specifier_id", EI + "reportSpecifierID", text)
_reading_type = one("reading_type", EI + "readingType", Leaf(one_of(*READING_TYPES, or_extension=True)))

_load_control_value = Sequence(
    model.LoadControlValue,
    maybe("minimum", OADR + "oadrMin", number),
    maybe("maximum", OADR + "oadrMax", number),
    one("current", OADR + "oadrCurrent", number),
    maybe("normal", OADR + "oadrNormal", number),
)
_resource_status = Sequence(
    model.ResourceStatus,
    one("online", OADR + "oadrOnline", boolean),
    one("manual_override", OADR + "oadrManualOverride", boolean),
    maybe(
        "load_control",
        OADR + "oadrLoadControlState",
        Sequence(
            model.LoadControlState,
            maybe("capacity", OADR + "oadrCapacity", _load_control_value),
            maybe("level_offset", OADR + "oadrLevelOffset", _load_control_value),
            maybe("percent_offset", OADR + "oadrPercentOffset", _load_control_value),
            maybe("set_point", OADR + "oadrSetPoint", _load_control_value),
        ),
    ),
)


def _value_tag(value: float | model.ResourceStatus) -> str:
    return OADR + "oadrPayloadResourceStatus" if isinstance(value, model.ResourceStatus) else EI + "payloadFloat"


# Green Button's oadrGBPayload is left out, as its unit is.
_interval = Sequence(
    model.ReportInterval,
    maybe("starts_at", XCAL + "dtstart", start),
    maybe("duration", XCAL + "duration", duration),
    maybe("uid", XCAL + "uid", uid),
    many(
        "payloads",
        OADR + "oadrReportPayload",
        Sequence(
            model.ReportPayload,
            _r_id,
            maybe("confidence", EI + "confidence", Leaf(PERCENT)),
            maybe("accuracy", EI + "accuracy", number),
            Field(
                "value",
                {EI + "payloadFloat": payload_float, OADR + "oadrPayloadResourceStatus": _resource_status},
                tag_of=_value_tag,
            ),
            maybe("quality", OADR + "oadrDataQuality", Leaf(one_of(*QUALITIES, or_extension=True))),
        ),
        at_least=1,
    ),
)

_description = Sequence(
    model.ReportDescription,
    _r_id,
    maybe("subject", EI + "reportSubject", targets),
    maybe("data_source", EI + "reportDataSource", targets),
    one("report_type", EI + "reportType", Leaf(one_of(*REPORT_TYPES, or_extension=True))),
    unit,
    _reading_type,
    maybe("market_context", EMIX + "marketContext", text),
    maybe(
        "sampling",
        OADR + "oadrSamplingRate",
        Sequence(
            model.SamplingRate,
            one("min_period", OADR + "oadrMinPeriod", plain_duration),
            one("max_period", OADR + "oadrMaxPeriod", plain_duration),
            one("on_change", OADR + "oadrOnChange", boolean),
        ),
    ),
)

report = Sequence(
    model.Report,
    maybe("starts_at", XCAL + "dtstart", start),
    maybe("duration", XCAL + "duration", duration),
    maybe("intervals", STRM + "intervals", ListOf(EI + "interval", _interval, at_least=1)),
    maybe("report_id", EI + "eiReportID", text),
    many("descriptions", OADR + "oadrReportDescription", _description),
    _report_request_id,
    _specifier_id,
    maybe("name", EI + "reportName", Leaf(one_of(*REPORT_NAMES, or_extension=True))),
    one("created_at", EI + "createdDateTime", date_time),
)

report_request = Sequence(
    model.ReportRequest,
    _report_request_id,
    one(
        "specifier",
        EI + "reportSpecifier",
        Sequence(
            model.ReportSpecifier,
            _specifier_id,
            one("granularity", XCAL + "granularity", duration),
            one("report_back", EI + "reportBackDuration", duration),
            maybe("interval", EI + "reportInterval", period),
            many(
                "payloads",
                EI + "specifierPayload",
                Sequence(model.SpecifierPayload, _r_id, unit, _reading_type),
                at_least=1,
            ),
        ),
    ),
)

_reports = many("reports", OADR + "oadrReport", report)
_pending = one("pending", OADR + "oadrPendingReports", ListOf(EI + "reportRequestID", text))
_cancel = Sequence(
    model.CancelReport,
    request_id,
    many("report_request_ids", EI + "reportRequestID", text, at_least=1),
    one("to_follow", PYLD + "reportToFollow", boolean),
    maybe_ven_id,
)

MESSAGES: dict[str, Content] = {
    OADR + "oadrRegisterReport": Sequence(
        model.RegisterReport,
        request_id,
        _reports,
        maybe_ven_id,
        maybe("report_request_id", EI + "reportRequestID", text),
    ),
    OADR + "oadrRegisteredReport": Sequence(
        model.RegisteredReport, response, many("requests", OADR + "oadrReportRequest", report_request), maybe_ven_id
    ),
    OADR + "oadrCreateReport": Sequence(
        model.CreateReport,
        request_id,
        many("requests", OADR + "oadrReportRequest", report_request, at_least=1),
        maybe_ven_id,
    ),
    OADR + "oadrCreatedReport": Sequence(model.CreatedReport, response, _pending, maybe_ven_id),
    OADR + "oadrUpdateReport": Sequence(model.UpdateReport, request_id, _reports, maybe_ven_id),
    OADR + "oadrUpdatedReport": Sequence(
        model.UpdatedReport, response, maybe("cancel", OADR + "oadrCancelReport", _cancel), maybe_ven_id
    ),
    OADR + "oadrCancelReport": _cancel,
    OADR + "oadrCanceledReport": Sequence(model.CanceledReport, response, _pending, maybe_ven_id),
}
