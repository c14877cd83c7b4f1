from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from protocols.grid_report import IntervalReport, ReportInterval, ReportOffer, ReportOrder
from protocols.openadr2b import model, model_report
from protocols.openadr2b.event_kinds import WATTS
from protocols.openadr2b.neutral_metadata import specifier_id, write_offers
from protocols.openadr2b.neutral_report import (
    read_offers,
    read_order,
    read_report,
    write_report,
    write_request,
)

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
OFFER = ReportOffer(resource_id="site-1", min_sampling_s=1, max_sampling_s=3600)


def request(
    granularity_s: int = 10, report_back_s: int = 60, r_id: str = "site-1", period: model.Period | None = None
) -> model_report.ReportRequest:
    return model_report.ReportRequest(
        report_request_id="order-1",
        specifier=model_report.ReportSpecifier(
            specifier_id=specifier_id("site-1"),
            granularity=timedelta(seconds=granularity_s),
            report_back=timedelta(seconds=report_back_s),
            payloads=(model_report.SpecifierPayload(r_id=r_id, reading_type="Mean"),),
            interval=period,
        ),
    )


def order(asked: model_report.ReportRequest) -> ReportOrder | None:
    return read_order(asked, connection_id="utility", offers=(OFFER,), now=NOON)


def measured(*powers: float | None, coverage: float = 1.0) -> IntervalReport:
    return IntervalReport(
        report_id="report-1",
        order_id="order-1",
        connection_id="utility",
        resource_id="site-1",
        created_at=NOON + timedelta(minutes=1),
        intervals=tuple(
            ReportInterval(
                starts_at=NOON + timedelta(seconds=10 * index),
                duration_s=10.0,
                power_w=power,
                coverage_fraction=coverage if power is not None else 0.0,
            )
            for index, power in enumerate(powers)
        ),
    )


def test_an_offer_is_one_data_point_of_real_power_in_watts() -> None:
    (report,) = write_offers(OFFER, NOON)
    (description,) = report.descriptions
    assert (report.name, report.report_request_id) == ("METADATA_TELEMETRY_USAGE", "0")
    assert description.r_id == "site-1"
    assert description.unit == WATTS
    assert description.sampling is not None
    assert description.sampling.min_period == timedelta(seconds=1)
    assert [offer for offer, _ in read_offers(report)] == [OFFER]


def test_only_real_power_by_telemetry_is_taken_for_an_offer() -> None:
    (report,) = write_offers(OFFER, NOON)
    (description,) = report.descriptions

    def offers(**changes: object) -> list[str]:
        changed = replace(report, descriptions=(replace(description, **changes),))
        return [offer.resource_id for offer, _ in read_offers(changed)]

    custom = model.ItemBase(kind="customUnit", description="powerReal", units="W", scale="k")
    assert offers(unit=custom) == ["site-1"]
    assert offers(unit=None) == []
    assert offers(unit=replace(custom, units="horses")) == []
    assert offers(unit=replace(custom, kind="energyReal", units="Wh")) == []
    assert list(read_offers(replace(report, name="METADATA_HISTORY_USAGE"))) == []


def test_an_order_runs_until_it_is_cancelled() -> None:
    assert order(request()) == ReportOrder(
        order_id="order-1",
        connection_id="utility",
        resource_id="site-1",
        granularity_s=10.0,
        report_back_s=60.0,
        starts_at=NOON,
        ends_at=None,
    )


@pytest.mark.parametrize(("minutes", "ends"), [(30, NOON + timedelta(minutes=90)), (0, None)])
def test_an_order_for_a_time(minutes: int, ends: datetime | None) -> None:
    later = NOON + timedelta(hours=1)
    found = order(request(period=model.Period(starts_at=later, duration=timedelta(minutes=minutes))))
    assert found is not None
    assert (found.starts_at, found.ends_at) == (later, ends)


def test_telemetry_is_not_of_the_past() -> None:
    ago = NOON - timedelta(days=4000)
    found = order(request(period=model.Period(starts_at=ago, duration=timedelta(0))))
    assert found is not None
    assert (found.starts_at, found.ends_at) == (NOON, None)
    over = order(request(period=model.Period(starts_at=ago, duration=timedelta(days=1))))
    assert over is not None
    assert over.ends_at == ago + timedelta(days=1)


@pytest.mark.parametrize("days", [4000, 999_999_999])
def test_an_order_for_an_age_or_past_the_end_of_the_calendar_has_no_end(days: int) -> None:
    found = order(request(period=model.Period(starts_at=NOON, duration=timedelta(days=days))))
    assert found is not None
    assert found.ends_at is None


