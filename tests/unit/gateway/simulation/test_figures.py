"""Figures of recordings that were made up, where each is known beforehand."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gateway.domain.tree import Node, NodeKind
from gateway.simulation.fault_figures import fault_figures
from gateway.simulation.figures import figures
from gateway.simulation.node_figures import FOUND_S, node_figures
from gateway.simulation.play import Played, PlayedEvent
from gateway.simulation.recorder import Recording
from tests.unit.gateway.simulation.small_scenario import small

SECONDS = 1200
STARTS, ENDS = 300, 900
LOST = {"what": "hosts_lost", "share": 0.5}


def recording(**changes: Any) -> Recording:
    """A site at 1000 W that is asked to be at 800 W for ten minutes, and is so at once."""
    time_s = np.arange(SECONDS, dtype=np.float64)
    held = (time_s >= STARTS) & (time_s < ENDS)
    columns: dict[str, Any] = {
        "time_s": time_s,
        "site_w": np.where(held, 800.0, 1000.0),
        "target_w": np.where(held, 800.0, math.nan),
        "baseline_w": np.where(held, 1000.0, math.nan),
        "counterfactual_w": np.full(SECONDS, 1000.0),
        "true_w": np.where(held, 800.0, 1000.0),
        "twin_true_w": np.full(SECONDS, 1000.0),
        "devices_w": np.where(held, 600.0, 800.0),
        "twin_devices_w": np.full(SECONDS, 800.0),
        "work_s": np.where(held, 0.9, 1.0)[:, np.newaxis] * np.ones(2),
        "twin_work_s": np.ones((SECONDS, 2)),
        "nodes": (),
        "node_w": np.zeros((SECONDS, 0)),
        "node_most_w": np.zeros((SECONDS, 0)),
        "modes": ("follow",) * SECONDS,
        "jobs": (),
        "possible": (),
    }
    return Recording(**{**columns, **changes})


def event(**changes: Any) -> PlayedEvent:
    values: dict[str, Any] = {
        "event_id": "now",
        "received_s": float(STARTS),
        "starts_s": float(STARTS),
        "ends_s": float(ENDS),
        "ramp_from_s": float(STARTS),
        "recovered_s": float(ENDS),
        "hold": (float(STARTS), float(ENDS)),
        "baseline_w": 1000.0,
        "lowest_w": 800.0,
        "shortfall_w": 0.0,
        "reason": "",
        "regulation": None,
        "statement": None,
    }
    return PlayedEvent(**{**values, **changes})


def played(one: Recording, *events: PlayedEvent) -> Played:
    return Played(
        scenario=small(),
        seed=1,
        recording=one,
        events=events or (event(),),
        refused=(),
        unanswered=(),
        told_of_the_meter=(),
        cap_commands=0,
        restores=0,
    )


def test_what_was_asked_is_what_was_delivered() -> None:
    (found,) = figures(played(recording()), with_optimum=False)
    assert (found.live_baseline.asked_fraction, found.live_baseline.delivered_fraction) == pytest.approx((0.2, 0.2))
    assert found.counterfactual.delivered_fraction == pytest.approx(0.2)
    assert (found.tracking.rmse_fraction, found.tracking.minutes_over, found.tracking.minutes) == (0.0, 0, 10)
    assert found.settlement is None


def test_a_counterfactual_that_fell_by_itself_is_not_delivered() -> None:
    (found,) = figures(played(recording(counterfactual_w=np.full(SECONDS, 900.0))), with_optimum=False)
    assert found.live_baseline.delivered_w == pytest.approx(200.0)
    assert found.counterfactual.delivered_w == pytest.approx(100.0)


def test_a_minute_over_target_is_counted_by_its_mean() -> None:
    site_w = recording().site_w.copy()
    site_w[360:420] += np.where(np.arange(60) % 2, 20.0, -15.0)
    site_w[480:540] += np.where(np.arange(60) % 2, 15.0, -20.0)
    (found,) = figures(played(recording(site_w=site_w)), with_optimum=False)
    assert found.tracking.minutes_over == 1
    assert found.tracking.worst_minute_fraction == pytest.approx(2.5 / 800)
    assert found.tracking.energy_above_fraction == pytest.approx((30 * 20 + 30 * 15) / (600 * 800))
    assert found.tracking.worst_second_fraction == pytest.approx(20 / 800)


def test_energy_below_target_counts_only_where_caps_held_it_down() -> None:
    site_w, twin_w = recording().site_w.copy(), recording().counterfactual_w.copy()
    site_w[400:500] = 700.0
    twin_w[400:450] = 700.0
    (found,) = figures(played(recording(site_w=site_w, counterfactual_w=twin_w)), with_optimum=False)
    assert found.tracking.below_bound_fraction == pytest.approx(50 * 100 / (600 * 800))


def test_the_time_to_reach_runs_from_receipt_to_the_end_of_the_second() -> None:
    site_w, devices_w = recording().site_w.copy(), recording().devices_w.copy()
    site_w[STARTS : STARTS + 4] = 900.0
    devices_w[STARTS : STARTS + 2] = 700.0
    (found,) = figures(played(recording(site_w=site_w, devices_w=devices_w)), with_optimum=False)
    assert (found.reached.site_s, found.reached.controllable_s) == (5.0, 3.0)


def test_a_target_never_reached_has_no_time() -> None:
    (found,) = figures(played(recording(site_w=np.full(SECONDS, 1000.0))), with_optimum=False)
    assert found.reached.site_s is None


def test_a_rebound_is_counted_in_minutes_and_told_apart_from_the_loads_own() -> None:
    site_w, twin_w = recording().site_w.copy(), recording().counterfactual_w.copy()
    site_w[900:1020] = 1020.0
    twin_w[960:1020] = 1015.0
    (found,) = figures(played(recording(site_w=site_w, counterfactual_w=twin_w)), with_optimum=False)
    assert (found.rebound.minutes_over, found.rebound.minutes_over_twin, found.rebound.minutes) == (2, 1, 5)
    assert found.rebound.highest_fraction == pytest.approx(0.02)


def test_throughput_is_by_weight_and_devices_and_a_broken_tier_is_named() -> None:
    work_s = recording().work_s.copy()
    # The first job, flex1, is 3 devices of weight 1; the second, flex3, 4 of weight 2.
    work_s[STARTS:ENDS] = (0.8, 0.6)
    (found,) = figures(played(recording(work_s=work_s)), with_optimum=False)
    assert found.throughput.weighted == pytest.approx((3 * 0.8 + 8 * 0.6) / 11)
    assert found.throughput.by_tier == pytest.approx({"flex1": 0.8, "flex3": 0.6})
    assert found.throughput.tier_violations == ("chat",)


def test_a_regulation_signal_is_judged_by_its_amplitude() -> None:
    site_w = recording().site_w + 5.0
    (found,) = figures(played(recording(site_w=site_w), event(regulation=(800.0, 100.0))), with_optimum=False)
    assert found.regulation is not None
    assert found.regulation.rmse_fraction == pytest.approx(0.05)


def test_seconds_over_a_limit_are_counted_once_the_gateway_had_its_time() -> None:
    rack = Node(node_id="rack", kind=NodeKind.RACK, parent_id="site", limit_w=500.0)
    drawn_w = np.full((SECONDS, 1), 400.0)
    drawn_w[: round(FOUND_S) + 3] = 501.0
    drawn_w[700] = 600.0
    (found,) = node_figures(recording(nodes=(rack,), node_w=drawn_w, node_most_w=drawn_w + 10.0))
    assert (found.over_limit_s, found.highest_w, found.most_w) == (4.0, 600.0, 610.0)
    assert (found.node_id, found.kind, found.limit_w) == ("rack", "rack", 500.0)


def test_a_fault_of_the_meter_is_judged_by_what_was_truly_drawn() -> None:
    true_w = recording().true_w.copy()
    true_w[420:480] = 804.0
    true_w[480:510] = 816.0
    modes = ["follow"] * SECONDS
    modes[405:430] = ["coast"] * 25
    modes[430:485] = ["hold"] * 55
    one = replace(
        played(recording(true_w=true_w, modes=tuple(modes))),
        scenario=small(
            duration_s=SECONDS, fault=[{"what": "meter_wrong", "at_s": 400, "lasts_s": 80}, {**LOST, "at_s": 10}]
        ),
        told_of_the_meter=((390.0, "meter", "early"), (404.0, "meter", "low"), (470.0, "meter", None)),
    )
    (found,) = fault_figures(one)
    assert (found.minutes, found.minutes_over) == (1, 1)
    assert found.worst_minute_fraction == pytest.approx(40.0 / 60.0 * 0.005)
    assert found.states == {"coast": 6.0, "hold": 31.0}
    assert found.told == ("after 4 s: meter: low",)
    # Followed again from 485 on, and near its target from 510 on.
    assert found.normal_after_s == 30.0
