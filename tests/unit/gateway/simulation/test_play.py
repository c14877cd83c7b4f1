"""Shortened scenarios on the whole gateway: which way things go, not how long they take."""

from pathlib import Path

import numpy as np
import pytest

from gateway.simulation.fault_figures import fault_figures
from gateway.simulation.node_figures import FOUND_S
from gateway.simulation.play import Played
from tests.unit.gateway.simulation.small_scenario import SMALL, played_with


def test_there_is_one_row_a_second(small_played: Played) -> None:
    assert small_played.recording.time_s.tolist() == list(range(240))


def test_the_site_goes_to_its_target_and_comes_back(small_played: Played) -> None:
    recording, (event,) = small_played.recording, small_played.events
    held = recording.during(event.starts_s + 5, event.ends_s)
    before, after = recording.during(0, event.starts_s), recording.during(event.ends_s + 5, 240)
    assert np.all(np.isfinite(recording.target_w[held]))
    assert recording.site_w[held].mean() <= recording.target_w[held].mean()
    assert recording.site_w[held].mean() >= 0.99 * recording.target_w[held].mean()
    assert recording.site_w[after].mean() >= 0.97 * recording.site_w[before].mean()
    assert np.all(np.isnan(recording.target_w[before]))
    assert np.all(np.isnan(recording.baseline_w[after]))


def test_the_twin_is_the_same_site_without_the_event(small_played: Played) -> None:
    recording, (event,) = small_played.recording, small_played.events
    before, held = recording.during(0, event.starts_s), recording.during(event.starts_s, event.ends_s)
    assert recording.counterfactual_w[before].tolist() == recording.site_w[before].tolist()
    assert recording.counterfactual_w[held].min() > recording.site_w[held].max() * 0.99
    assert np.all(recording.twin_work_s >= recording.work_s - 1e-9)


def test_commands_are_counted_at_the_agent(small_played: Played) -> None:
    # All seven devices that work are capped, and their leases are renewed all through the event.
    assert small_played.cap_commands > 7 * 90 / 5
    assert small_played.restores >= 7


def test_the_same_seed_gives_the_same_figures(small_played: Played, tmp_path: Path) -> None:
    again = played_with(tmp_path)
    assert again.recording.site_w.tolist() == small_played.recording.site_w.tolist()
    assert again.recording.work_s.tolist() == small_played.recording.work_s.tolist()
    assert again.cap_commands == small_played.cap_commands


def test_a_gateway_that_was_killed_goes_on_with_the_event(tmp_path: Path) -> None:
    played = played_with(tmp_path, fault=[{"what": "gateway_killed", "at_s": 90, "lasts_s": 8}])
    recording, (event,) = played.recording, played.events
    # Nobody puts the caps back, and their leases outlast the gap.
    held = recording.during(event.starts_s + 5, event.ends_s)
    assert (recording.site_w / recording.target_w)[held].max() <= 1.02
    # The baseline is still the one from before the event.
    assert np.unique(recording.baseline_w[held]).size == 1


def test_leases_end_while_no_gateway_comes_back(tmp_path: Path) -> None:
    played = played_with(tmp_path, fault=[{"what": "gateway_killed", "at_s": 90, "lasts_s": 40}])
    recording = played.recording
    gone, back = recording.during(112, 129), recording.during(137, 149)
    assert recording.site_w[gone].min() >= 0.99 * recording.counterfactual_w[gone].min()
    assert recording.site_w[back].max() <= 1.02 * np.nanmax(recording.target_w)


def test_hosts_are_lost_to_the_twin_as_well(tmp_path: Path) -> None:
    played = played_with(tmp_path, fault=[{"what": "hosts_lost", "at_s": 30, "share": 0.5}])
    recording = played.recording
    lost = recording.during(35, 60)
    assert recording.site_w[lost].tolist() == recording.counterfactual_w[lost].tolist()
    assert recording.site_w[lost].mean() < 0.8 * recording.site_w[recording.during(0, 30)].mean()


def test_a_silent_meter_lets_no_cap_go(tmp_path: Path) -> None:
    played = played_with(tmp_path, fault=[{"what": "meter_silent", "at_s": 80, "lasts_s": 50}])
    recording, (event,) = played.recording, played.events
    silent = recording.during(80, event.ends_s)
    assert (recording.site_w / recording.target_w)[silent].max() <= 1.02


OVERHEAD = {"min_kw": 0.02, "max_kw": 0.2, "min_fraction": 0.16, "max_fraction": 0.24}


