"""The guard of the electrical tree: what may be written to each device now, so that no node goes over its limit.

Every writer of limits asks here, for caps and for puts-back alike. What is counted is the worst case: a device counts
with the highest limit that may be in force there, not with what it was last told. So lowering is always allowed at
once, and raising only into room that is confirmed: whatever part of the writes takes effect, in whatever order, no
node goes over its limit that was under it. Under a node that is over its limit nothing rises.

What does not fit is shared: each device gets the same share of the way from its floor to what is wanted, and where a
node inside is tighter its devices get less and the others more (max-min fair in that share).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from gateway.domain.tree import ElectricalTree, Flags, Floats, NodeKind, Wiring, wire
from hardware.device import DeviceView

TOLERANCE_W = 1e-6
"""Sums of watts that differ by less are the same."""

NOTHING_W = 0.5
"""A shortfall under half a watt is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of each device's limit, one element a device, in the order of the wiring.

    ``floor_w`` is the least a device can be capped to, ``free_w`` the most it has once its limit was put back,
    ``top_w`` the top of its range. ``least_w`` and ``most_w`` bound the limit that may be in force now: equal where it
    is confirmed, and ``most_w`` is the top of the range where nobody knows. ``writable`` is false for what is lost or
    under somebody else's limit; ``obeys`` is false for what did not confirm its last command: it counts at ``most_w``
    until it does.
    """

    floor_w: Floats
    free_w: Floats
    top_w: Floats
    least_w: Floats
    most_w: Floats
    writable: Flags
    obeys: Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """How one node stands. Watts are drawn at the node, overhead and overshoot included.

    ``worst_w`` is the most it may draw now, ``free_w`` the most once every limit were put back. ``binds`` says that
    devices get less than is wanted because of it; ``shortfall_w`` is how far it is over its limit with every device
    that can be lowered at its floor.
    """

    node_id: str
    kind: NodeKind
    limit_w: float
    worst_w: float
    free_w: float
    binds: bool
    shortfall_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What may be done now, one element a device.

    ``cap_w`` is the limit that may be written now and ``goal_w`` the one to come to, once what is on the way is
    confirmed. ``held`` marks devices that a node has no room for at ``free_w``: they are not put back, and their lease
    is to hold at its end. ``watched`` marks those that a node has no room for at ``top_w``: each of them is to have a
    cap, so that its limit is confirmed from time to time. ``over`` marks those under a node that may be over its limit
    now.
    """

    cap_w: Floats
    goal_w: Floats
    held: Flags
    watched: Flags
    over: Flags
    nodes: tuple[NodeState, ...]


def fits(wiring: Wiring, top_w: Floats) -> bool:
    """Whether every node has room for all its devices at the top of their ranges: then nothing need be guarded."""
    return not wiring.awaits.any() and bool(np.all(wiring.sums(top_w) <= wiring.budget_w + TOLERANCE_W))


def guard(wiring: Wiring, standing: Standing, wanted_w: Floats) -> Verdict:
    """Decide for every device at once. ``wanted_w`` is the cap wanted, not a number where the limit goes back.

    Under a node that awaits devices nothing rises or goes back: nobody knows what they draw.
    """
    free_w = np.maximum(standing.free_w, standing.floor_w)
    target_w = np.clip(np.where(np.isnan(wanted_w), free_w, wanted_w), standing.floor_w, free_w)
    moves = standing.writable & standing.obeys
    low_w = np.where(moves, standing.floor_w, standing.most_w)
    high_w = np.where(moves, target_w, standing.most_w)
    goal_w = _shared(wiring, low_w, high_w)
    asked = standing.writable & ~standing.obeys
    if asked.any():
        # They count at their worst for the others, and are asked to take the share they have among all.
        among_all_w = _shared(
            wiring,
            np.where(standing.writable, standing.floor_w, standing.most_w),
            np.where(standing.writable, target_w, standing.most_w),
        )
        goal_w = np.where(asked, among_all_w, goal_w)
    over_node = wiring.sums(standing.most_w) > wiring.budget_w + TOLERANCE_W
    over = wiring.any_above(over_node | wiring.awaits)
    free_sums_w = wiring.sums(np.where(moves, free_w, standing.most_w))
    return Verdict(
        cap_w=_allowed_now(wiring, standing, goal_w, over),
        goal_w=goal_w,
        held=wiring.any_above((free_sums_w > wiring.budget_w + TOLERANCE_W) | wiring.awaits),
        watched=wiring.any_above((wiring.sums(standing.top_w) > wiring.budget_w + TOLERANCE_W) | wiring.awaits),
        over=over,
        nodes=_node_states(wiring, standing, free_sums_w, low_w=low_w, high_w=high_w),
    )


def _allowed_now(wiring: Wiring, standing: Standing, goal_w: Floats, over: Flags) -> Floats:
    """The part of the way to the goal that may be gone now."""
    raised_w = _shared(wiring, standing.most_w, np.maximum(goal_w, standing.most_w))
    kept_w = np.clip(standing.least_w, standing.floor_w, goal_w)
    return np.where(
        goal_w <= standing.least_w,
        goal_w,
        np.where(over, kept_w, np.where(goal_w <= standing.most_w, goal_w, raised_w)),
    )


