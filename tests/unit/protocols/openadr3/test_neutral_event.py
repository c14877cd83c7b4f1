from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from protocols.grid import EventInterval, EventStatus, GridEvent, Refusal, SignalKind, Target
from protocols.openadr3 import model
from protocols.openadr3.names import Version
from protocols.openadr3.neutral_event import read_batch, read_event, unreadable
from protocols.openadr3.timing import Contradiction
from protocols.openadr3.values import FOREVER, NOW
from tests.openadr3_definition import read_yaml
from tests.unit.protocols.openadr3.objects import HELD, HOUR, NOON, event, in_units, values

K = SignalKind


def neutral(said: model.Event, *, program: model.Program | None = None, version: Version = Version.V3_1) -> GridEvent:
    found = read_event(said, connection_id="c", version=version, received_at=NOON, program=program, raw_sha256="ab")
    assert found is not None
    return found


def read(payload: model.ValuesMap, units: str | None = None) -> tuple[SignalKind, list[float]]:
    descriptors = () if units is None else in_units(payload.type, units)
    (signal,) = neutral(event(payload, payload_descriptors=descriptors)).signals
    return signal.kind, [interval.value for interval in signal.intervals]


@pytest.mark.parametrize(
    ("payload", "units", "kind", "value"),
    [
        (values("SIMPLE", 2), None, K.LEVEL, 2.0),
        (values("DISPATCH_SETPOINT", 250), "KW", K.SETPOINT, 250_000.0),
        (values("DISPATCH_SETPOINT", 0.25), "MW", K.SETPOINT, 250_000.0),
        (values("DISPATCH_SETPOINT", 250), "W", K.SETPOINT, 250.0),
        (values("DISPATCH_SETPOINT", 250), "KWH", K.SETPOINT, 250_000.0),
        (values("DISPATCH_SETPOINT", 250), None, K.OTHER, 250.0),
        (values("DISPATCH_SETPOINT", 0.5), "PERCENT", K.OTHER, 0.5),
        (values("DISPATCH_SETPOINT_RELATIVE", -5), "KW", K.ADJUST, -5000.0),
        (values("DISPATCH_SETPOINT_RELATIVE", 5), "KW", K.ADJUST, 5000.0),
        (values("DISPATCH_SETPOINT_RELATIVE", -0.25), "PERCENT", K.FRACTION, 0.25),
        (values("IMPORT_CAPACITY_LIMIT", 10.0), "KW", K.LIMIT, 10_000.0),
        (values("IMPORT_CAPACITY_LIMIT", 10.0), "KVA", K.OTHER, 10.0),
        (values("PRICE", 0.17), "KWH", K.PRICE, 0.17),
        (values("PRICE", 170), "MWH", K.PRICE, 0.17),
        (values("PRICE", 0.17), None, K.PRICE, 0.17),
        (values("PRICE", 1.2), "THERMS", K.OTHER, 1.2),
        (values("EXPORT_PRICE", 0.05), "KWH", K.NOTICE, 0.05),
        (values("PRICE_ALTERNATE", 1.1), "THERMS", K.NOTICE, 1.1),
        (values("GHG", 321), "GHG", K.NOTICE, 321.0),
        (values("CONTROL_SETPOINT", -0.15), "KW", K.OTHER, -0.15),
        (values("CONTROL_LEVEL_OFFSET", -3), None, K.OTHER, -3.0),
        (values("CONTROL_LEVEL_OFFSET_PERCENT", 0.5), "PERCENT", K.OTHER, 0.5),
        (values("CHARGE_STATE_SETPOINT", 0.8), "PERCENT", K.OTHER, 0.8),
        (values("DISPATCH_INSTRUCTION", "load_reduction", "standby"), None, K.OTHER, 1.0),
        (values("CURVE", model.Point(x=0.9, y=0.4), model.Point(x=1.0, y=0.0)), None, K.OTHER, 1.0),
        (values("IMPORT_CAPACITY_SUBSCRIPTION", 240), "KW", K.OTHER, 240.0),
        (values("IMPORT_CAPACITY_RESERVATION", 20), "KW", K.OTHER, 20.0),
        (values("IMPORT_CAPACITY_RESERVATION_FEE", 0.11), "KW", K.NOTICE, 0.11),
        (values("IMPORT_CAPACITY_AVAILABLE", 20), "KW", K.OTHER, 20.0),
        (values("IMPORT_CAPACITY_AVAILABLE_PRICE", 0.11), "KW", K.NOTICE, 0.11),
        (values("EXPORT_CAPACITY_LIMIT", 4), "KW", K.OTHER, 4.0),
        (values("EXPORT_CAPACITY_SUBSCRIPTION", 4), "KW", K.OTHER, 4.0),
        (values("ALERT_GRID_EMERGENCY", "shed now"), None, K.OTHER, 1.0),
        (values("CTA2045_REBOOT", 1), None, K.OTHER, 1.0),
        (values("PRIVATE_ALGORITHM", 0.17), None, K.OTHER, 0.17),
        (values("PRIVATE_FLAG", True), None, K.OTHER, 1.0),
    ],
)
def test_what_a_payload_type_is_to_a_site(
    payload: model.ValuesMap, units: str | None, kind: SignalKind, value: float
) -> None:
    found, numbers = read(payload, units)
    assert (found, numbers) == (kind, [pytest.approx(value)])