def test_a_meter_that_shows_too_little_is_followed_nowhere(tmp_path: Path) -> None:
    fault = {"what": "meter_wrong", "at_s": 90, "lasts_s": 60, "factor": 0.7}
    event = {**SMALL["event"][0], "duration_s": 170, "values": [[170, 0.25]]}
    played = played_with(tmp_path, event=[event], fault=[fault], site={"overhead": OVERHEAD})
    (found,) = fault_figures(played)
    assert found.states["coast"] <= 3.0
    assert found.states["hold"] <= 33.0
    assert "under the sum of the devices" in found.told[0]
    assert found.worst_minute_fraction <= 0.005
    assert found.minutes == 1
    assert found.normal_after_s is not None
    assert found.normal_after_s <= 5.0
    # The recording has what was truly drawn.
    lied = played.recording.during(90, 150)
    assert played.recording.true_w[lied] == pytest.approx(played.recording.site_w[lied], rel=5e-3)


def test_the_clock_jumps_over_what_is_not_played(tmp_path: Path) -> None:
    event = {"id": "now", "starts_s": 100, "duration_s": 60, "values": [[60, 0.25]], "times": 2, "every_s": 50_000}
    played = played_with(tmp_path, event=[event], duration_s=60_000, around_events_s=[40, 40])
    time_s = played.recording.time_s
    assert [event.event_id for event in played.events] == ["now-01", "now-02"]
    assert [(time_s[0], time_s[139]), (time_s[140], time_s[-1])] == [(60.0, 199.0), (50_060.0, 50_199.0)]
    assert all(event.baseline_w > 0 for event in played.events)


TREE = {
    "import_limit_kw": 2.6,
    "overhead": {"min_kw": 0.05, "max_kw": 0.4, "max_fraction": 0.16},
    "node": [
        {"id": "rack-1", "kind": "rack", "limit_kw": 1.0, "overhead_kw": 0.1, "hosts": ["h00"]},
        {"id": "rack-2", "kind": "rack", "limit_kw": 1.2, "overhead_kw": 0.1, "hosts": ["h01"]},
    ],
}


def test_a_site_under_a_tree_stays_under_it_whatever_is_lost_or_silent(tmp_path: Path) -> None:
    faults = [
        {"what": "hosts_silent", "at_s": 80, "lasts_s": 30, "share": 0.5},
        {"what": "gateway_killed", "at_s": 130, "lasts_s": 30},
    ]
    played = played_with(tmp_path, site=TREE, fault=faults)
    recording = played.recording
    later = recording.during(FOUND_S, 240)
    assert [node.node_id for node in recording.nodes] == ["simulated-site", "rack-1", "rack-2"]
    limits_w = np.array([2600.0, 1000.0, 1200.0])
    assert np.all(recording.node_most_w[later] <= limits_w + 1e-6)
    assert np.all(recording.node_w[later] <= limits_w)
    # Both the site and a rack are filled as far as they go.
    assert recording.node_most_w[later, :2].max(axis=0) == pytest.approx(limits_w[:2])
    # The twin is the same site under the same limits, and not a richer one.
    before = recording.during(30, 60)
    assert recording.site_w[before].mean() == pytest.approx(recording.counterfactual_w[before].mean(), rel=5e-3)


def test_the_site_is_what_its_branches_draw_and_the_cooling(small_played: Played) -> None:
    recording = small_played.recording
    assert recording.true_w == pytest.approx(recording.site_w, rel=5e-3)
    assert recording.twin_true_w == pytest.approx(recording.counterfactual_w, rel=5e-3)


def test_an_event_that_is_cancelled_ends_there(tmp_path: Path) -> None:
    played = played_with(tmp_path, event=[{**SMALL["event"][0], "cancelled_s": 100}])
    recording, (event,) = played.recording, played.events
    # It is heard of at the next poll, and everything goes back at once.
    after = recording.during(110, 240)
    assert (event.ends_s, event.recovered_s, event.hold) == (100.0, 100.0, (60.0, 100.0))
    assert recording.site_w[recording.during(65, 100)].max() < 0.8 * recording.site_w[:60].mean()
    assert recording.site_w[after].min() > 0.95 * recording.counterfactual_w[after].min()


def test_an_event_that_is_cancelled_before_it_begins_comes_to_nothing(tmp_path: Path) -> None:
    asked = {**SMALL["event"][0], "received_s": 20, "cancelled_s": 40}
    played = played_with(tmp_path, event=[asked])
    assert (played.events, played.unanswered) == ((), ("now",))
    assert played.recording.site_w.tolist() == played.recording.counterfactual_w.tolist()


def test_a_call_outside_the_contract_is_refused_with_its_reason(tmp_path: Path) -> None:
    contract = {"committed_kw": 0.1, "calls_per_season": 1, "rest_s": 3600}
    first = {**SMALL["event"][0], "starts_s": 40, "duration_s": 40, "values": [[40, 0.25]]}
    again = {**first, "id": "again", "starts_s": 120, "received_s": 90}
    played = played_with(tmp_path, event=[first, again], program={"contract": contract}, duration_s=180)
    assert [event.event_id for event in played.events] == ["now"]
    ((name, reason),) = played.refused
    assert name == "again"
    assert "all 1 calls of the season were made; the rest after the last call lasts until" in reason
    # It is not acted on, either.
    refused = played.recording.during(125, 160)
    assert np.all(np.isnan(played.recording.target_w[refused]))
