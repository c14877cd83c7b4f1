"""The guard of the electrical tree: whatever part of its writes takes effect, no node goes over its limit."""

from dataclasses import replace

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.domain.electrical import Standing, guard
from gateway.domain.tree import ElectricalTree, Node, NodeKind, Wiring, wire

FLOOR_W, TOP_W = 100.0, 400.0
SLACK_W = 1e-3


@st.composite
def trees(draw: st.DrawFn) -> Wiring:
    """A site with up to six nodes under it at any depth, and up to eight devices."""
    limits = st.none() | st.floats(50.0, 3000.0)
    nodes = [Node(node_id="n0", kind=NodeKind.SITE, limit_w=draw(limits))]
    for index in range(1, draw(st.integers(1, 7))):
        parent = draw(st.integers(0, index - 1))
        nodes.append(
            Node(
                node_id=f"n{index}",
                kind=NodeKind.RACK,
                parent_id=f"n{parent}",
                limit_w=draw(limits),
                overhead_w=draw(st.floats(0.0, 100.0)),
                overhead_fraction=draw(st.floats(0.0, 0.3)),
                host_ids=frozenset({f"h{index}"}),
            )
        )
    hosts = draw(st.lists(st.integers(0, len(nodes) - 1), min_size=1, max_size=8))
    tree = ElectricalTree(nodes=tuple(nodes), overshoot_fraction=draw(st.floats(0.0, 0.1)))
    return wire(tree, {f"d{index}": f"h{host}" for index, host in enumerate(hosts)})


@st.composite
def standings(draw: st.DrawFn, count: int) -> Standing:
    """Confirmed devices, and some of which all that is known is a range, who do not obey, or are not ours."""
    watts = st.floats(FLOOR_W, TOP_W)
    bounds = [sorted((draw(watts), draw(watts))) for _ in range(count)]
    sure = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    least_w = np.array([low for low, _ in bounds])
    most_w = np.where(sure, least_w, [high for _, high in bounds])
    return Standing(
        floor_w=np.full(count, FLOOR_W),
        free_w=np.maximum(most_w, draw(watts)),
        top_w=np.full(count, TOP_W),
        least_w=least_w,
        most_w=most_w,
        writable=np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count))),
        obeys=np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count))),
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[Wiring, Standing, np.ndarray]:
    wiring = draw(trees())
    count = len(wiring.device_ids)
    wanted = draw(st.lists(st.just(np.nan) | st.floats(50.0, 450.0), min_size=count, max_size=count))
    return wiring, draw(standings(count)), np.array(wanted)


def draws_w(wiring: Wiring, limit_w: np.ndarray) -> np.ndarray:
    """What each node draws in the worst case over its limit; negative where it has room."""
    return (wiring.sums(limit_w) - wiring.budget_w)[:-1]


def two(limit_w: float) -> Wiring:
    site = Node(node_id="n0", kind=NodeKind.SITE, limit_w=limit_w)
    return wire(ElectricalTree(nodes=(site,), overshoot_fraction=0.0), {"d0": "h0", "d1": "h0"})


def confirmed(*limits_w: float) -> Standing:
    held_w = np.array(limits_w)
    return Standing(
        floor_w=np.full_like(held_w, FLOOR_W),
        free_w=np.full_like(held_w, TOP_W),
        top_w=np.full_like(held_w, TOP_W),
        least_w=held_w,
        most_w=held_w,
        writable=np.full(held_w.shape, fill_value=True),
        obeys=np.full(held_w.shape, fill_value=True),
    )


@settings(max_examples=150)
@given(situation=situations(), data=st.data())
def test_no_part_of_the_writes_takes_a_node_over_its_limit(
    situation: tuple[Wiring, Standing, np.ndarray], data: st.DataObject
) -> None:
    wiring, standing, wanted_w = situation
    verdict = guard(wiring, standing, wanted_w)
    count = len(wiring.device_ids)
    share = np.array(data.draw(st.lists(st.floats(0.0, 1.0), min_size=count, max_size=count)))
    effect = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    # What is really in force is anywhere in the bounds, and any part of the writes takes effect on it.
    was_w = standing.least_w + share * (standing.most_w - standing.least_w)
    is_w = np.where(effect & standing.writable, verdict.cap_w, was_w)
    before, after = draws_w(wiring, was_w), draws_w(wiring, is_w)
    assert np.all((after <= SLACK_W) | (after <= before + SLACK_W))


