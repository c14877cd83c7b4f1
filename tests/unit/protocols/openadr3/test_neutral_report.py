import json
from dataclasses import replace
from datetime import timedelta

import pytest

from protocols.grid_report import IntervalReport, ReportInterval, ReportOffer, ReportQuantity, ResourceState
from protocols.openadr3 import codec, model
from protocols.openadr3.names import Version
from protocols.openadr3.neutral_order import Asked, read_orders
from protocols.openadr3.neutral_report import read_report, write_report
from protocols.openadr3.timing import Contradiction
from protocols.openadr3.values import FOREVER
from tests.openadr3_definition import Definition
from tests.unit.protocols.openadr3.objects import HELD, HOUR, NOON, event, values

QUARTER = timedelta(minutes=15)


def asked(payload_type: str = "DEMAND", **fields: object) -> Asked:
    descriptor = model.ReportDescriptor(payload_type=payload_type, **fields)  # type: ignore[arg-type]
    said = event(
        intervals=tuple(model.Interval(id=10 + index, payloads=(values("SIMPLE", 1),)) for index in range(2)),
        report_descriptors=(descriptor,),
    )
    (found,) = read_orders(
        said,
        connection_id="c",
        offer=ReportOffer(
            resource_id="site", min_sampling_s=1.0, max_sampling_s=60.0, quantities=tuple(ReportQuantity)
        ),
        version=Version.V3_1,
        received_at=NOON,
    )
    return found


def measured(*powers_w: float | None, coverage_fraction: float = 1.0) -> IntervalReport:
    return IntervalReport(
        report_id="r-1",
        order_id="event-1.0",
        connection_id="c",
        resource_id="site",
        created_at=NOON + 2 * HOUR,
        intervals=tuple(
            ReportInterval(
                starts_at=NOON + index * QUARTER,
                duration_s=900.0,
                power_w=power_w,
                coverage_fraction=0.0 if power_w is None else coverage_fraction,
            )
            for index, power_w in enumerate(powers_w)
        ),
    )


def written(report: IntervalReport, by: Asked, version: Version = Version.V3_1) -> model.Report:
    return write_report(report, asked=by, client_name="ven", resource_name="site", version=version)


def read(report: model.Report, on: model.Event | None = None, version: Version = Version.V3_1) -> list[IntervalReport]:
    return list(read_report(report, connection_id="c", event=on, version=version, received_at=NOON + 3 * HOUR))


@pytest.mark.parametrize(
    ("by", "type_", "units", "value"),
    [
        (asked(), "DEMAND", "KW", 40.0),
        (asked(units="W"), "DEMAND", "W", 40_000.0),
        (asked("USAGE"), "USAGE", "KWH", 10.0),
        (asked("USAGE", units="KW"), "USAGE", "KW", 40.0),
        (asked("READING", units="MW", reading_type="DIRECT_READ"), "READING", "MW", 0.04),
    ],
)
def test_power_goes_out_as_it_was_asked_for_and_comes_back(by: Asked, type_: str, units: str, value: float) -> None:
    found = written(measured(40_000.0), by)
    assert (found.event_id, found.client_name, found.name) == ("event-1", "ven", "r-1")
    assert found.payload_descriptors[0].units == units
    (interval,) = found.resources[0].intervals
    assert interval.payloads == (values(type_, value), values("DATA_QUALITY", "OK"))
    assert interval.period == model.IntervalPeriod(start=NOON, duration=QUARTER)
    (again,) = read(found)
    assert again.intervals == measured(40_000.0).intervals


def test_an_interval_has_the_id_of_the_events_that_it_is_in() -> None:
    found = written(measured(*[1000.0] * 9), asked())
    assert [interval.id for interval in found.resources[0].intervals] == [10] * 4 + [11] * 4 + [8]


def test_what_was_not_measured_is_missing_and_no_number() -> None:
    found = written(measured(1000.0, None), asked())
    assert found.resources[0].intervals[1].payloads == (values("DATA_QUALITY", "MISSING"),)
    (again,) = read(found)
    assert [interval.power_w for interval in again.intervals] == [1000.0, None]


