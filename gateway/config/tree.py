"""``[[site.node]]``: feeds, racks and hosts between the devices and the site's import limit."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from gateway.config.parts import Section
from gateway.domain.tree import ElectricalTree, Node, NodeKind

Name = Annotated[str, Field(min_length=1)]


class NodeSettings(Section):
    """``[[site.node]]``: one node. Name the hosts or devices that hang on it, or let others name it as parent."""

    id: Name
    kind: NodeKind
    parent: Name | None = None
    """Another node's id; the site where none is given."""
    limit_kw: float | None = Field(default=None, gt=0)
    overhead_kw: float = Field(default=0.0, ge=0)
    """The most it draws beside its devices and the nodes under it: fans, switches, host processors."""
    hosts: tuple[Name, ...] = ()
    devices: tuple[Name, ...] = ()


def site_tree(root: Node, declared: Sequence[NodeSettings], *, overshoot_fraction: float) -> ElectricalTree | None:
    """The tree under ``root``, ``None`` where nothing has a limit.

    The root's overhead is that of the whole site: what the nodes under it declare is a part of it. Raises
    ``ValueError`` for nodes that make no tree, and for overhead that no limit has room for.
    """
    _check_names(root.node_id, declared)
    nodes = [
        Node(
            node_id=root.node_id,
            kind=root.kind,
            limit_w=root.limit_w,
            overhead_w=max(0.0, root.overhead_w - 1000.0 * sum(one.overhead_kw for one in declared)),
            overhead_fraction=root.overhead_fraction,
        ),
        *(_node(one, root.node_id) for one in _parents_first(root.node_id, declared)),
    ]
    tree = ElectricalTree(nodes=tuple(nodes), overshoot_fraction=overshoot_fraction)
    _check_overhead(tree)
    return tree if any(node.limit_w is not None for node in nodes) else None


def _node(settings: NodeSettings, site_id: str) -> Node:
    return Node(
        node_id=settings.id,
        kind=settings.kind,
        parent_id=settings.parent or site_id,
        limit_w=None if settings.limit_kw is None else 1000.0 * settings.limit_kw,
        overhead_w=1000.0 * settings.overhead_kw,
        host_ids=frozenset(settings.hosts),
        device_ids=frozenset(settings.devices),
    )


def _check_names(site_id: str, declared: Sequence[NodeSettings]) -> None:
    known = [site_id, *(one.id for one in declared)]
    twice = _twice(known)
    if twice is not None:
        raise ValueError(f"node: two are called {twice!r}; give each its own id (the site's is {site_id!r})")
    for what, lists in (("host", [one.hosts for one in declared]), ("device", [one.devices for one in declared])):
        twice = _twice(name for names in lists for name in names)
        if twice is not None:
            raise ValueError(f"node: {what} {twice!r} hangs on two nodes; name it once")
    for one in declared:
        if one.parent is not None and one.parent not in known:
            nearest = difflib.get_close_matches(one.parent, known, n=1, cutoff=0.0)[0]
            raise ValueError(f"node {one.id!r}: no node is called {one.parent!r}; did you mean {nearest!r}?")


def _twice(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _parents_first(site_id: str, declared: Sequence[NodeSettings]) -> list[NodeSettings]:
    """The nodes in an order in which each comes after its parent. Raises ``ValueError`` where there is none."""
    placed: dict[str, NodeSettings | None] = {site_id: None}
    waiting: Mapping[str, NodeSettings] = {one.id: one for one in declared}
    while waiting:
        ready = {one.id: one for one in waiting.values() if (one.parent or site_id) in placed}
        if not ready:
            raise ValueError(f"node: {', '.join(sorted(waiting))} hang on each other and not on the site")
        placed |= ready
        waiting = {name: one for name, one in waiting.items() if name not in ready}
    return [one for one in placed.values() if one is not None]


def _check_overhead(tree: ElectricalTree) -> None:
    overhead_w = tree.overhead_w()
    for node in tree.nodes:
        if node.limit_w is not None and overhead_w[node.node_id] > node.limit_w:
            raise ValueError(
                f"{node.kind} {node.node_id!r}: an overhead of {overhead_w[node.node_id] / 1000.0:g} kW (nodes under"
                f" it included) is over its limit of {node.limit_w / 1000.0:g} kW"
            )
