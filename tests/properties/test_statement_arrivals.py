"""What comes after an event may come in any order, and be settled in between or not: the last version is the same.

But for what means something by its order: an import that takes the place of another, an edit of what was there, and of
two readings of one instant the first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.domain.meter_import import MeterKind
from gateway.domain.vee.edit import Method
from protocols.grid import SignalKind
from tests.statement_world import (
    BASELINES,
    ENERGIES,
    EVENTS,
    OURS,
    SLOT,
    TARIFFS,
    StatementWorld,
    figures,
)
from tests.unit.gateway.services.rig import CONNECTION_ID


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Readings of the slots, an import of a kind, or an edit by a method."""

    slots: frozenset[int]
    value: float
    kind: MeterKind | None = None
    method: Method | None = None

    def come(self, world: StatementWorld) -> None:
        if self.kind is not None:
            world.import_energy(slots=set(self.slots), kind=self.kind, energy_wh=self.value)
        elif self.method is not None:
            (slot,) = self.slots
            world.edit_energy(slot=slot, method=self.method, energy_wh=self.value)
        else:
            (slot,) = self.slots
            world.late_readings(slot=slot, power_w=4 * self.value)

    @property
    def is_reading(self) -> bool:
        return self.kind is None and self.method is None


def by_order(one: Arrival, other: Arrival) -> bool:
    """Whether it means something which of them comes first."""
    if not one.slots & other.slots or one.is_reading is not other.is_reading:
        return False
    # What the revenue meter says counts before what another meter says, whichever is imported last.
    return one.kind is None or other.kind is None or one.kind is other.kind


one_slot = SLOT.map(lambda slot: frozenset({slot}))
arrivals = st.one_of(
    st.builds(Arrival, slots=one_slot, value=ENERGIES),
    st.builds(
        Arrival,
        slots=st.frozensets(SLOT, min_size=1, max_size=5) | st.just(frozenset(OURS)),
        value=ENERGIES,
        kind=st.sampled_from(MeterKind),
    ),
    st.builds(
        Arrival, slots=one_slot, value=ENERGIES, method=st.sampled_from([Method.ENTERED, Method.REMOVED, Method.RAW])
    ),
)


def another_order(found: list[Arrival], rank: list[int]) -> list[Arrival]:
    """By rank, but for those of which it means something which comes first."""
    before = {
        later: {earlier for earlier in range(later) if by_order(found[earlier], found[later])}
        for later in range(len(found))
    }
    order: list[int] = []
    while len(order) < len(found):
        ready = [index for index in range(len(found)) if index not in order and before[index] <= set(order)]
        order.append(min(ready, key=lambda index: rank[index]))
    return [found[index] for index in order]


@contextmanager
def opened(tariff: str, baseline: str, missing: set[int]) -> Iterator[StatementWorld]:
    world = StatementWorld()
    try:
        world.begin(
            tariff=tariff, baseline=baseline, dispute_days=60.0, missing=missing, kind=SignalKind.LEVEL, older=False
        )
        yield world
    finally:
        world.teardown()


def last_versions(
    tariff: str, baseline: str, missing: set[int], found: list[Arrival], settled_after: set[int]
) -> list[bytes]:
    """What the last versions say once all of it has come, settled in between after some of it."""
    with opened(tariff, baseline, missing) as world:
        for index, arrival in enumerate(found):
            arrival.come(world)
            if index in settled_after:
                world.settle(hours=1)
        world.settle_at_a_new_start()
        said = []
        for event_id in EVENTS:
            *_, newest = world.do(world.rig.ledger.statements_of(CONNECTION_ID, event_id))
            said.append(figures(newest) + (b"shadow" if newest.edition.shadow else b"revenue"))
        return said


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


QUICK = settings(max_examples=6, suppress_health_check=list(HealthCheck))


def in_any_order(data: st.DataObject) -> None:
    tariff, baseline = data.draw(st.sampled_from(TARIFFS)), data.draw(st.sampled_from(BASELINES))
    missing = data.draw(st.sets(SLOT, max_size=5))
    found = data.draw(st.lists(arrivals, min_size=2, max_size=7))
    other = another_order(found, data.draw(st.permutations(range(len(found)))))
    after = st.sets(st.integers(0, len(found) - 1))
    assert last_versions(tariff, baseline, missing, found, data.draw(after)) == last_versions(
        tariff, baseline, missing, other, data.draw(after)
    )


@QUICK
@given(data=st.data())
def test_the_order_of_what_comes_late_changes_no_figure(data: st.DataObject) -> None:
    in_any_order(data)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(QUICK, max_examples=300)
@given(data=st.data())
def test_the_order_of_what_comes_late_changes_no_figure_for_long(data: st.DataObject) -> None:
    in_any_order(data)


def test_the_smallest_example() -> None:
    loaded = Arrival(slots=frozenset(OURS), value=1500.0, kind=MeterKind.REVENUE)
    ours = replace(loaded, value=900.0, kind=MeterKind.GATEWAY)
    one = last_versions("flat-energy", "meter-before-after", set(), [loaded, ours], {0})
    assert one == last_versions("flat-energy", "meter-before-after", set(), [ours, loaded], set())
    assert all(said.endswith(b"revenue") for said in one)
    assert one != last_versions("flat-energy", "meter-before-after", set(), [ours], set())
