"""Tables of EiRegisterParty and EiOpt."""

from protocols.openadr2b import model
from protocols.openadr2b.codec_parts import (
    boolean,
    date_time,
    duration,
    maybe_ven_id,
    opt_type,
    period,
    qualified_event,
    request_id,
    response,
    targets,
    text,
)
from protocols.openadr2b.names import EI, EMIX, OADR, XCAL
from protocols.openadr2b.schema import Content, Inside, Leaf, ListOf, Sequence, many, maybe, one
from protocols.openadr2b.values import one_of

OPT_REASONS = (
    "economic",
    "emergency",
    "mustRun",
    "notParticipating",
    "outageRunStatus",
    "overrideStatus",
    "participating",
    "x-schedule",
)

_ven_id = one("ven_id", EI + "venID", text)
_opt_id = one("opt_id", EI + "optID", text)
_maybe_registration_id = maybe("registration_id", EI + "registrationID", text)
_profile_name = Leaf(one_of("2.0a", "2.0b"))
_transport_name = Leaf(one_of("simpleHttp", "xmpp"))

_profile = Sequence(
    model.Profile,
    one("name", OADR + "oadrProfileName", _profile_name),
    one(
        "transports",
        OADR + "oadrTransports",
        ListOf(OADR + "oadrTransport", Inside(OADR + "oadrTransportName", _transport_name), at_least=1),
    ),
)
_info = Sequence(model.Info, one("key", OADR + "oadrKey", text), one("value", OADR + "oadrValue", text))
_service = Sequence(
    model.NamedInfo,
    one(
        "name",
        OADR + "oadrServiceName",
        Leaf(one_of("EiEvent", "EiOpt", "EiReport", "EiRegisterParty", "OadrPoll")),
    ),
    many("infos", OADR + "oadrInfo", _info, at_least=1),
)
_extension = Sequence(
    model.NamedInfo, one("name", OADR + "oadrExtensionName", text), many("infos", OADR + "oadrInfo", _info)
)

MESSAGES: dict[str, Content] = {
    OADR + "oadrQueryRegistration": Sequence(model.QueryRegistration, request_id),
    OADR + "oadrCreatePartyRegistration": Sequence(
        model.CreatePartyRegistration,
        request_id,
        _maybe_registration_id,
        maybe_ven_id,
        one("profile", OADR + "oadrProfileName", _profile_name),
        one("transport", OADR + "oadrTransportName", _transport_name),
        maybe("transport_address", OADR + "oadrTransportAddress", text),
        one("report_only", OADR + "oadrReportOnly", boolean),
        one("xml_signature", OADR + "oadrXmlSignature", boolean),
        maybe("ven_name", OADR + "oadrVenName", text),
        maybe("http_pull_model", OADR + "oadrHttpPullModel", boolean),
    ),
    OADR + "oadrCreatedPartyRegistration": Sequence(
        model.CreatedPartyRegistration,
        response,
        _maybe_registration_id,
        maybe_ven_id,
        one("vtn_id", EI + "vtnID", text),
        one("profiles", OADR + "oadrProfiles", ListOf(OADR + "oadrProfile", _profile, at_least=1)),
        maybe("poll_every", OADR + "oadrRequestedOadrPollFreq", duration),
        maybe("services", OADR + "oadrServiceSpecificInfo", ListOf(OADR + "oadrService", _service)),
        maybe("extensions", OADR + "oadrExtensions", ListOf(OADR + "oadrExtension", _extension)),
    ),
    OADR + "oadrCancelPartyRegistration": Sequence(
        model.CancelPartyRegistration, request_id, one("registration_id", EI + "registrationID", text), maybe_ven_id
    ),
    OADR + "oadrCanceledPartyRegistration": Sequence(
        model.CanceledPartyRegistration, response, _maybe_registration_id, maybe_ven_id
    ),
    OADR + "oadrRequestReregistration": Sequence(model.RequestReregistration, _ven_id),
    OADR + "oadrCreateOpt": Sequence(
        model.CreateOpt,
        _opt_id,
        one("opt", EI + "optType", opt_type),
        one("reason", EI + "optReason", Leaf(one_of(*OPT_REASONS, or_extension=True))),
        maybe("market_context", EMIX + "marketContext", text),
        _ven_id,
        maybe(
            "availability",
            XCAL + "vavailability",
            Inside(XCAL + "components", ListOf(XCAL + "available", period)),
        ),
        one("created_at", EI + "createdDateTime", date_time),
        request_id,
        maybe("event", EI + "qualifiedEventID", qualified_event),
        one("targets", EI + "eiTarget", targets),
        maybe("device_class", OADR + "oadrDeviceClass", targets),
    ),
    OADR + "oadrCreatedOpt": Sequence(model.CreatedOpt, response, _opt_id),
    OADR + "oadrCancelOpt": Sequence(model.CancelOpt, request_id, _opt_id, _ven_id),
    OADR + "oadrCanceledOpt": Sequence(model.CanceledOpt, response, maybe("opt_id", EI + "optID", text)),
}