def test_every_published_payload_type_has_its_kind(published: Path) -> None:
    types = read_yaml(published / "3.1.1/enumerations/event-interval-payloads.schema.yaml")["definitions"]
    acted_on = {name for name in types if read(values(name, 1), "KW")[0] not in {K.OTHER, K.NOTICE}}
    assert acted_on == {"SIMPLE", "DISPATCH_SETPOINT", "DISPATCH_SETPOINT_RELATIVE", "IMPORT_CAPACITY_LIMIT"}
    without_unit = {name for name in types if read(values(name, 1))[0] not in {K.OTHER, K.NOTICE}}
    assert without_unit == {"SIMPLE", "PRICE"}


@pytest.mark.parametrize(
    ("payload", "units", "why"),
    [
        (values("SIMPLE", 4), None, "SIMPLE is 4, expected 0, 1, 2 or 3"),
        (values("SIMPLE", 0.5), None, "expected 0, 1, 2 or 3"),
        (values("SIMPLE", "high"), None, "expected numbers"),
        (values("SIMPLE", True), None, "expected numbers"),
        (values("SIMPLE"), None, "expected numbers"),
        (values("PRICE", "0.17"), "KWH", "expected numbers"),
        (values("DISPATCH_SETPOINT", 1e308), "KW", "too large"),
        (values("DISPATCH_SETPOINT_RELATIVE", -25), "PERCENT", "expected a fraction from -1 to 1"),
        (values("IMPORT_CAPACITY_LIMIT", -1), "KW", "not negative"),
    ],
)
def test_values_that_a_type_cannot_have_make_an_event_contradict_itself(
    payload: model.ValuesMap, units: str | None, why: str
) -> None:
    with pytest.raises(Contradiction, match=why):
        read(payload, units)


def test_an_event_as_we_take_it() -> None:
    said = event(
        values("SIMPLE", 2),
        values("ALERT_GRID_EMERGENCY", "hot", "evening"),
        name="peak",
        priority=0,
        targets=("group-1",),
        period=model.IntervalPeriod(start=NOON + HOUR, duration=HOUR, randomize_start=timedelta(minutes=-5)),
    )
    found = neutral(said)
    assert (found.event_id, found.connection_id, found.program_id) == ("event-1", "c", "program-1")
    assert found.revision == int(NOON.timestamp() * 1e6)
    assert (found.rank, found.test, found.response_required) == (0, False, False)
    assert (found.starts_at, found.duration_s, found.status) == (NOON + HOUR, 3600.0, EventStatus.FAR)
    assert (found.created_at, found.start_tolerance_s) == (NOON - HOUR, 300.0)
    assert found.targets == (Target(kind="target", value="group-1"),)
    assert found.comment == "peak; ALERT_GRID_EMERGENCY: hot evening"
    assert [signal.name for signal in found.signals] == ["SIMPLE", "ALERT_GRID_EMERGENCY"]
    assert found.signals[0].intervals == (EventInterval(starts_at=NOON + HOUR, duration_s=3600.0, value=2.0),)
    assert (found.ramp_up_s, found.recovery_s, found.notification_s, found.raw_sha256) == (0.0, 0.0, 0.0, "ab")


