"""Steady, bursty and idle devices, and what capping them would have saved."""

import csv
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from gateway.domain.load_kind import DemandHistory, LoadKind, demanded_w, job_loads, load_kinds, savings_w

WINDOWS = 90


def row(*power_w: float) -> list[float]:
    """Windows that repeat these powers."""
    return [power_w[i % len(power_w)] for i in range(WINDOWS)]


def kind(windows: list[float]) -> LoadKind:
    return load_kinds(np.array([windows]), lowest_cap_w=100.0, free_w=380.0)[0]


def test_kinds_by_hand() -> None:
    assert kind(row(380.0, 375.0, 385.0)) is LoadKind.STEADY
    assert kind(row(60.0)) is LoadKind.IDLE
    assert kind(row(380.0, 380.0, 60.0)) is LoadKind.BURSTY
    # Never under half of it, and yet it swings.
    assert kind(row(380.0, 250.0)) is LoadKind.BURSTY
    # Light and even: a cap just over it saves nothing, one under it does.
    assert kind(row(150.0, 152.0)) is LoadKind.STEADY
    # One checkpoint in a quarter of an hour is no burst.
    assert kind([*row(380.0)[:-4], 90.0, 90.0, 90.0, 90.0]) is LoadKind.STEADY
    assert kind([*[float("nan")] * (WINDOWS - 29), *[380.0] * 29]) is LoadKind.UNKNOWN
    assert kind([*[float("nan")] * (WINDOWS - 30), *[380.0] * 30]) is LoadKind.STEADY
    assert kind([float("nan")] * WINDOWS) is LoadKind.UNKNOWN


def test_a_device_that_fills_its_cap_wants_what_its_work_draws_uncapped() -> None:
    power_w = np.array([[195.0, 60.0, 380.0, 210.0]])
    cap_w = np.array([[200.0, 200.0, 400.0, 400.0]])
    assert demanded_w(power_w, cap_w, 370.0).tolist() == [[370.0, 60.0, 380.0, 210.0]]


def test_what_is_not_heard_of_saves_nothing() -> None:
    assert savings_w(np.array([[300.0, np.nan, 150.0]]), 200.0).tolist() == [[100.0, 0.0, 0.0]]


def load_of(*rows: list[float], capped_w: float = 200.0) -> tuple[float, float]:
    (found,) = job_loads(np.array(rows), [capped_w], lowest_cap_w=100.0, free_w=380.0)
    return found.expected_w, found.countable_w


def test_idle_devices_are_not_sold() -> None:
    assert load_of(row(60.0), row(60.0)) == (0.0, 0.0)
    assert load_of(row(380.0), row(60.0)) == pytest.approx((180.0, 180.0))


def test_a_burst_counts_only_as_far_as_it_is_always_there() -> None:
    expected_w, countable_w = load_of(row(380.0, 380.0, 60.0))
    assert expected_w == pytest.approx(120.0)
    assert countable_w == 0.0
    # Two that take turns are there all the time together.
    assert load_of(row(380.0, 60.0), row(60.0, 380.0)) == pytest.approx((180.0, 180.0))


def test_devices_that_are_not_known_yet_are_not_counted_on() -> None:
    unknown = [*[float("nan")] * 80, *[380.0] * 10]
    assert load_of(unknown) == (0.0, 0.0)
    assert load_of(unknown, row(380.0)) == pytest.approx((180.0, 180.0))
    (found,) = job_loads(np.array([row(380.0), row(60.0)]), [200.0], lowest_cap_w=100.0, free_w=380.0)
    assert (found.devices_over, found.scatter_w) == (1.0, 0.0)


def test_history_goes_round_and_forgets_who_left() -> None:
    history = DemandHistory(windows=3)
    assert np.isnan(history.of(["g0"])).all()
    for power_w in (1.0, 2.0, 3.0, 4.0):
        history.add({"g0": power_w, "g1": 10.0 * power_w})
    assert sorted(history.of(["g0"])[0].tolist()) == [2.0, 3.0, 4.0]
    assert sorted(history.of(["g1", "g0"])[0].tolist()) == [20.0, 30.0, 40.0]
    for _ in range(3):
        history.add({"g0": 5.0})
    assert np.isnan(history.of(["g1"])).all()
    assert history.of(["g0"]).tolist() == [[5.0, 5.0, 5.0]]
    assert history.of([]).shape == (0, 3)


def seconds(path: Path, *, loaded: bool) -> list[float]:
    """Means of a second from telemetry at 100 or 200 Hz."""
    found: dict[int, list[float]] = defaultdict(list)
    with path.open() as file:
        for sample in csv.DictReader(file):
            if not loaded or float(sample["util_gpu"]) > 0.5:
                found[int(float(sample["t_s"]))].append(float(sample["power_w"]))
    return [fmean(power_w) for _, power_w in sorted(found.items()) if len(power_w) > 50]


def test_kinds_of_real_loads(shared: Path) -> None:
    folder = shared / "data/gpu/gridpilot_v100"
    matrix_product = seconds(folder / "matmul_compute_bound_pcap300_sm1380.csv", loaded=True)
    alternating = seconds(folder / "E2_step_telemetry.csv", loaded=False)
    assert min(len(matrix_product), len(alternating)) >= 30
    assert load_kinds(np.array([matrix_product]), lowest_cap_w=100.0, free_w=207.0) == (LoadKind.STEADY,)
    assert load_kinds(np.array([alternating]), lowest_cap_w=100.0, free_w=277.0) == (LoadKind.BURSTY,)
    # Capping at 150 W: what the alternating load draws over that is there on average, and hardly all the time.
    (found,) = job_loads(np.array([alternating]), [150.0], lowest_cap_w=100.0, free_w=277.0)
    assert 0.0 < found.countable_w < 0.5 * found.expected_w