def test_a_single_report_has_one_interval() -> None:
    found = order(request(granularity_s=0, report_back_s=0))
    assert found is not None
    assert (found.granularity_s, found.report_back_s) == (0.0, 0.0)
    assert found.ends_at == NOON + timedelta(seconds=1)


def test_what_we_do_not_offer_is_no_order() -> None:
    assert order(request(r_id="site-2")) is None
    foreign = request()
    assert order(replace(foreign, specifier=replace(foreign.specifier, specifier_id="else"))) is None


def test_a_request_asks_for_what_can_be_had() -> None:
    offer = replace(OFFER, min_sampling_s=5, max_sampling_s=30)
    for wanted_s, had_s in ((1, 5), (10, 10), (60, 30)):
        asked = write_request("o", write_offers(offer, NOON)[0], offer, granularity_s=wanted_s, report_back_s=60)
        assert asked.specifier.granularity == timedelta(seconds=had_s)
        assert asked.specifier.payloads[0].reading_type == "Mean"


def test_a_report_comes_back_as_it_went() -> None:
    report = measured(1000.5, 0.0, -250.0, coverage=0.75)
    written = write_report(report, order_id="order-1")
    assert written is not None
    assert written.duration == timedelta(seconds=30)
    (again,) = read_report(written, connection_id="utility", granularity_s=99, scale="none")
    assert again == report


def test_what_was_not_measured_is_left_out() -> None:
    written = write_report(measured(None, 5.0, None, 7.0, None), order_id="order-2")
    assert written is not None
    assert [item.starts_at for item in written.intervals] == [NOON + timedelta(seconds=10 * n) for n in (1, 3)]
    assert (written.starts_at, written.duration) == (NOON + timedelta(seconds=10), timedelta(seconds=30))
    assert written.report_request_id == "order-2"
    assert write_report(measured(None, None), order_id="order-1") is None


def test_quality_says_whether_the_interval_is_whole() -> None:
    for coverage, quality, confidence in ((1.0, "Quality Good", 100), (0.5, "Quality Uncertain", 50)):
        written = write_report(measured(5.0, coverage=coverage), order_id="o")
        assert written is not None
        (payload,) = written.intervals[0].payloads
        assert (payload.quality or "").startswith(quality)
        assert payload.confidence == confidence


def test_reports_of_others_are_read_in_watts() -> None:
    def point(r_id: str, value: float, **more: str) -> model_report.ReportPayload:
        return model_report.ReportPayload(r_id=r_id, value=value, **more)

    status = model_report.ReportPayload(r_id="a", value=model_report.ResourceStatus(online=True, manual_override=False))
    report = model_report.Report(
        report_request_id="k-1",
        specifier_id="s",
        created_at=NOON,
        starts_at=NOON,
        intervals=(
            model_report.ReportInterval(payloads=(point("a", 2.5), point("b", 1.0))),
            model_report.ReportInterval(
                payloads=(point("a", float("nan")), point("b", 9.0, quality="No Quality - No Value"), status)
            ),
        ),
    )
    a, b = read_report(report, connection_id="p", granularity_s=60, scale="k")
    assert (a.resource_id, a.report_id) == ("a", f"k-1/{NOON.isoformat()}/a")
    assert [(item.starts_at, item.duration_s, item.power_w, item.coverage_fraction) for item in a.intervals] == [
        (NOON, 60, 2500.0, 1.0),
        (NOON + timedelta(minutes=1), 60, None, 0.0),
    ]
    assert [item.power_w for item in b.intervals] == [1000.0, None]


@pytest.mark.parametrize(
    "asked",
    [
        request(granularity_s=10 * 366 * 86_400 + 1),
        request(report_back_s=10 * 366 * 86_400 + 1),
        request(period=model.Period(starts_at=datetime(9999, 12, 31, tzinfo=UTC), duration=timedelta(0))),
    ],
)
def test_times_of_another_age_are_not_ordered(asked: model_report.ReportRequest) -> None:
    assert order(asked) is None


@pytest.mark.parametrize("year", [1, 1969, 2029])
def test_an_order_that_began_in_any_year_is_served_from_now_on(year: int) -> None:
    begun = model.Period(starts_at=datetime(year, 1, 1, tzinfo=UTC), duration=timedelta(0))
    found = order(request(period=begun))
    assert found is not None
    assert NOON <= found.starts_at < NOON + timedelta(seconds=10)
    assert (found.starts_at - begun.starts_at) % timedelta(seconds=10) == timedelta(0)