def test_a_later_change_is_a_higher_revision() -> None:
    later = replace(HELD, modified_at=NOON + timedelta(microseconds=1))
    first, second = (neutral(event(values("SIMPLE", 1), metadata=held)) for held in (HELD, later))
    assert second.revision == first.revision + 1


def test_the_programs_descriptors_and_name_stand_in() -> None:
    program = model.Program(name="peak", payload_descriptors=in_units("DISPATCH_SETPOINT", "KW"))
    said = event(values("DISPATCH_SETPOINT", 5))
    assert neutral(said).signals[0].kind is K.OTHER
    found = neutral(said, program=program)
    assert (found.program_id, found.signals[0].kind) == ("peak", K.SETPOINT)
    own = replace(said, payload_descriptors=in_units("DISPATCH_SETPOINT", "MW"))
    assert neutral(own, program=program).signals[0].intervals[0].value == 5e6, "the event's own word comes first"


def test_several_values_divide_their_interval() -> None:
    said = event(values("PRICE", 0.17, 0.03, 0.11), payload_descriptors=in_units("PRICE", "KWH", "USD"))
    (signal,) = neutral(replace(said, period=model.IntervalPeriod(start=NOON, duration=3 * HOUR))).signals
    assert [(item.starts_at - NOON, item.duration_s, item.value) for item in signal.intervals] == [
        (0 * HOUR, 3600.0, 0.17),
        (1 * HOUR, 3600.0, 0.03),
        (2 * HOUR, 3600.0, 0.11),
    ]
    assert signal.currency == "USD"
    with pytest.raises(Contradiction, match="3 values for an interval without end"):
        neutral(replace(said, period=model.IntervalPeriod(start=NOON, duration=FOREVER)))


def test_values_that_divide_unevenly_do_not_overlap_with_what_follows() -> None:
    seven = model.Interval(id=0, payloads=(values("PRICE", *range(7)),))
    after = model.Interval(id=1, payloads=(values("PRICE", 1),))
    (signal,) = neutral(event(intervals=(seven, after))).signals
    assert signal.intervals[-1].starts_at == NOON + HOUR
    assert sum(item.duration_s or 0.0 for item in signal.intervals) == pytest.approx(7200.0)


def test_energy_over_an_interval_is_its_mean_power() -> None:
    said = event(values("DISPATCH_SETPOINT", 5, 10), payload_descriptors=in_units("DISPATCH_SETPOINT", "KWH"))
    (signal,) = neutral(said).signals
    assert [item.value for item in signal.intervals] == [10_000.0, 20_000.0]
    one = event(values("DISPATCH_SETPOINT", 5), payload_descriptors=said.payload_descriptors)
    with pytest.raises(Contradiction, match="an energy"):
        neutral(replace(one, period=model.IntervalPeriod(start=NOON, duration=FOREVER)))


def test_an_event_without_an_end_is_open_ended() -> None:
    said = event(values("SIMPLE", 1), period=model.IntervalPeriod(start=NOW, duration=FOREVER))
    found = neutral(said)
    assert (found.starts_at, found.duration_s, found.status) == (NOON, None, EventStatus.ACTIVE)
    assert found.signals[0].intervals == (EventInterval(starts_at=NOON, duration_s=None, value=1.0),)


def test_intervals_of_one_type_may_not_overlap_and_of_two_may() -> None:
    twice = tuple(
        model.Interval(id=index, payloads=(values(name, 1),), period=model.IntervalPeriod(start=NOON, duration=HOUR))
        for index, name in enumerate(("SIMPLE", "GHG"))
    )
    assert len(neutral(event(intervals=twice)).signals) == 2
    same = tuple(replace(item, payloads=(values("SIMPLE", 1),)) for item in twice)
    with pytest.raises(Contradiction, match="SIMPLE: intervals overlap"):
        neutral(event(intervals=same))


