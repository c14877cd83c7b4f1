from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from protocols.grid_report import ReportOffer, ReportOrder
from protocols.openadr3 import model
from protocols.openadr3.names import Version
from protocols.openadr3.neutral_order import read_orders
from protocols.openadr3.timing import Contradiction
from protocols.openadr3.values import FOREVER, NOW
from tests.unit.protocols.openadr3.objects import HOUR, NOON, event, values

OFFER = ReportOffer(resource_id="site", min_sampling_s=1.0, max_sampling_s=60.0)


def descriptor(payload_type: str = "USAGE", **fields: object) -> model.ReportDescriptor:
    return model.ReportDescriptor(payload_type=payload_type, **fields)  # type: ignore[arg-type]


def orders(said: model.Event, *asked: model.ReportDescriptor) -> tuple[ReportOrder, ...]:
    found = read_orders(
        replace(said, report_descriptors=asked),
        connection_id="c",
        offer=OFFER,
        version=Version.V3_1,
        received_at=NOON,
    )
    return tuple(item.order for item in found)


def hours(count: int) -> model.Event:
    return event(
        intervals=tuple(model.Interval(id=10 + index, payloads=(values("PRICE", 0.1),)) for index in range(count))
    )


def hour(index: float) -> datetime:
    return NOON + index * HOUR


def test_a_report_of_all_intervals_comes_once_at_the_end() -> None:
    assert orders(hours(4), descriptor()) == (
        ReportOrder(
            order_id="event-1.0",
            connection_id="c",
            resource_id="site",
            granularity_s=3600.0,
            report_back_s=0.0,
            starts_at=hour(0),
            ends_at=hour(4),
        ),
    )


@pytest.mark.parametrize(
    ("fields", "first", "last", "back_h"),
    [
        ({"start_interval": 1, "num_intervals": 3}, 1, 4, 0),
        ({"start_interval": 0, "num_intervals": 2, "frequency": 2, "repeat": 3}, 0, 6, 2),
        ({"start_interval": 1, "num_intervals": 2, "frequency": 2, "repeat": -1}, 1, 8, 2),
        ({"num_intervals": 2, "repeat": 2}, 0, 4, 2),
        ({"num_intervals": 3, "frequency": 1, "repeat": 3}, 0, 5, 1),
        ({"num_intervals": 100}, 0, 8, 0),
        ({"frequency": 0}, 0, 8, 1),
    ],
)
def test_counts_of_intervals_are_times(fields: dict[str, object], first: int, last: int, back_h: int) -> None:
    (order,) = orders(hours(8), descriptor(**fields))
    assert (order.starts_at, order.ends_at, order.report_back_s) == (hour(first), hour(last), back_h * 3600.0)


def test_an_event_without_intervals_implies_them() -> None:
    said = event(period=model.IntervalPeriod(start=NOON, duration=timedelta(minutes=5)))
    (order,) = orders(said, descriptor("DEMAND", start_interval=0, num_intervals=24, frequency=1, repeat=-1))
    assert (order.granularity_s, order.report_back_s) == (300.0, 300.0)
    assert (order.starts_at, order.ends_at) == (NOON, None)
    (order,) = orders(said, descriptor("DEMAND", start_interval=2, num_intervals=3))
    assert (order.starts_at, order.ends_at) == (NOON + timedelta(minutes=10), NOON + timedelta(minutes=25))


def test_an_order_on_an_event_without_an_end_has_none() -> None:
    said = event(values("SIMPLE", 1), period=model.IntervalPeriod(start=NOW, duration=FOREVER))
    (order,) = orders(said, descriptor(frequency=0))
    assert (order.starts_at, order.ends_at) == (NOON, None)
    assert order.granularity_s == order.report_back_s == OFFER.min_sampling_s


@pytest.mark.parametrize(
    "asked",
    [
        descriptor(reading_type="FORECAST"),
        descriptor(historical=False, reading_type="PEAK"),
        descriptor("DEMAND", reading_type="PEAK"),
        descriptor("DEMAND", units="KVAR"),
        descriptor("USAGE", units="THERMS"),
        descriptor("READING"),
        descriptor("READING", units="VOLTS"),
        descriptor("STORAGE_CHARGE_LEVEL"),
        descriptor("BASELINE", units="KW"),
    ],
)
def test_what_we_do_not_measure_is_no_order(asked: model.ReportDescriptor) -> None:
    given = descriptor("READING", units="KW")
    (order,) = orders(hours(1), asked, given)
    assert order.order_id == "event-1.1"


@pytest.mark.parametrize(
    ("fields", "first", "before", "ahead_h", "back_h"),
    [
        ({}, 0, 8, 8, 0),
        ({"start_interval": 2, "num_intervals": 3}, 2, 5, 3, 0),
        ({"num_intervals": 2, "frequency": 1, "repeat": 3}, 0, 3, 2, 1),
        ({"num_intervals": 2, "frequency": 1, "repeat": -1}, 0, 8, 2, 1),
    ],
)
def test_a_forecast_is_of_so_long_from_when_it_is_made(
    fields: dict[str, object], first: int, before: int, ahead_h: int, back_h: int
) -> None:
    (order,) = orders(hours(8), descriptor(historical=False, **fields))
    assert (order.starts_at, order.ends_at) == (hour(first), hour(before))
    assert (order.ahead_s, order.report_back_s, order.granularity_s) == (ahead_h * 3600.0, back_h * 3600.0, 3600.0)


def test_rolling_forecasts_of_the_user_guide() -> None:
    # User Guide 8.8: hourly, of the following 24 hours, without an end.
    said = event(period=model.IntervalPeriod(start=NOON, duration=HOUR))
    asked = descriptor(historical=False, aggregate=True, start_interval=0, num_intervals=24, frequency=1, repeat=-1)
    (order,) = orders(said, asked)
    assert (order.ahead_s, order.report_back_s, order.ends_at) == (24 * 3600.0, 3600.0, None)


def test_a_usage_forecast_is_one_whatever_its_direction() -> None:
    (order,) = orders(hours(4), descriptor("USAGE_FORECAST"))
    assert order.ahead_s == 4 * 3600.0


def test_a_cancelled_event_and_one_of_no_time_ask_for_nothing() -> None:
    gone = model.IntervalPeriod(start=NOW, duration=timedelta(0))
    assert orders(event(values("SIMPLE", 1), period=gone), descriptor()) == ()
    assert orders(event(period=gone), descriptor()) == ()
    assert orders(replace(hours(1), metadata=None), descriptor()) == ()


def test_a_report_from_after_the_last_interval_is_a_contradiction() -> None:
    with pytest.raises(Contradiction, match="from interval 9 on, of 8"):
        orders(hours(8), descriptor(start_interval=9))


def test_a_report_of_other_resources_is_not_ours() -> None:
    def named(*names: str) -> model.ReportDescriptor:
        return descriptor(targets=(model.ValuesMap(type="RESOURCE_NAME", values=names),))

    group = descriptor(targets=(model.ValuesMap(type="GROUP", values=("north",)),))
    found = orders(hours(1), named("elsewhere"), named("elsewhere", "site"), group)
    assert [order.order_id for order in found] == ["event-1.1", "event-1.2"]
