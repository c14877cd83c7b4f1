"""decode(encode(x)) == x, and every x that we write is what the schema set allows."""

import contextlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import openleadr
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from protocols.errors import MessageError
from protocols.openadr2b import codec, codec_event, codec_registration, codec_report, model, model_report

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=12)
uris = st.sampled_from(["", "http://utility.example/peak", "oadr://unknown.context", "MarketContext1"])
instants = st.datetimes(timezones=st.just(UTC))
durations = st.timedeltas(timedelta(days=-400), timedelta(days=400)).map(lambda t: timedelta(seconds=t.days))
numbers = st.floats(allow_nan=False)
counts = st.integers(0, (1 << 32) - 1)
maybe = st.none().__or__
words = st.sampled_from


def tuples(item: st.SearchStrategy, least: int = 0, most: int = 2) -> st.SearchStrategy:
    return st.lists(item, min_size=least, max_size=most).map(tuple)


many_texts = tuples(texts)
responses = st.builds(
    model.EiResponse, code=st.from_regex(r"[0-9]{3}", fullmatch=True), request_id=texts, description=maybe(texts)
)
qualified = st.builds(model.QualifiedEvent, event_id=texts, modification_number=counts)
power = st.builds(
    model.PowerAttributes,
    hertz=st.decimals(0, 100, places=2),
    voltage=st.sampled_from([Decimal(480), Decimal("0.5")]),
    ac=st.booleans(),
)
scales = words(["p", "n", "micro", "m", "c", "d", "k", "M", "G", "T", "none"])
units = st.one_of(
    st.builds(
        model.ItemBase,
        kind=st.just("powerReal"),
        description=st.just("RealPower"),
        units=words(["W", "J/s"]),
        scale=scales,
        power=power,
    ),
    st.builds(
        model.ItemBase,
        kind=words(["currency", "currencyPerKWh", "currencyPerKW", "currencyPerThm"]),
        description=words(["currency", "currencyPerKW", "currencyPerKWh"]),
        units=words(["USD", "EUR"]),
        scale=scales,
    ),
    st.builds(model.ItemBase, kind=st.just("customUnit"), description=texts, units=texts, scale=scales),
    st.builds(
        model.ItemBase,
        kind=st.just("pulseCount"),
        description=st.just("pulse count"),
        units=st.just("count"),
        pulse_factor=numbers,
    ),
    st.builds(
        model.ItemBase,
        kind=st.just("energyReal"),
        description=st.just("RealEnergy"),
        units=st.just("Wh"),
        scale=scales,
    ),
)
areas = tuples(tuples(numbers, 2, 4), most=1)
targets = st.builds(
    model.Targets,
    aggregated_pnodes=many_texts,
    end_device_assets=many_texts,
    meter_assets=many_texts,
    pnodes=many_texts,
    service_areas=areas,
    service_delivery_points=many_texts,
    service_locations=areas,
    transport_interfaces=tuples(
        st.builds(model.TransportInterface, point_of_receipt=texts, point_of_delivery=texts), most=1
    ),
    group_ids=many_texts,
    group_names=many_texts,
    resource_ids=many_texts,
    ven_ids=many_texts,
    party_ids=many_texts,
)
periods = st.builds(
    model.Period,
    starts_at=instants,
    duration=durations,
    start_after=maybe(durations),
    notification=maybe(durations),
    ramp_up=maybe(durations),
    recovery=maybe(durations),
)
signal_intervals = tuples(
    st.builds(
        model.SignalInterval,
        value=numbers,
        starts_at=maybe(instants),
        duration=maybe(durations),
        uid=maybe(texts),
    ),
    least=1,
)
signals = st.builds(
    model.EventSignal,
    name=words([*codec_event.SIGNAL_NAMES, "x-own"]),
    type=words(codec_event.SIGNAL_TYPES),
    signal_id=texts,
    intervals=signal_intervals,
    targets=maybe(targets),
    unit=maybe(units),
    current_value=maybe(numbers),
)
baselines = st.builds(
    model.EventBaseline,
    baseline_id=texts,
    name=texts,
    starts_at=instants,
    duration=durations,
    intervals=signal_intervals,
    resource_ids=many_texts,
    unit=maybe(units),
)
descriptors = st.builds(
    model.EventDescriptor,
    event_id=texts,
    modification_number=counts,
    market_context=uris,
    created_at=instants,
    status=words(codec_event.STATUSES),
    modified_at=maybe(instants),
    modification_reason=maybe(texts),
    priority=maybe(counts),
    test_event=maybe(texts),
    comment=maybe(texts),
)
events = st.builds(
    model.OfferedEvent,
    event=st.builds(
        model.EiEvent,
        descriptor=descriptors,
        period=periods,
        signal_set=st.builds(model.SignalSet, signals=tuples(signals, 1), baseline=maybe(baselines)),
        targets=targets,
    ),
    response_required=words(["always", "never"]),
)
event_messages = st.one_of(
    st.builds(model.DistributeEvent, request_id=texts, vtn_id=texts, events=tuples(events), response=maybe(responses)),
    st.builds(
        model.CreatedEvent,
        response=responses,
        ven_id=texts,
        event_responses=tuples(
            st.builds(
                model.EventResponse,
                code=words(["200", "460"]),
                request_id=texts,
                event=qualified,
                opt=words(["optIn", "optOut"]),
                description=maybe(texts),
            )
        ),
    ),
    st.builds(model.RequestEvent, request_id=texts, ven_id=texts, reply_limit=maybe(counts)),
    st.builds(model.Response, response=responses, ven_id=maybe(texts)),
    st.builds(model.Poll, ven_id=texts),
)