def test_a_part_that_was_measured_is_an_estimate_with_its_confidence() -> None:
    found = written(measured(1000.0, coverage_fraction=0.8), asked())
    assert found.payload_descriptors[0].confidence == 80
    assert found.resources[0].intervals[0].payloads[1] == values("DATA_QUALITY", "ESTIMATED")
    assert read(found)[0].intervals[0].coverage_fraction == 0.8
    silent = replace(found, payload_descriptors=(model.ReportPayloadDescriptor(payload_type="DEMAND", units="KW"),))
    assert read(silent)[0].intervals[0].coverage_fraction == 0.0, "nobody says how much of it was measured"


def test_a_sum_over_resources_says_so_and_3_0_names_the_program() -> None:
    assert written(measured(1.0), asked(aggregate=True)).resources[0].name == "AGGREGATED_REPORT"
    assert written(measured(1.0), asked()).program_id is None
    assert written(measured(1.0), asked(), Version.V3_0).program_id == "program-1"


def report(*payloads: model.ValuesMap, **fields: object) -> model.Report:
    resource = model.ReportResource(
        name="site",
        period=model.IntervalPeriod(start=NOON, duration=HOUR),
        intervals=(model.Interval(id=0, payloads=payloads),),
    )
    usual: dict[str, object] = {"event_id": "event-1", "client_name": "ven", "resources": (resource,)}
    return model.Report(**{**usual, "metadata": replace(HELD, id="report-1"), **fields})  # type: ignore[arg-type]


def test_a_vtn_reads_what_others_write() -> None:
    (found,) = read(report(values("OPERATING_STATE", "NORMAL"), values("USAGE", 0.5)))
    assert (found.report_id, found.order_id, found.resource_id, found.created_at) == (
        "report-1",
        "event-1",
        "site",
        NOON,
    )
    (interval,) = found.intervals
    assert (interval.starts_at, interval.duration_s, interval.power_w) == (NOON, 3600.0, 500.0)
    assert interval.coverage_fraction == 1.0
    assert interval.state == ResourceState(online=True)


def test_the_event_says_what_a_report_leaves_open() -> None:
    by = asked("DEMAND", units="MW")
    resource = model.ReportResource(
        name="site",
        intervals=tuple(model.Interval(id=index, payloads=(values("DEMAND", 2),)) for index in (10, 11)),
    )
    (found,) = read(report(resources=(resource,)), by.event)
    assert [(item.starts_at, item.power_w) for item in found.intervals] == [(NOON, 2e6), (NOON + HOUR, 2e6)]
    with pytest.raises(Contradiction, match="nothing says when it begins"):
        read(report(resources=(resource,)))


def test_several_resources_are_several_reports() -> None:
    one = report(values("DEMAND", 1)).resources[0]
    found = read(report(resources=(one, replace(one, name="b"), replace(one, name="c", intervals=()))))
    assert [item.report_id for item in found] == ["report-1/site", "report-1/b"]


@pytest.mark.parametrize(
    "payloads",
    [
        (values("STORAGE_CHARGE_LEVEL", 0.3),),
        (values("DEMAND", "much"),),
        (values("DEMAND", 1, 2),),
        (values("READING", 230),),
        (values("BASELINE", 5),),
        (),
    ],
)
def test_what_is_no_power_is_left_out(payloads: tuple[model.ValuesMap, ...]) -> None:
    assert read(report(*payloads)) == []


def test_bad_data_counts_as_not_measured() -> None:
    (found,) = read(report(values("DEMAND", 5), values("DATA_QUALITY", "BAD")))
    assert found.intervals[0].power_w is None


@pytest.mark.parametrize(
    ("period", "why"),
    [
        (model.IntervalPeriod(start=NOON, duration=FOREVER), "has no end"),
        (model.IntervalPeriod(start=NOON.replace(year=9999), duration=timedelta(days=3000)), "leave the calendar"),
    ],
)
def test_times_that_no_report_can_have_are_a_contradiction(period: model.IntervalPeriod, why: str) -> None:
    resource = replace(report(values("DEMAND", 1)).resources[0], period=period)
    with pytest.raises(Contradiction, match=why):
        read(report(resources=(resource,)))


SHED = "LOAD_SHED_DELTA_AVAILABLE"
QUANTITIES = ReportInterval(
    starts_at=NOON,
    duration_s=900.0,
    power_w=None,
    coverage_fraction=0.0,
    baseline_w=50_000.0,
    reduction_w=20_000.0,
    available_w=5_000.0,
    state=ResourceState(online=True, curtailed=True),
)


