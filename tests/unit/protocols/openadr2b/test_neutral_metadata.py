from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from protocols.grid_report import (
    IntervalReport,
    ReportInterval,
    ReportOffer,
    ReportOrder,
    ReportQuantity,
    ResourceState,
)
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.neutral_metadata import DataPoint, offers_of, read_points, write_offers
from protocols.openadr2b.neutral_report import read_data, read_order, write_order, write_report

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
EVERYTHING = ReportOffer(
    resource_id="site-1",
    min_sampling_s=1.0,
    max_sampling_s=3600.0,
    quantities=tuple(ReportQuantity),
    history_s=7 * 86_400.0,
)
STATE = ResourceState(
    online=True, overridden=True, curtailed=True, power_w=600.0, normal_w=900.0, lowest_w=300.0, highest_w=1000.0
)
POWER, BASELINE, REDUCTION, AVAILABLE, STATUS = ReportQuantity


def points() -> tuple[DataPoint, ...]:
    return tuple(point for report in write_offers(EVERYTHING, NOON) for point in read_points(report))


def ordered(*quantities: ReportQuantity, history: bool = False, starts_at: datetime = NOON) -> ReportOrder:
    return ReportOrder(
        order_id="order-1",
        connection_id="c",
        resource_id="site-1",
        granularity_s=60.0,
        report_back_s=0.0 if history else 300.0,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(hours=1),
        quantities=quantities,
        history=history,
    )


def test_all_that_can_be_had_is_on_offer_power_first_and_alone(valid: Callable[[bytes], None]) -> None:
    reports = write_offers(EVERYTHING, NOON)
    valid(codec.encode(model_report.RegisterReport(request_id="r", reports=reports, ven_id="v")))
    assert [(report.name, [item.report_type for item in report.descriptions]) for report in reports] == [
        ("METADATA_TELEMETRY_USAGE", ["usage"]),
        ("METADATA_TELEMETRY_USAGE", ["baseline", "deltaDemand", "upRegulationCapacityAvailable"]),
        ("METADATA_TELEMETRY_STATUS", ["x-resourceStatus"]),
        ("METADATA_HISTORY_USAGE", ["usage", "baseline", "deltaDemand"]),
    ]
    assert {report.report_request_id for report in reports} == {"0"}
    assert reports[-1].duration == timedelta(days=7)


def test_an_offer_is_the_same_at_the_other_end() -> None:
    assert offers_of(points()) == (EVERYTHING,)
    plain = ReportOffer(resource_id="a", min_sampling_s=10.0, max_sampling_s=60.0)
    assert offers_of(point for report in write_offers(plain, NOON) for point in read_points(report)) == (plain,)


@pytest.mark.parametrize(
    "order",
    [
        ordered(POWER),
        ordered(BASELINE, REDUCTION),
        ordered(AVAILABLE),
        ordered(STATUS),
        ordered(POWER, REDUCTION, history=True, starts_at=NOON - timedelta(days=2)),
    ],
)
def test_an_order_is_the_same_at_the_other_end(order: ReportOrder) -> None:
    request = write_order(order, points())
    assert read_order(request, connection_id="c", offers=(EVERYTHING,), now=NOON) == order


def test_quantities_that_are_in_no_report_together_are_not_ordered() -> None:
    with pytest.raises(ValueError, match="power, state together"):
        write_order(ordered(POWER, STATUS), points())


def test_a_granularity_that_cannot_be_had_is_ordered_as_the_nearest_that_can() -> None:
    fine = replace(ordered(POWER, history=True), granularity_s=5.0)
    assert write_order(fine, points()).specifier.granularity == timedelta(seconds=60)


@pytest.mark.parametrize(
    ("quantities", "history", "interval"),
    [
        ((POWER,), False, {"power_w": 5.0}),
        ((BASELINE, REDUCTION), False, {"baseline_w": 9.0, "reduction_w": 4.0, "preliminary": True}),
        ((BASELINE, REDUCTION), False, {"baseline_w": 9.0, "reduction_w": -4.0}),
        ((AVAILABLE,), False, {"available_w": 2.0}),
        ((STATUS,), False, {"state": STATE}),
        ((STATUS,), False, {"state": ResourceState(online=False)}),
        ((POWER, BASELINE, REDUCTION), True, {"power_w": 5.0, "baseline_w": 9.0, "reduction_w": 4.0}),
    ],
)
def test_data_is_the_same_at_the_other_end(
    quantities: tuple[ReportQuantity, ...],
    history: bool,
    interval: dict[str, float | ResourceState | bool],
    valid: Callable[[bytes], None],
) -> None:
    known = replace(
        ReportInterval(starts_at=NOON, duration_s=60.0, power_w=None, coverage_fraction=1.0),
        **interval,  # type: ignore[arg-type]  # the cases above name what an interval has
    )
    report = IntervalReport(
        report_id="report-1~2",
        order_id="order-1",
        connection_id="c",
        resource_id="site-1",
        created_at=NOON,
        intervals=(known, replace(known, starts_at=NOON + timedelta(minutes=1))),
        corrects="report-1",
    )
    written = write_report(report, order_id="order-1", quantities=quantities, history=history)
    assert written is not None
    body = codec.encode(model_report.UpdateReport(request_id="r", reports=(written,), ven_id="v"))
    valid(body)
    message = codec.decode(body)
    assert isinstance(message, model_report.UpdateReport)
    assert list(read_data(message.reports[0], connection_id="c", granularity_s=1, points=points())) == [report]


def test_less_demand_is_a_negative_change_of_demand() -> None:
    known = ReportInterval(starts_at=NOON, duration_s=60.0, power_w=None, coverage_fraction=1.0, reduction_w=4.0)
    report = IntervalReport(
        report_id="r", order_id="o", connection_id="c", resource_id="s", created_at=NOON, intervals=(known,)
    )
    written = write_report(report, order_id="o")
    assert written is not None
    assert [payload.value for payload in written.intervals[0].payloads] == [-4.0]


def test_a_status_whose_set_point_has_no_unit_says_no_watts() -> None:
    (status,) = (point for point in points() if point.quantity is STATUS)
    known = ReportInterval(starts_at=NOON, duration_s=60.0, power_w=None, coverage_fraction=1.0, state=STATE)
    report = IntervalReport(
        report_id="r", order_id="o", connection_id="c", resource_id="site-1", created_at=NOON, intervals=(known,)
    )
    written = write_report(report, order_id="o", quantities=(STATUS,))
    assert written is not None
    (read,) = read_data(written, connection_id="c", granularity_s=1, points=(replace(status, scale=""),))
    assert read.intervals[0].state == ResourceState(online=True, overridden=True, curtailed=True)


def test_points_that_would_be_the_same_are_called_by_their_own_ids() -> None:
    (report, *_) = write_offers(EVERYTHING, NOON)
    (item,) = report.descriptions
    both = replace(report, descriptions=(replace(item, r_id="a"), replace(item, r_id="b")))
    assert [point.resource_id for point in read_points(both)] == ["a", "b"]


def test_what_is_no_real_power_is_not_usable() -> None:
    (report, *_) = write_offers(EVERYTHING, NOON)
    (item,) = report.descriptions
    volts = model.ItemBase(kind="voltage", description="Voltage", units="V", scale="none")
    for changed in (replace(item, unit=volts), replace(item, unit=None), replace(item, report_type="price")):
        assert read_points(replace(report, descriptions=(changed,))) == ()
    assert read_points(replace(report, name="x-else")) == ()