profiles = tuples(
    st.builds(model.Profile, name=words(["2.0a", "2.0b"]), transports=tuples(words(["simpleHttp", "xmpp"]), 1)),
    1,
)
infos = st.builds(model.Info, key=texts, value=texts)
services = tuples(
    st.builds(model.NamedInfo, name=words(["EiEvent", "EiOpt", "OadrPoll"]), infos=tuples(infos, 1)), most=1
)
registration_messages = st.one_of(
    st.builds(model.QueryRegistration, request_id=texts),
    st.builds(
        model.CreatePartyRegistration,
        request_id=texts,
        profile=words(["2.0a", "2.0b"]),
        transport=words(["simpleHttp", "xmpp"]),
        report_only=st.booleans(),
        xml_signature=st.booleans(),
        registration_id=maybe(texts),
        ven_id=maybe(texts),
        transport_address=maybe(texts),
        ven_name=maybe(texts),
        http_pull_model=maybe(st.booleans()),
    ),
    st.builds(
        model.CreatedPartyRegistration,
        response=responses,
        vtn_id=texts,
        profiles=profiles,
        registration_id=maybe(texts),
        ven_id=maybe(texts),
        poll_every=maybe(durations),
        services=services,
        extensions=tuples(st.builds(model.NamedInfo, name=texts, infos=tuples(infos)), most=1),
    ),
    st.builds(model.CancelPartyRegistration, request_id=texts, registration_id=texts, ven_id=maybe(texts)),
    st.builds(model.CanceledPartyRegistration, response=responses, registration_id=maybe(texts), ven_id=maybe(texts)),
    st.builds(model.RequestReregistration, ven_id=texts),
    st.builds(
        model.CreateOpt,
        opt_id=texts,
        opt=words(["optIn", "optOut"]),
        reason=words([*codec_registration.OPT_REASONS, "x-own"]),
        ven_id=texts,
        created_at=instants,
        request_id=texts,
        targets=targets,
        market_context=maybe(uris),
        availability=tuples(periods),
        event=maybe(qualified),
        device_class=maybe(targets),
    ),
    st.builds(model.CreatedOpt, response=responses, opt_id=texts),
    st.builds(model.CancelOpt, request_id=texts, opt_id=texts, ven_id=texts),
    st.builds(model.CanceledOpt, response=responses, opt_id=maybe(texts)),
)

