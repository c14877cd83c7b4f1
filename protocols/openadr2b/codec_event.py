"""Tables of EiEvent: request, distribute, created; and of the general answer and the poll."""

from protocols.openadr2b import model
from protocols.openadr2b.codec_parts import (
    ActivePeriod,
    count,
    date_time,
    duration,
    ei_response,
    maybe_ven_id,
    opt_type,
    payload_float,
    qualified_event,
    request_id,
    response,
    start,
    targets,
    text,
    uid,
    unit,
)
from protocols.openadr2b.names import EI, EMIX, OADR, PYLD, STRM, XCAL
from protocols.openadr2b.schema import Content, Inside, Leaf, ListOf, Sequence, many, maybe, one
from protocols.openadr2b.values import CODE, one_of

STATUSES = ("none", "far", "near", "active", "completed", "cancelled")
SIGNAL_NAMES = (
    "SIMPLE",
    "simple",
    "ELECTRICITY_PRICE",
    "ENERGY_PRICE",
    "DEMAND_CHARGE",
    "BID_PRICE",
    "BID_LOAD",
    "BID_ENERGY",
    "CHARGE_STATE",
    "LOAD_DISPATCH",
    "LOAD_CONTROL",
)
SIGNAL_TYPES = (
    "delta",
    "level",
    "multiplier",
    "price",
    "priceMultiplier",
    "priceRelative",
    "setpoint",
    "x-loadControlCapacity",
    "x-loadControlLevelOffset",
    "x-loadControlPercentOffset",
    "x-loadControlSetpoint",
)

# The schema allows several payloads and statuses here; a signal has one number in each interval.
_interval = Sequence(
    model.SignalInterval,
    maybe("starts_at", XCAL + "dtstart", start),
    maybe("duration", XCAL + "duration", duration),
    maybe("uid", XCAL + "uid", uid),
    one("value", EI + "signalPayload", Inside(EI + "payloadFloat", payload_float)),
)
_intervals = ListOf(EI + "interval", _interval, at_least=1)

event_signal = Sequence(
    model.EventSignal,
    one("intervals", STRM + "intervals", _intervals),
    maybe("targets", EI + "eiTarget", targets),
    one("name", EI + "signalName", Leaf(one_of(*SIGNAL_NAMES, or_extension=True))),
    one("type", EI + "signalType", Leaf(one_of(*SIGNAL_TYPES))),
    one("signal_id", EI + "signalID", text),
    unit,
    maybe("current_value", EI + "currentValue", Inside(EI + "payloadFloat", payload_float)),
)

_baseline = Sequence(
    model.EventBaseline,
    one("starts_at", XCAL + "dtstart", start),
    one("duration", XCAL + "duration", duration),
    one("intervals", STRM + "intervals", _intervals),
    one("baseline_id", EI + "baselineID", text),
    many("resource_ids", EI + "resourceID", text),
    one("name", EI + "baselineName", text),
    unit,
)

_descriptor = Sequence(
    model.EventDescriptor,
    one("event_id", EI + "eventID", text),
    one("modification_number", EI + "modificationNumber", count),
    maybe("modified_at", EI + "modificationDateTime", date_time),
    maybe("modification_reason", EI + "modificationReason", text),
    maybe("priority", EI + "priority", count),
    one("market_context", EI + "eiMarketContext", Inside(EMIX + "marketContext", text)),
    one("created_at", EI + "createdDateTime", date_time),
    one("status", EI + "eventStatus", Leaf(one_of(*STATUSES))),
    maybe("test_event", EI + "testEvent", text),
    maybe("comment", EI + "vtnComment", text),
)

_signal_set = Sequence(
    model.SignalSet,
    many("signals", EI + "eiEventSignal", event_signal, at_least=1),
    maybe("baseline", EI + "eiEventBaseline", _baseline),
)

ei_event = Sequence(
    model.EiEvent,
    one("descriptor", EI + "eventDescriptor", _descriptor),
    one("period", EI + "eiActivePeriod", ActivePeriod()),
    one("signal_set", EI + "eiEventSignals", _signal_set),
    one("targets", EI + "eiTarget", targets),
)

_offered = Sequence(
    model.OfferedEvent,
    one("event", EI + "eiEvent", ei_event),
    one("response_required", OADR + "oadrResponseRequired", Leaf(one_of("always", "never"))),
)

_event_response = Sequence(
    model.EventResponse,
    one("code", EI + "responseCode", Leaf(CODE)),
    maybe("description", EI + "responseDescription", text),
    request_id,
    one("event", EI + "qualifiedEventID", qualified_event),
    one("opt", EI + "optType", opt_type),
)

MESSAGES: dict[str, Content] = {
    OADR + "oadrDistributeEvent": Sequence(
        model.DistributeEvent,
        maybe("response", EI + "eiResponse", ei_response),
        request_id,
        one("vtn_id", EI + "vtnID", text),
        many("events", OADR + "oadrEvent", _offered),
    ),
    OADR + "oadrCreatedEvent": Inside(
        PYLD + "eiCreatedEvent",
        Sequence(
            model.CreatedEvent,
            response,
            maybe("event_responses", EI + "eventResponses", ListOf(EI + "eventResponse", _event_response)),
            one("ven_id", EI + "venID", text),
        ),
    ),
    OADR + "oadrRequestEvent": Inside(
        PYLD + "eiRequestEvent",
        Sequence(
            model.RequestEvent,
            request_id,
            one("ven_id", EI + "venID", text),
            maybe("reply_limit", PYLD + "replyLimit", count),
        ),
    ),
    OADR + "oadrResponse": Sequence(model.Response, response, maybe_ven_id),
    OADR + "oadrPoll": Sequence(model.Poll, one("ven_id", EI + "venID", text)),
}