def test_a_cancelled_event_says_so_at_a_higher_revision() -> None:
    gone = model.IntervalPeriod(start=NOW, duration=timedelta(0))
    found = neutral(event(values("SIMPLE", 1), period=gone))
    assert (found.status, found.signals, found.revision) == (EventStatus.CANCELLED, (), int(NOON.timestamp() * 1e6))


def test_a_window_of_no_duration_elsewhere_is_a_contradiction() -> None:
    with pytest.raises(Contradiction, match="lasts no time"):
        neutral(event(values("SIMPLE", 1), period=model.IntervalPeriod(start=NOON, duration=timedelta(0))))


def test_an_event_that_is_over_is_completed() -> None:
    past = model.IntervalPeriod(start=NOON - 3 * HOUR, duration=HOUR)
    assert neutral(event(values("SIMPLE", 1), period=past)).status is EventStatus.COMPLETED


def test_a_test_event_is_one_by_our_own_words() -> None:
    said = event(values("X_TEST_DISPATCH_SETPOINT", 5), payload_descriptors=in_units("X_TEST_DISPATCH_SETPOINT", "KW"))
    found = neutral(said)
    assert found.test
    assert (found.signals[0].name, found.signals[0].kind) == ("DISPATCH_SETPOINT", K.SETPOINT)
    program = model.Program(name="p", payload_descriptors=in_units("DISPATCH_SETPOINT", "KW"))
    assert neutral(replace(said, payload_descriptors=()), program=program).signals[0].kind is K.SETPOINT


def test_an_event_that_asks_only_for_reports_is_none() -> None:
    asks = event(report_descriptors=(model.ReportDescriptor(payload_type="USAGE"),))
    assert read_event(asks, connection_id="c", version=Version.V3_1, received_at=NOON) is None
    empty = replace(asks, intervals=(model.Interval(id=0, payloads=()),))
    assert read_event(empty, connection_id="c", version=Version.V3_1, received_at=NOON) is None


def test_targets_of_3_0_have_kinds() -> None:
    targets = (values("VEN_NAME", "v"), values("GROUP", "a", "b"), values("RESOURCE_NAME", "r"), values("AREA", 7))
    found = neutral(event(values("SIMPLE", 1), targets=targets), version=Version.V3_0).targets
    assert [(target.kind, target.value) for target in found] == [
        ("ven", "v"),
        ("group", "a"),
        ("group", "b"),
        ("resource", "r"),
        ("AREA", "7"),
    ]


def test_years_beyond_reason_are_a_contradiction() -> None:
    early = model.IntervalPeriod(start=NOON.replace(year=1066), duration=HOUR)
    with pytest.raises(Contradiction, match="the year 1066"):
        neutral(event(values("SIMPLE", 1), period=early))


def test_one_event_that_contradicts_itself_leaves_the_others_of_its_batch_alone() -> None:
    good = event(values("SIMPLE", 1))
    bad = event(values("SIMPLE", 9), metadata=replace(HELD, id="event-2"))
    asks = event(metadata=replace(HELD, id="event-3"))
    lost = unreadable("event-4", "$: lacks programID", connection_id="c", at=NOON)
    batch = read_batch(
        [good, bad, asks],
        connection_id="c",
        version=Version.V3_1,
        received_at=NOON,
        complete=True,
        faults=[lost],
        programs={"program-1": model.Program(name="peak")},
    )
    assert [(item.event_id, item.program_id) for item in batch.events] == [("event-1", "peak")]
    assert [(fault.event_id, fault.refusal) for fault in batch.faults] == [
        ("event-4", Refusal.INVALID),
        ("event-2", Refusal.INVALID),
    ]
    assert batch.faults[1].revision == int(NOON.timestamp() * 1e6)
    assert batch.complete
