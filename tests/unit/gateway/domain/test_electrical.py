"""The guard of the electrical tree on examples worked out by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from gateway.domain.electrical import Standing, Verdict, fits, guard, in_words
from gateway.domain.tree import ElectricalTree, Node, NodeKind, Wiring, wire

BACK = math.nan
"""Wanted: the limit found."""


def tree(*nodes: Node, overshoot: float = 0.0) -> ElectricalTree:
    return ElectricalTree(nodes=nodes, overshoot_fraction=overshoot)


def site(limit_w: float | None = None, **more: float) -> Node:
    return Node(node_id="site", kind=NodeKind.SITE, limit_w=limit_w, **more)


def rack(node_id: str, limit_w: float | None, hosts: Sequence[str], parent: str = "site", **more: float) -> Node:
    return Node(
        node_id=node_id,
        kind=NodeKind.RACK,
        parent_id=parent,
        limit_w=limit_w,
        host_ids=frozenset(hosts),
        **more,
    )


def wired(built: ElectricalTree, hosts: str) -> Wiring:
    """One device a letter, on the host of that letter."""
    return wire(built, {f"{host}{index}": host for index, host in enumerate(hosts)})


def stand(
    most_w: Sequence[float],
    *,
    least_w: Sequence[float] | None = None,
    free_w: float = 400.0,
    not_writable: Sequence[int] = (),
    disobey: Sequence[int] = (),
) -> Standing:
    """Devices from 100 W on; confirmed where nothing else is said."""
    count = len(most_w)
    return Standing(
        floor_w=np.full(count, 100.0),
        free_w=np.full(count, free_w),
        top_w=np.full(count, 400.0),
        least_w=np.array(most_w if least_w is None else least_w, dtype=float),
        most_w=np.array(most_w, dtype=float),
        writable=np.array([index not in not_writable for index in range(count)]),
        obeys=np.array([index not in disobey for index in range(count)]),
    )


def decide(built: ElectricalTree, hosts: str, standing: Standing, wanted_w: Sequence[float]) -> Verdict:
    return guard(wired(built, hosts), standing, np.array(wanted_w, dtype=float))


def test_what_fits_is_allowed_as_it_is_wanted() -> None:
    verdict = decide(tree(site(1000.0)), "ab", stand([400.0, 400.0]), [250.0, BACK])
    assert verdict.cap_w.tolist() == [250.0, 400.0]
    assert not verdict.held.any()
    assert not verdict.nodes[0].binds


def test_what_does_not_fit_is_shared_between_the_floors_and_what_is_wanted() -> None:
    # 600 W for two: 200 W of floors, and 400 W of the 600 W more that are wanted, two thirds of the way.
    verdict = decide(tree(site(600.0)), "ab", stand([400.0, 400.0]), [BACK, BACK])
    assert verdict.cap_w.tolist() == pytest.approx([300.0, 300.0])
    assert verdict.held.all()
    assert verdict.over.all()
    assert verdict.nodes[0].binds
    assert verdict.nodes[0].worst_w == 800.0


def test_overhead_and_overshoot_come_first() -> None:
    # 1,030 W less 206 W leave 824 W, which are caps of 800 W and what is drawn over them.
    nodes = (site(), rack("r1", 1030.0, "a", overhead_w=206.0))
    verdict = decide(tree(*nodes, overshoot=0.03), "aaa", stand([400.0] * 3), [BACK] * 3)
    assert sum(verdict.cap_w.tolist()) == pytest.approx(800.0)


def test_overhead_counts_at_every_node_above_and_cooling_follows_the_devices() -> None:
    # 100 W of the racks and 200 W of the site leave 900 W, of which a fifth of what the devices draw is cooling.
    nodes = (
        site(1200.0, overhead_w=200.0, overhead_fraction=0.2),
        rack("r1", None, "a", overhead_w=60.0),
        rack("r2", None, "b", overhead_w=40.0),
    )
    verdict = decide(tree(*nodes), "ab", stand([400.0, 400.0]), [BACK, BACK])
    assert verdict.cap_w.tolist() == pytest.approx([375.0, 375.0])


def test_a_tighter_node_inside_leaves_the_others_more() -> None:
    # Rack 1 has 300 W for two devices. The site's other 700 W are for two more, who need no more than 400 W each.
    nodes = (site(1000.0), rack("r1", 300.0, "a"), rack("r2", None, "b"))
    verdict = decide(tree(*nodes), "aabb", stand([400.0] * 4), [BACK] * 4)
    assert verdict.goal_w.tolist() == pytest.approx([150.0, 150.0, 350.0, 350.0])


def test_a_raise_waits_for_the_room_to_be_confirmed() -> None:
    # 300 W and 200 W stand of 600 W. The first goes down, the second may have the 100 W that are free now, and the
    # rest at the next step.
    standing = stand([300.0, 200.0])
    first = decide(tree(site(600.0)), "ab", standing, [150.0, BACK])
    assert first.cap_w.tolist() == [150.0, 300.0]
    assert first.goal_w.tolist() == [150.0, 400.0]
    then = decide(tree(site(600.0)), "ab", stand([150.0, 300.0]), [150.0, BACK])
    assert then.cap_w.tolist() == [150.0, 400.0]


def test_nothing_rises_under_a_node_that_is_over_its_limit() -> None:
    verdict = decide(tree(site(500.0)), "abc", stand([400.0, 100.0, 100.0]), [BACK, BACK, BACK])
    assert verdict.cap_w.tolist() == pytest.approx([500.0 / 3, 100.0, 100.0])
    assert verdict.goal_w.tolist() == pytest.approx([500.0 / 3] * 3)


def test_a_device_that_did_not_confirm_counts_at_its_worst_and_the_others_go_down_for_it() -> None:
    standing = stand([200.0, 200.0, 400.0], least_w=[200.0, 200.0, 200.0], disobey=[2])
    verdict = decide(tree(site(640.0)), "abc", standing, [BACK] * 3)
    # It may have 400 W; 240 W are left for the two. It is asked for its share of all, and not for more than it had.
    assert verdict.cap_w.tolist() == pytest.approx([120.0, 120.0, 200.0])
    assert verdict.goal_w.tolist() == pytest.approx([120.0, 120.0, 640.0 / 3])


def test_somebody_elses_limit_counts_and_is_left_alone() -> None:
    verdict = decide(tree(site(700.0)), "ab", stand([350.0, 400.0], not_writable=[1]), [BACK, BACK])
    assert verdict.cap_w[0] == pytest.approx(300.0)


def test_what_does_not_fit_at_the_floors_is_a_shortfall_at_once() -> None:
    nodes = (site(10_000.0), rack("r1", 250.0, "a"))
    verdict = decide(tree(*nodes), "aaab", stand([400.0] * 4), [BACK] * 4)
    assert verdict.cap_w.tolist() == pytest.approx([100.0, 100.0, 100.0, 400.0])
    assert [node.shortfall_w for node in verdict.nodes] == [0.0, 50.0]
    assert in_words(verdict.nodes[1:]) == "rack r1 (0.25 kW)"


def test_a_device_by_its_own_name_hangs_where_it_is_named() -> None:
    named = Node(node_id="r2", kind=NodeKind.RACK, parent_id="site", limit_w=150.0, device_ids=frozenset({"a1"}))
    verdict = decide(tree(site(), rack("r1", 1000.0, "a"), named), "aa", stand([400.0] * 2), [BACK] * 2)
    assert verdict.cap_w.tolist() == [400.0, 150.0]


def test_a_tree_that_has_room_for_everything_need_not_be_watched() -> None:
    assert fits(wired(tree(site(800.0)), "ab"), np.array([400.0, 400.0]))
    assert not fits(wired(tree(site(799.0)), "ab"), np.array([400.0, 400.0]))
    assert fits(wired(tree(site()), "ab"), np.array([400.0, 400.0]))
    assert fits(wired(tree(site(1.0)), ""), np.array([]))


def test_names_that_nobody_has_heard_of_are_told() -> None:
    built = tree(site(), rack("r1", 100.0, ["a", "z"]))
    assert built.unknown_names({"a0": "a"}) == ("z",)


def test_a_child_before_its_parent_is_no_tree() -> None:
    with pytest.raises(ValueError, match="does not come after its parent"):
        tree(site(), rack("r1", 100.0, "a", parent="f1"))