def _shared(wiring: Wiring, low_w: Floats, high_w: Floats) -> Floats:
    """Each device between ``low_w`` and ``high_w``, at the greatest share of the way that its nodes have room for.

    Progressive filling: the share rises for all alike; a node that is full stops its devices, the others go on. A node
    without room for ``low_w`` leaves its devices there.
    """
    if np.all(wiring.sums(high_w) <= wiring.budget_w):
        return high_w
    span_w = high_w - low_w
    share = np.ones_like(low_w)
    rising = span_w > 0.0
    while rising.any():
        slope_w = wiring.sums(np.where(rising, span_w, 0.0))
        room_w = wiring.budget_w - wiring.sums(np.where(rising, low_w, low_w + share * span_w))
        reach = np.full_like(room_w, np.inf)
        np.divide(room_w, slope_w, out=reach, where=slope_w > 0.0)
        reach = np.where(reach < 1.0, np.maximum(reach, 0.0), np.inf)
        above = reach[wiring.paths]
        lowest = above.min(axis=0)
        if np.isinf(lowest[rising]).all():
            break
        # A node is full first where none above or below it is full before it; its room depends on no other then.
        waits = np.bincount(
            wiring.paths.ravel(),
            weights=(rising & (lowest < above)).ravel(),
            minlength=len(reach),
        )
        stops = rising & wiring.any_above((waits == 0.0) & np.isfinite(reach))
        share[stops] = lowest[stops]
        rising &= ~stops
    return low_w + share * span_w


def _node_states(
    wiring: Wiring, standing: Standing, free_sums_w: Floats, *, low_w: Floats, high_w: Floats
) -> tuple[NodeState, ...]:
    worst_w = wiring.sums(standing.most_w) * wiring.draw + wiring.fixed_w
    free_w = free_sums_w * wiring.draw + wiring.fixed_w
    # The last node is no node: it has room for everything.
    over_w = (wiring.sums(low_w) - wiring.budget_w) * wiring.draw
    binds = wiring.sums(high_w) > wiring.budget_w + TOLERANCE_W
    return tuple(
        NodeState(
            node_id=node.node_id,
            kind=node.kind,
            limit_w=node.limit_w or 0.0,
            worst_w=worst,
            free_w=free,
            binds=bound,
            shortfall_w=over if over >= NOTHING_W else 0.0,
        )
        for node, worst, free, bound, over in zip(
            wiring.nodes, worst_w.tolist(), free_w.tolist(), binds.tolist(), over_w.tolist(), strict=False
        )
    )


def last_heard(devices: Collection[DeviceView]) -> Standing:
    """Devices as their hosts last told of them; a lost one may still draw all it can."""
    present = np.array([device.present for device in devices], dtype=np.bool_)
    limit_w = np.array([device.limit_w for device in devices], dtype=np.float64)
    range_w = np.array([device.cap_range.max_w for device in devices], dtype=np.float64)
    told_w = np.array([device.restores_to_w for device in devices], dtype=np.float64)
    top_w = np.maximum(range_w, np.where(present, limit_w, range_w))
    free_w = np.where(present & ~np.isnan(told_w), np.maximum(told_w, limit_w), top_w)
    return Standing(
        floor_w=np.array([device.cap_range.min_w for device in devices], dtype=np.float64),
        free_w=free_w,
        top_w=top_w,
        least_w=limit_w,
        most_w=np.where(present, limit_w, top_w),
        writable=present,
        obeys=present.copy(),
    )


def node_states(tree: ElectricalTree, devices: Mapping[str, DeviceView]) -> tuple[NodeState, ...]:
    """How every node with a limit stands by what its devices' hosts last told, were all limits put back."""
    wiring = wire(tree, {device_id: view.host_id for device_id, view in devices.items()})
    return guard(wiring, last_heard(devices.values()), np.full(len(devices), np.nan)).nodes


def ceilings_w(tree: ElectricalTree, devices: Mapping[str, DeviceView]) -> dict[str, float]:
    """The most that each device can be let up to while all want as much as they can have: a plan counts on no more."""
    wiring = wire(tree, {device_id: view.host_id for device_id, view in devices.items()})
    goal_w = guard(wiring, last_heard(devices.values()), np.full(len(devices), np.nan)).goal_w
    return dict(zip(wiring.device_ids, goal_w.tolist(), strict=True))


def in_words(nodes: Collection[NodeState]) -> str:
    """Nodes for the operator, a few of them by name and limit."""
    named = [f"{node.kind} {node.node_id} ({node.limit_w / 1000.0:g} kW)" for node in nodes]
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return ", ".join(named[:3]) + more


def shortfall_in_words(nodes: Collection[NodeState]) -> str | None:
    """What cannot be kept, ``None`` where every limit can be."""
    short = [node for node in nodes if node.shortfall_w > 0.0]
    if not short:
        return None
    most_w = max(node.shortfall_w for node in short)
    return (
        f"{in_words(short)}: up to {most_w / 1000.0:.2f} kW over the limit in the worst case, with every device that"
        " answers at its floor"
    )
