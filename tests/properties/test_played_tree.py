"""A whole site in simulation: whatever is lost, silent, killed or cancelled, no node goes over its limit."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.simulation.node_figures import FOUND_S
from gateway.simulation.recorder import Recording
from tests.unit.gateway.simulation.small_scenario import SMALL, played_with

SITE = {
    "import_limit_kw": 2.5,
    "overhead": {"min_kw": 0.05, "max_kw": 0.4, "max_fraction": 0.16},
    "node": [
        {"id": "feed", "kind": "feed", "limit_kw": 2.0},
        {"id": "rack-1", "kind": "rack", "parent": "feed", "limit_kw": 1.0, "overhead_kw": 0.1, "hosts": ["h00"]},
        {"id": "rack-2", "kind": "rack", "parent": "feed", "limit_kw": 1.2, "overhead_kw": 0.1, "hosts": ["h01"]},
    ],
}
LIMITS_W = np.array([2500.0, 2000.0, 1000.0, 1200.0])

STARTS_S, ENDS_S, OVER_S = 25, 60, 90

Scene = dict[str, Any]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """An event of whatever depth, cancelled or not, and up to four things that go wrong at any time."""
    depth = draw(st.floats(0.05, 0.5))
    event = {
        **SMALL["event"][0],
        "starts_s": STARTS_S,
        "duration_s": ENDS_S - STARTS_S,
        "recovery_s": draw(st.sampled_from([0, 15])),
        "values": [[ENDS_S - STARTS_S, depth]],
        "cancelled_s": draw(st.none() | st.integers(STARTS_S + 5, ENDS_S - 5)),
    }
    kinds = draw(
        st.lists(
            st.sampled_from(["hosts_lost", "hosts_silent", "meter_silent", "gateway_killed"]), max_size=4, unique=True
        )
    )
    faults = [
        {
            "what": what,
            "at_s": draw(st.integers(5, 75)),
            "lasts_s": draw(st.integers(3, 40)),
            "share": draw(st.sampled_from([0.5, 1.0])),
        }
        for what in kinds
    ]
    return {"event": [event], "fault": faults, "seed": draw(st.integers(0, 99))}


def recorded(scene: Scene) -> Recording:
    with tempfile.TemporaryDirectory() as folder:
        return played_with(Path(folder), site=SITE, duration_s=OVER_S, **scene).recording


LOST_ON_THE_WAY_BACK: Scene = {
    "event": [{**SMALL["event"][0], "starts_s": STARTS_S, "duration_s": 35, "values": [[35, 0.3]], "cancelled_s": 45}],
    "fault": [
        {"what": "hosts_silent", "at_s": 40, "lasts_s": 25, "share": 0.5},
        {"what": "gateway_killed", "at_s": 47, "lasts_s": 20},
    ],
    "seed": 5,
}


@settings(max_examples=4, deadline=None)
@given(scene=scenes())
@example(scene=LOST_ON_THE_WAY_BACK)
def test_the_guard_of_the_tree_holds_at_every_step(scene: Scene) -> None:
    recording = recorded(scene)
    later = recording.time_s >= FOUND_S
    # All that the limits in force allow, and what was truly drawn.
    assert np.all(recording.node_most_w[later] <= LIMITS_W + 1e-6)
    assert np.all(recording.node_w[later] <= LIMITS_W)
