from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.baseline.result import AdjustmentWorking, Baseline, BaselineInterval, CandidateDay, Insufficient
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.evidence import fingerprint
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.verification import VerificationInputs, VerifiedReport, verify, verify_event
from hardware.device import Quality

START = datetime(2025, 5, 3, 16, tzinfo=UTC)
DAY = CandidateDay(date="2025-05-02", selected=True, reason="selected")


def baseline(*powers_w: float) -> Baseline:
    return Baseline(
        rule="some-rule",
        rule_version="7",
        intervals=tuple(
            BaselineInterval(
                starts_at=START + timedelta(seconds=900 * index),
                duration_s=900.0,
                unadjusted_w=power_w / 1.1,
                baseline_w=power_w,
                measured_w=None,
                reduction_w=None,
            )
            for index, power_w in enumerate(powers_w)
        ),
        adjustment=AdjustmentWorking(kind="multiplicative", raw=1.3, applied=1.1),
        days=(DAY,),
    )


def measured(
    offset_s: float, duration_s: float, energy_wh: float, coverage: float = 1.0, quality: Quality = Quality.GOOD
) -> IntervalEnergy:
    return IntervalEnergy(
        starts_at=START + timedelta(seconds=offset_s),
        duration_s=duration_s,
        energy_wh=energy_wh,
        coverage_fraction=coverage,
        quality=quality,
    )


def verified(answer: Baseline | Insufficient, *slices: IntervalEnergy) -> VerifiedReport:
    return verify(answer, slices, connection_id="srp", event_id="e-1", revision=2, verified_at=START)


def test_delivered_is_baseline_less_measured():
    report = verified(baseline(4000.0, 8000.0), measured(0, 900, 600.0), measured(900, 900, 2500.0))
    first, second = report.intervals
    assert (first.baseline_wh, first.measured_wh, first.delivered_wh) == (1000.0, 600.0, 400.0)
    assert (second.baseline_wh, second.measured_wh, second.delivered_wh) == (2000.0, 2500.0, -500.0)
    assert (report.rule, report.rule_version, report.days) == ("some-rule", "7", (DAY,))
    assert (report.adjustment_kind, report.adjustment_raw, report.adjustment_applied) == ("multiplicative", 1.3, 1.1)
    assert (report.connection_id, report.event_id, report.revision) == ("srp", "e-1", 2)
    assert (report.insufficient, report.inputs_sha256) == (None, "")


def test_a_shorter_slice_at_the_edge_has_the_power_of_the_interval_that_contains_it():
    report = verified(baseline(4000.0, 8000.0), measured(600, 300, 300.0), measured(900, 90, 100.0))
    assert [item.baseline_wh for item in report.intervals] == [
        pytest.approx(4000 * 300 / 3600),
        pytest.approx(8000 * 90 / 3600),
    ]


def test_a_slice_over_two_intervals_has_a_share_of_each():
    (item,) = verified(baseline(4000.0, 8000.0), measured(600, 600, 0.0)).intervals
    assert item.baseline_wh == pytest.approx((4000 * 300 + 8000 * 300) / 3600)


def test_time_without_readings_is_neither_credited_nor_charged():
    (item,) = verified(baseline(4000.0), measured(0, 900, 300.0, coverage=0.5)).intervals
    assert (item.baseline_wh, item.measured_wh, item.delivered_wh) == (500.0, 300.0, 200.0)
    assert item.coverage_fraction == 0.5
    (nothing,) = verified(baseline(4000.0), measured(0, 900, 0.0, coverage=0.0)).intervals
    assert nothing.delivered_wh == 0.0


def test_the_meters_quality_is_carried():
    (item,) = verified(baseline(4000.0), measured(0, 900, -10.0, quality=Quality.SUSPECT)).intervals
    assert item.quality is Quality.SUSPECT
    assert item.delivered_wh == 1010.0


def test_intervals_come_in_order_of_time():
    report = verified(baseline(4000.0, 8000.0), measured(900, 900, 0.0), measured(0, 900, 0.0))
    assert [item.starts_at for item in report.intervals] == [START, START + timedelta(seconds=900)]


def test_slices_that_overlap_are_refused():
    with pytest.raises(ValueError, match="overlap at 2025-05-03T16:10"):
        verified(baseline(4000.0), measured(0, 900, 0.0), measured(600, 300, 0.0))


@pytest.mark.parametrize("offset_s", [-900.0, -1.0, 1.0, 900.0])
def test_a_slice_outside_the_baseline_is_refused(offset_s: float):
    with pytest.raises(ValueError, match="outside the baseline"):
        verified(baseline(4000.0), measured(offset_s, 900, 0.0))