@pytest.mark.parametrize(
    ("by", "payload", "units", "field"),
    [
        (asked("BASELINE"), values("BASELINE", 50.0), "KW", "baseline_w"),
        (asked("BASELINE", units="KWH"), values("BASELINE", 12.5), "KWH", "baseline_w"),
        (asked("DELTA_USAGE"), values("DELTA_USAGE", -5.0), "KWH", "reduction_w"),
        (
            asked("LOAD_SHED_DELTA_AVAILABLE", units="W"),
            values("LOAD_SHED_DELTA_AVAILABLE", 5000.0),
            "W",
            "available_w",
        ),
        (asked("OPERATING_STATE"), values("OPERATING_STATE", "RUNNING_CURTAILED"), None, "state"),
    ],
)
def test_other_quantities_go_out_in_their_terms_and_come_back(
    by: Asked, payload: model.ValuesMap, units: str | None, field: str
) -> None:
    (quantity,) = by.order.quantities
    assert quantity is not ReportQuantity.POWER
    found = written(replace(measured(), intervals=(QUANTITIES,)), by)
    assert found.resources[0].intervals[0].payloads[0] == payload
    assert found.payload_descriptors[0].units == units
    (again,) = read(found)
    assert getattr(again.intervals[0], field) == getattr(QUANTITIES, field)


def test_a_preliminary_baseline_is_an_estimate_and_an_unknown_one_missing() -> None:
    found = written(replace(measured(), intervals=(replace(QUANTITIES, preliminary=True),)), asked("BASELINE"))
    assert found.resources[0].intervals[0].payloads[1] == values("DATA_QUALITY", "ESTIMATED")
    (again,) = read(found)[0].intervals
    assert (again.preliminary, again.coverage_fraction) == (True, 0.0)
    settled = written(replace(measured(), intervals=(QUANTITIES,)), asked("BASELINE"))
    (again,) = read(settled)[0].intervals
    assert (again.preliminary, again.coverage_fraction) == (False, 1.0)
    found = written(measured(40_000.0), asked("BASELINE"))
    assert found.resources[0].intervals[0].payloads == (values("DATA_QUALITY", "MISSING"),)


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (ResourceState(online=True), "NORMAL"),
        (ResourceState(online=False, curtailed=True), "ERROR"),
        (ResourceState(online=True, overridden=True, curtailed=True), "RUNNING_OPTED_OUT"),
        (ResourceState(online=True, curtailed=True, power_w=0.0), "IDLE_CURTAILED"),
    ],
)
def test_how_a_resource_stands_is_an_operating_state(state: ResourceState, word: str) -> None:
    found = written(replace(measured(), intervals=(replace(QUANTITIES, state=state),)), asked("OPERATING_STATE"))
    assert found.resources[0].intervals[0].payloads == (values("OPERATING_STATE", word),)


@pytest.mark.parametrize("payload_type", ["USAGE", "USAGE_FORECAST", "DEMAND"])
def test_a_forecast_says_that_it_is_one_and_is_never_read_as_measured(
    payload_type: str, definitions: dict[Version, Definition]
) -> None:
    by = asked(payload_type, historical=False, units="KW" if payload_type == "DEMAND" else "KWH")
    expected = measured(80_000.0, None, coverage_fraction=0.0)
    found = written(expected, by)
    (said,) = found.payload_descriptors
    assert (said.reading_type, said.confidence) == ("FORECAST", None)
    first, second = found.resources[0].intervals
    value = 80.0 if payload_type == "DEMAND" else 20.0
    assert first.payloads == (values(payload_type, value), values("DATA_QUALITY", "ESTIMATED"))
    assert second.payloads == (values("DATA_QUALITY", "MISSING"),)
    body = codec.encode(found, Version.V3_1)
    definitions[Version.V3_1].check("reportRequest", json.loads(body))
    assert read(found) == [] or all(part.power_w is None for one in read(found) for part in one.intervals)


def test_what_could_be_shed_in_hours_to_come_is_estimated() -> None:
    by = asked("LOAD_SHED_DELTA_AVAILABLE", historical=False, units="KW")
    (part,) = measured(None).intervals
    expected = replace(measured(None), intervals=(replace(part, available_w=5_000.0, preliminary=True),))
    (interval,) = written(expected, by).resources[0].intervals
    assert interval.payloads == (values("LOAD_SHED_DELTA_AVAILABLE", 5.0), values("DATA_QUALITY", "ESTIMATED"))
