"""What must hold of capability for any fleet."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.allocate import AllocationJob
from gateway.domain.capability import CapableJob, capability
from hardware.workloads import WORKLOADS

T0 = datetime(2026, 7, 1, 12, tzinfo=UTC)
SLACK_W = 1e-6

draws = st.lists(st.floats(0.0, 420.0), min_size=1, max_size=6)


def able(
    number: int,
    row: tuple[str, int, float, bool, list[float] | None, float | None, float, float | None],
) -> CapableJob:
    workload, devices, floor, can_pause, drawn, ends_h, pause_s, in_hand_s = row
    demand_w = None
    if drawn is not None:
        demand_w = np.array([[drawn[(i + device) % len(drawn)] for i in range(40)] for device in range(devices)])
    return CapableJob(
        job=AllocationJob(
            job_id=f"job{number}",
            weight=1.0,
            devices=devices,
            min_throughput=floor,
            can_pause=can_pause,
            curve=WORKLOADS[workload].curve(),
            idle_w=84.0,
        ),
        demand_w=demand_w,
        ends_at=None if ends_h is None else T0 + timedelta(hours=ends_h),
        max_pause_s=pause_s,
        in_hand_s=in_hand_s,
    )


fleets = st.lists(
    st.tuples(
        st.sampled_from(sorted(WORKLOADS)),
        st.integers(1, 4),
        st.floats(0.0, 1.0),
        st.booleans(),
        st.none() | draws,
        st.none() | st.floats(-1.0, 8.0),
        st.floats(0.0, 8_000.0),
        st.none() | st.floats(-100.0, 8_000.0),
    ),
    max_size=5,
).map(lambda rows: [able(i, row) for i, row in enumerate(rows)])
MINIMAL = [able(0, ("pretrain-7b", 1, 0.75, True, [390.0, 60.0], 2.0, 900.0, 600.0))]


@given(fleets, st.floats(0.0, 1.0), st.floats(0.0, 2.0))
@example(MINIMAL, 0.3, 0.1)
def test_what_is_sure_is_never_more_than_expected_nor_grows_with_time(
    jobs: list[CapableJob], correlation: float, leaving_per_h: float
) -> None:
    found = capability(jobs, at=T0, correlation=correlation, leaving_per_h=leaving_per_h)
    for row in (*found.held, *found.hours):
        assert 0.0 <= row.lower_w <= row.expected_w + SLACK_W
        assert row.expected_w <= row.with_pauses_w + SLACK_W
        assert row.lower_w <= row.with_pauses_lower_w <= row.with_pauses_w + SLACK_W
    for shorter, longer in pairwise(found.held):
        assert longer.expected_w <= shorter.expected_w + SLACK_W
        assert longer.with_pauses_w <= shorter.with_pauses_w + SLACK_W


@given(fleets, st.floats(1.0, 3_600.0))
@example(MINIMAL, 900.0)
def test_no_more_is_promised_than_was_drawn(jobs: list[CapableJob], hold_s: float) -> None:
    # Nameplate is not power: what devices did not draw in the windows remembered cannot be saved.
    drawn_w = sum(
        float(job.demand_w.mean(axis=1).sum()) if job.demand_w is not None else job.job.devices * 400.0 for job in jobs
    )
    found = capability(jobs, at=T0, holds_s=[hold_s]).held[0]
    assert found.with_pauses_w <= drawn_w + SLACK_W
