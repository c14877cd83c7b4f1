from dataclasses import replace

import pytest

from protocols.grid import GridEvent, Target
from protocols.openadr2b.ven_targets import VenTargets

DECLARED = (
    Target(kind="group", value="south"),
    Target(kind="resource", value="site-1"),
    Target(kind="party", value="acme"),
    Target(kind="serviceArea", value="1.0 2.0"),
)


@pytest.mark.parametrize(
    ("targets", "ours"),
    [
        ([], True),
        ([("ven", "ven-1")], True),
        ([("ven", "ven-2")], False),
        ([("ven", "ven-2"), ("ven", "ven-1")], True),
        ([("group", "south")], True),
        ([("group", "north")], False),
        ([("group", "north"), ("group", "south")], True),
        ([("resource", "site-9")], False),
        ([("party", "acme")], True),
        ([("party", "other")], False),
        ([("serviceArea", "1.0 2.0")], True),
        ([("serviceArea", "9.0 9.0")], False),
        # A VTN says with our venID only where the resource is.
        ([("ven", "ven-1"), ("resource", "site-9")], False),
        ([("ven", "ven-2"), ("group", "south")], True),
        # Of pnodes nothing was declared: the VTN knows.
        ([("pnode", "p1")], True),
        ([("pnode", "p1"), ("group", "north")], False),
        ([("pnode", "p1"), ("ven", "ven-2")], False),
    ],
)
def test_an_event_is_ours_by_what_was_declared(event: GridEvent, targets: list[tuple[str, str]], ours: bool) -> None:
    aimed = replace(event, targets=tuple(Target(kind=kind, value=value) for kind, value in targets))
    why = VenTargets(DECLARED).not_ours(aimed, frozenset({"ven-1"}))
    assert (why is None) is ours
    if why is not None:
        assert why.startswith("meant for ")


def test_without_declared_targets_only_our_id_is_judged(event: GridEvent) -> None:
    aimed = replace(event, targets=(Target(kind="group", value="north"), Target(kind="resource", value="x")))
    assert VenTargets(()).not_ours(aimed, frozenset({"ven-1"})) is None