load_values = maybe(
    st.builds(
        model_report.LoadControlValue,
        current=numbers,
        minimum=maybe(numbers),
        maximum=maybe(numbers),
        normal=maybe(numbers),
    )
)
statuses = st.builds(
    model_report.ResourceStatus,
    online=st.booleans(),
    manual_override=st.booleans(),
    load_control=maybe(
        st.builds(
            model_report.LoadControlState,
            capacity=load_values,
            level_offset=load_values,
            percent_offset=load_values,
            set_point=load_values,
        )
    ),
)
payloads = st.builds(
    model_report.ReportPayload,
    r_id=texts,
    value=st.one_of(numbers, statuses),
    confidence=maybe(st.integers(0, 100)),
    accuracy=maybe(numbers),
    quality=maybe(words([*codec_report.QUALITIES, "x-own"])),
)
reading_types = words([*codec_report.READING_TYPES, "x-own"])
descriptions = st.builds(
    model_report.ReportDescription,
    r_id=texts,
    report_type=words([*codec_report.REPORT_TYPES, "x-own"]),
    reading_type=reading_types,
    subject=maybe(targets),
    data_source=maybe(targets),
    unit=maybe(units),
    market_context=maybe(uris),
    sampling=maybe(
        st.builds(model_report.SamplingRate, min_period=durations, max_period=durations, on_change=st.booleans())
    ),
)
reports = tuples(
    st.builds(
        model_report.Report,
        report_request_id=texts,
        specifier_id=texts,
        created_at=instants,
        starts_at=maybe(instants),
        duration=maybe(durations),
        intervals=tuples(
            st.builds(
                model_report.ReportInterval,
                payloads=tuples(payloads, 1),
                starts_at=maybe(instants),
                duration=maybe(durations),
                uid=maybe(texts),
            )
        ),
        report_id=maybe(texts),
        descriptions=tuples(descriptions, most=1),
        name=maybe(words([*codec_report.REPORT_NAMES, "x-own"])),
    )
)
requests = st.builds(
    model_report.ReportRequest,
    report_request_id=texts,
    specifier=st.builds(
        model_report.ReportSpecifier,
        specifier_id=texts,
        granularity=durations,
        report_back=durations,
        payloads=tuples(
            st.builds(model_report.SpecifierPayload, r_id=texts, reading_type=reading_types, unit=maybe(units)), 1
        ),
        interval=maybe(periods),
    ),
)
cancels = st.builds(
    model_report.CancelReport,
    request_id=texts,
    report_request_ids=tuples(texts, 1),
    to_follow=st.booleans(),
    ven_id=maybe(texts),
)
report_messages = st.one_of(
    st.builds(
        model_report.RegisterReport,
        request_id=texts,
        reports=reports,
        ven_id=maybe(texts),
        report_request_id=maybe(texts),
    ),
    st.builds(model_report.RegisteredReport, response=responses, requests=tuples(requests), ven_id=maybe(texts)),
    st.builds(model_report.CreateReport, request_id=texts, requests=tuples(requests, 1), ven_id=maybe(texts)),
    st.builds(model_report.CreatedReport, response=responses, pending=many_texts, ven_id=maybe(texts)),
    st.builds(model_report.UpdateReport, request_id=texts, reports=reports, ven_id=maybe(texts)),
    st.builds(model_report.UpdatedReport, response=responses, cancel=maybe(cancels), ven_id=maybe(texts)),
    cancels,
    st.builds(model_report.CanceledReport, response=responses, pending=many_texts, ven_id=maybe(texts)),
)
messages = {"event": event_messages, "registration": registration_messages, "report": report_messages}


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(Path(openleadr.__file__).parent / "schema" / "oadr_20b.xsd"))


@pytest.mark.parametrize("service", messages)
def test_what_is_written_is_read_the_same_and_valid(schema: etree.XMLSchema, service: str) -> None:
    @QUICK
    @given(messages[service])
    def holds(message: codec.Message) -> None:
        body = codec.encode(message)
        schema.assertValid(etree.fromstring(body))
        assert codec.decode(body) == message

    holds()


def test_the_least_message(schema: etree.XMLSchema) -> None:
    body = codec.encode(model.Poll(ven_id=""))
    schema.assertValid(etree.fromstring(body))
    assert codec.decode(body) == model.Poll(ven_id="")


@QUICK
@given(event_messages, st.data())
def test_a_message_with_one_byte_changed_is_read_or_refused(message: codec.Message, data: st.DataObject) -> None:
    body = bytearray(codec.encode(message))
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0, 255))
    # Any other exception fails the test.
    with contextlib.suppress(MessageError):
        codec.decode(bytes(body))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        codec.decode(body)


def test_no_bytes_are_refused() -> None:
    with pytest.raises(MessageError, match="empty"):
        codec.decode(b"")


def test_instants_survive_to_the_microsecond() -> None:
    at = datetime(2030, 1, 31, 12, 0, 0, 1, tzinfo=UTC)
    message = model.DistributeEvent(request_id="", vtn_id="")
    assert codec.decode(codec.encode(message)) == message
    opt = model.CreateOpt(
        opt_id="o",
        opt="optIn",
        reason="economic",
        ven_id="v",
        created_at=at,
        request_id="r",
        targets=model.Targets(),
    )
    again = codec.decode(codec.encode(opt))
    assert isinstance(again, model.CreateOpt)
    assert again.created_at == at