def test_a_swap_of_two_caps_never_has_both_high() -> None:
    verdict = guard(two(600.0), confirmed(400.0, 200.0), np.array([200.0, 400.0]))
    assert verdict.cap_w.tolist() == [200.0, 200.0]


@settings(max_examples=150)
@given(situation=situations())
def test_under_a_node_over_its_limit_nothing_rises(situation: tuple[Wiring, Standing, np.ndarray]) -> None:
    wiring, standing, wanted_w = situation
    verdict = guard(wiring, standing, wanted_w)
    assert np.all(verdict.cap_w[verdict.over] <= np.maximum(standing.least_w, FLOOR_W)[verdict.over] + SLACK_W)


@settings(max_examples=150)
@given(situation=situations())
@example(situation=(two(500.0), confirmed(400.0, 400.0), np.array([np.nan, 150.0])))
def test_the_goal_is_the_fairest_that_fits(situation: tuple[Wiring, Standing, np.ndarray]) -> None:
    """Each device that gets less than is wanted hangs under a full node where no other has a greater share."""
    wiring, standing, wanted_w = situation
    standing = replace(standing, obeys=np.full(len(wanted_w), fill_value=True))
    goal_w = guard(wiring, standing, wanted_w).goal_w
    top_w = np.maximum(standing.free_w, FLOOR_W)
    target_w = np.clip(np.where(np.isnan(wanted_w), top_w, wanted_w), FLOOR_W, top_w)
    low_w = np.where(standing.writable, FLOOR_W, standing.most_w)
    span_w = np.where(standing.writable, target_w, standing.most_w) - low_w
    rising = span_w > 1e-9
    assert np.all(goal_w >= low_w - SLACK_W)
    assert np.all(goal_w <= low_w + span_w + SLACK_W)
    share = np.where(rising, (goal_w - low_w) / np.where(rising, span_w, 1.0), 0.0)
    over_w = wiring.sums(goal_w) - wiring.budget_w
    least_over_w = wiring.sums(low_w) - wiring.budget_w
    assert np.all((over_w <= SLACK_W) | (over_w <= least_over_w + SLACK_W))
    for device in np.flatnonzero(rising & (goal_w < low_w + span_w - SLACK_W)):
        assert any(
            over_w[node] >= -SLACK_W
            and share[device] >= share[rising & (wiring.paths == node).any(axis=0)].max() - 1e-6
            for node in wiring.paths[:, device]
        )


@settings(max_examples=100)
@given(situation=situations())
@example(situation=(two(600.0), confirmed(400.0, 100.0), np.array([100.0, np.nan])))
def test_repeated_steps_come_to_the_goal_and_stay(situation: tuple[Wiring, Standing, np.ndarray]) -> None:
    wiring, standing, wanted_w = situation
    goal_w = guard(wiring, replace(standing, obeys=np.full(len(wanted_w), fill_value=True)), wanted_w).goal_w
    for _ in range(3):
        cap_w = guard(wiring, standing, wanted_w).cap_w
        held_w = np.where(standing.writable, cap_w, standing.most_w)
        standing = replace(
            standing,
            least_w=np.where(standing.writable, held_w, standing.least_w),
            most_w=held_w,
            obeys=np.full(len(wanted_w), fill_value=True),
        )
    np.testing.assert_allclose(np.where(standing.writable, standing.most_w, goal_w), goal_w, atol=SLACK_W)
    again = guard(wiring, standing, wanted_w)
    np.testing.assert_allclose(again.cap_w, guard(wiring, standing, wanted_w).cap_w)
    np.testing.assert_allclose(np.where(standing.writable, again.cap_w, goal_w), goal_w, atol=SLACK_W)
