"""What counts as an observation of a job."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.curve_observation import CapInForce, Observation, observations
from hardware.device import PowerReading, Quality
from hardware.job import JobState, JobView
from hardware.workloads import WORKLOADS

T0 = datetime(2026, 7, 1, 12, tzinfo=UTC)
SEED = WORKLOADS["pretrain-13b"].curve()
VIEW = JobView(
    job_id="a",
    device_ids=("g0", "g1", "g2"),
    tier="flex2",
    weight=1.0,
    min_throughput=0.75,
    curve=SEED,
    throughput=0.8,
)
END = T0 + timedelta(seconds=10)


def told(power_w: dict[str, float]) -> dict[str, list[PowerReading]]:
    return {
        device_id: [
            PowerReading(meter_id=device_id, power_w=one_w + second, measured_at=T0 + timedelta(seconds=second))
            for second in range(11)
        ]
        for device_id, one_w in power_w.items()
    }


def seen_of(
    view: JobView,
    *,
    readings: dict[str, list[PowerReading]] | None = None,
    caps: dict[str, CapInForce] | None = None,
    throughput_seen: Sequence[str] = (),
    running_since: dict[str, datetime] | None = None,
) -> tuple[Observation, ...]:
    return observations(
        [view],
        readings=told({"g0": 190.0, "g1": 192.0, "g2": 194.0}) if readings is None else readings,
        caps=caps or {},
        window_from=T0,
        window_to=END,
        throughput_seen=throughput_seen,
        running_since=running_since,
    )


def all_at(cap_w: float, since: datetime = T0 - timedelta(hours=1)) -> dict[str, CapInForce]:
    return {device_id: CapInForce(cap_w=cap_w, since=since) for device_id in VIEW.device_ids}


def test_the_mean_of_the_devices_over_the_window() -> None:
    (seen,) = seen_of(VIEW, caps=all_at(200.0))
    assert (seen.job_id, seen.at, seen.cap_w, seen.throughput, seen.devices) == ("a", END, 200.0, None, 3)
    assert (seen.power_w, seen.peak_w) == pytest.approx((192.0 + 5.0, 192.0 + 10.0))
    assert seen.duration_s == 10.0


def test_no_cap_counts_as_the_curves_last() -> None:
    assert seen_of(VIEW)[0].cap_w == 400.0
    assert seen_of(VIEW, caps=all_at(700.0))[0].cap_w == 400.0


def test_readings_count_only_once_the_cap_has_settled() -> None:
    (seen,) = seen_of(VIEW, caps=all_at(200.0, since=T0 + timedelta(seconds=3)))
    assert seen.power_w == pytest.approx(192.0 + 9.0)
    assert seen.duration_s == 2.0
    assert seen_of(VIEW, caps=all_at(200.0, since=T0 + timedelta(seconds=6))) == ()
    assert seen_of(VIEW, running_since={"a": T0 + timedelta(seconds=6)}) == ()


def test_devices_under_different_caps_say_nothing_together() -> None:
    caps = all_at(200.0) | {"g2": CapInForce(cap_w=210.0, since=T0 - timedelta(hours=1))}
    assert seen_of(VIEW, caps=caps) == ()


def test_most_devices_must_be_heard_of() -> None:
    assert seen_of(VIEW, readings=told({"g0": 190.0, "g1": 192.0}))[0].devices == 2
    assert seen_of(VIEW, readings=told({"g0": 190.0})) == ()
    doubted = {
        device_id: [replace(one, quality=Quality.SUSPECT) for one in found]
        for device_id, found in told({"g0": 190.0, "g1": 192.0, "g2": 194.0}).items()
    }
    assert seen_of(VIEW, readings=doubted) == ()


def test_jobs_that_do_not_run_or_have_no_curve_are_left_out() -> None:
    assert seen_of(replace(VIEW, state=JobState.PAUSED)) == ()
    assert seen_of(replace(VIEW, curve=())) == ()


def test_throughput_counts_where_it_is_measured() -> None:
    assert seen_of(VIEW, throughput_seen=("a",))[0].throughput == 0.8
    assert seen_of(VIEW, throughput_seen=("b",))[0].throughput is None