def test_without_a_baseline_there_are_no_figures():
    answer = Insufficient(rule="some-rule", rule_version="7", reason="too few days", days=(DAY,))
    report = verified(answer, measured(0, 900, 600.0))
    assert report.insufficient == "too few days"
    assert (report.intervals, report.days) == ((), (DAY,))
    assert (report.adjustment_kind, report.adjustment_raw, report.adjustment_applied) == ("none", None, None)


def minute(offset_min: int, power_w: float) -> IntervalEnergy:
    return measured(60 * offset_min, 60, power_w / 60)


def test_an_event_is_verified_from_its_inputs():
    history = tuple(minute(n, 6000.0) for n in range(-15, 0)) + tuple(minute(n, 4000.0) for n in range(30))
    inputs = VerificationInputs(
        connection_id="srp",
        event_id="e-1",
        revision=2,
        event_start=START,
        event_end=START + timedelta(minutes=30),
        ramp_start=None,
        rule=shipped_rules()["meter-before-after"],
        timezone=UTC,
        history=history,
        measured=history[15:],
    )
    report = verify_event(inputs, verified_at=START)
    assert sum(item.delivered_wh for item in report.intervals) == pytest.approx(1000.0)
    assert report.inputs_sha256 == fingerprint(inputs)
    assert verify_event(replace(inputs, ramp_start=START - timedelta(minutes=5)), verified_at=START) != report


def asked(rule: str, **changed: object) -> VerificationInputs:
    """Two hours of quarters, of which the second is the event."""
    history = tuple(measured(900 * index, 900, 1000.0 if index < 4 else 800.0) for index in range(8))
    plain: dict[str, object] = {
        "connection_id": "u",
        "event_id": "e",
        "revision": 0,
        "event_start": START + timedelta(hours=1),
        "event_end": START + timedelta(hours=2),
        "ramp_start": None,
        "rule": shipped_rules()[rule],
        "timezone": UTC,
        "history": history,
        "measured": history[4:],
    }
    return VerificationInputs(**{**plain, **changed})  # type: ignore[arg-type]


# Spelled by the version that settled before rules could ask for more than the meter.
@pytest.mark.parametrize(
    ("rule", "sha256"),
    [
        ("caiso-10-in-10", "c8b0d829c5187ce478d8b11e9e2b0ea3bd5694d6c7bee4f3bcf587410c6ff21b"),
        ("meter-before-after", "bd5367a6e15dbc677084ba5f3760a7ae23ee28fffc33a6a585e35fa044eca2c2"),
    ],
)
def test_inputs_of_older_statements_keep_their_fingerprint(rule: str, sha256: str):
    at = datetime(2026, 7, 15, 22, tzinfo=UTC)
    one = IntervalEnergy(starts_at=at, duration_s=300.0, energy_wh=12.5, coverage_fraction=1.0)
    older = asked(
        rule,
        event_start=at,
        event_end=at + timedelta(hours=1),
        timezone=ZoneInfo("America/Phoenix"),
        history=(one,),
        measured=(one,),
    )
    assert fingerprint(older) == sha256
    for more in ({"noticed_at": at}, {"declared_w": 0.0}, {"generation": (one,)}, {"temperature_c": ((at, 20.0),)}):
        assert fingerprint(replace(older, **more)) != sha256  # type: ignore[arg-type]


def test_a_declared_level_is_what_the_meter_is_held_against():
    assert verify_event(asked("maximum-base-load"), verified_at=START).insufficient is not None
    found = verify_event(asked("maximum-base-load", declared_w=5_000.0), verified_at=START)
    assert [one.delivered_wh for one in found.intervals] == pytest.approx([450.0] * 4)


def test_a_generator_is_credited_with_what_it_gives_more_than_on_its_days():
    days = [measured(86_400 * -back + 900 * index, 900, 50.0) for back in range(1, 40) for index in range(8)]
    today = [measured(900 * index, 900, 50.0 if index < 4 else 300.0) for index in range(8)]
    found = verify_event(asked("generator-output", generation=(*days, *today)), verified_at=START)
    assert found.insufficient is None
    assert [one.delivered_wh for one in found.intervals] == pytest.approx([250.0] * 4)


def test_a_regression_goes_by_the_temperature_where_there_is_one():
    warm = {index: 10.0 + 5 * index % 13 for index in range(-60, 1)}
    history = tuple(
        measured(86_400 * day + 3_600 * hour, 3_600, 10_000.0 + 500.0 * warm[day])
        for day in range(-60, 1)
        for hour in (-1, 0, 1, 2)
    )
    temperature = tuple((one.starts_at, warm[round((one.starts_at - START) / timedelta(days=1))]) for one in history)
    inputs = asked("time-of-week-regression", history=history, measured=history[-2:-1])
    without = verify_event(inputs, verified_at=START)
    having = verify_event(replace(inputs, temperature_c=temperature), verified_at=START)
    assert (without.insufficient, having.insufficient) == (None, None)
    assert abs(having.intervals[0].delivered_wh) < 1.0 < abs(without.intervals[0].delivered_wh)
