"""The electrical tree: site, feeds, racks and hosts, what each may draw, and which device hangs where."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Indices: TypeAlias = NDArray[np.intp]

OVERSHOOT_FRACTION = 0.03
"""What a device may draw over its cap. Measured: 1.7 % in the mean (256 devices of 400 W, cap of 100 W, 101.7 W drawn;
Emerald AI, demo of May 2025, dvfs_sweep.csv) and 0.7 % at the peak (V100, cap of 200 W, 201.4 W at 200 Hz; GridPilot,
experiment E2). The rest is margin for what was not measured."""


class NodeKind(StrEnum):
    """What a node of the tree is."""

    SITE = "site"
    FEED = "feed"
    RACK = "rack"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node. ``limit_w`` is the most it may draw, ``None`` where nobody said.

    ``overhead_w`` is the most that it draws beside its devices and the nodes under it; ``overhead_fraction`` is more
    of the same, as a share of what the devices under it draw (cooling). Devices hang on it by host or by themselves.
    """

    node_id: str
    kind: NodeKind
    parent_id: str | None = None
    limit_w: float | None = None
    overhead_w: float = 0.0
    overhead_fraction: float = 0.0
    host_ids: frozenset[str] = frozenset()
    device_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectricalTree:
    """All nodes, each after its parent, the site first. A device that no node names hangs on the site."""

    nodes: tuple[Node, ...]
    overshoot_fraction: float = OVERSHOOT_FRACTION

    def __post_init__(self) -> None:
        known: set[str] = set()
        for index, node in enumerate(self.nodes):
            if (index == 0) != (node.parent_id is None) or (index > 0 and node.parent_id not in known):
                raise ValueError(f"node {node.node_id!r} does not come after its parent {node.parent_id!r}")
            known.add(node.node_id)

    def overhead_w(self) -> dict[str, float]:
        """The most that each node draws beside its devices, the nodes under it included."""
        total_w = {node.node_id: node.overhead_w for node in self.nodes}
        for node in reversed(self.nodes):
            if node.parent_id is not None:
                total_w[node.parent_id] += total_w[node.node_id]
        return total_w

    def unknown_names(self, host_of_device: Mapping[str, str]) -> tuple[str, ...]:
        """Hosts and devices that the tree names and nobody has heard of."""
        hosts = set(host_of_device.values())
        named = {name for node in self.nodes for name in node.host_ids - hosts}
        return tuple(sorted(named | {name for node in self.nodes for name in node.device_ids - host_of_device.keys()}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """A tree with its devices, for sums over whole fleets.

    Only nodes with a limit are in it: node ``i`` leaves ``budget_w[i]`` for the sum of its devices' caps, and a watt
    of cap draws up to ``draw[i]`` watts there. Column ``j`` of ``paths`` has the nodes above device ``j``; rows are
    filled up with a last node that has room for everything. ``awaits[i]`` is true where devices may hang on node ``i``
    that nobody has told of yet.
    """

    nodes: tuple[Node, ...]
    device_ids: tuple[str, ...]
    paths: Indices
    budget_w: Floats
    draw: Floats
    fixed_w: Floats
    awaits: Flags

    def sums(self, device_w: Floats) -> Floats:
        """For each node the sum over its devices."""
        weights = np.broadcast_to(device_w, self.paths.shape).ravel()
        return np.bincount(self.paths.ravel(), weights=weights, minlength=len(self.budget_w)).astype(
            np.float64, copy=False
        )

    def any_above(self, flagged: Flags) -> Flags:
        """For each device whether any node above it is flagged."""
        above: Flags = np.any(flagged[self.paths], axis=0)
        return above


def wire(tree: ElectricalTree, host_of_device: Mapping[str, str], awaited: Collection[str] = ()) -> Wiring:
    """Hang devices, given with their hosts, onto the tree. ``awaited`` are hosts and devices still to be heard of."""
    overhead_w = tree.overhead_w()
    limited = tuple(node for node in tree.nodes if node.limit_w is not None)
    index_of = {node.node_id: index for index, node in enumerate(limited)}
    path_of: dict[str, tuple[int, ...]] = {}
    for node in tree.nodes:
        above = () if node.parent_id is None else path_of[node.parent_id]
        path_of[node.node_id] = (*above, index_of[node.node_id]) if node.node_id in index_of else above
    by_device = {name: path_of[node.node_id] for node in tree.nodes for name in node.device_ids}
    by_host = {name: path_of[node.node_id] for node in tree.nodes for name in node.host_ids}
    at_site = path_of[tree.nodes[0].node_id]
    found = [by_device.get(device_id, by_host.get(host, at_site)) for device_id, host in host_of_device.items()]
    awaits = np.zeros(len(limited) + 1, dtype=np.bool_)
    for name in awaited:
        awaits[list(by_device.get(name, by_host.get(name, at_site)))] = True
    fixed_w = np.array([*(overhead_w[node.node_id] for node in limited), 0.0])
    limit_w = np.array([*(node.limit_w for node in limited), np.inf], dtype=np.float64)
    draw = np.array([*((1.0 + tree.overshoot_fraction) * (1.0 + node.overhead_fraction) for node in limited), 1.0])
    return Wiring(
        nodes=limited,
        device_ids=tuple(host_of_device),
        paths=_padded(found, len(limited)),
        budget_w=(limit_w - fixed_w) / draw,
        draw=draw,
        fixed_w=fixed_w,
        awaits=awaits,
    )


def _padded(paths: Sequence[tuple[int, ...]], filler: int) -> Indices:
    depth = max((len(path) for path in paths), default=0) or 1
    rows = [(*path, *(filler for _ in range(depth - len(path)))) for path in paths]
    return np.array(rows, dtype=np.intp).reshape(len(paths), depth).T.copy()
