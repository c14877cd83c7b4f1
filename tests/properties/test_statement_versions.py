"""Versions of statements under everything that may come after an event, in any order, and what must hold of them.

What comes (``tests/statement_world.py``): readings and closed intervals late, imports and edits of the event's and of
earlier quarters, revisions, prices, other terms at a new start. What people say: counterparties' statements, approvals,
disputes and their answers, the word that makes a version final. After each step the record is looked at as anybody may
read it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.domain.meter_import import MeterKind
from gateway.domain.reconciliation import CounterpartyStatement
from gateway.domain.settlement import (
    Run,
    SettlementStatement,
    check,
    says_the_same,
)
from gateway.domain.statement_changes import changes
from gateway.domain.statement_review import ReviewKind, ReviewRefused, StatementReview, standing
from gateway.domain.vee.edit import Method
from gateway.services.reviewing import finalise, reconcile_with, review, versions
from protocols.grid import GridEvent, SignalKind
from tests.statement_world import EVENT_IDS, EVENTS, SLOTS, StatementWorld, figures
from tests.unit.gateway.services.rig import CONNECTION_ID

PEOPLE = st.sampled_from(["Ann", "Bob"])


class StatementVersions(StatementWorld):
    # What people say.

    def said(self, kind: ReviewKind, statement_id: str, by: str, **more: Any) -> None:
        word = StatementReview(
            review_id=self.name(), statement_id=statement_id, kind=kind, by=by, at=self.rig.clock.now(), **more
        )
        statement, newest = self.seen[statement_id], self.newest_of(self.seen[statement_id])
        late = statement.edition.dispute_until is not None and word.at > statement.edition.dispute_until
        final = statement.edition.run is Run.FINAL
        refused = newest != statement or (kind is ReviewKind.DISPUTED and (late or final))
        before = self.do(self.rig.ledger.reviews())
        try:
            self.do(review(self.rig.ledger, word))
        except ReviewRefused:
            assert refused
            assert self.do(self.rig.ledger.reviews()) == before
        else:
            assert not refused

    def drawn(self, data: st.DataObject) -> SettlementStatement:
        return self.seen[data.draw(st.sampled_from(list(self.seen)))]

    def newest_of(self, statement: SettlementStatement) -> SettlementStatement:
        event_id = statement.verified.event_id
        return [one for one in self.seen.values() if one.verified.event_id == event_id][-1]

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), by=PEOPLE)
    def approve(self, data: st.DataObject, by: str) -> None:
        self.said(ReviewKind.APPROVED, self.drawn(data).statement_id, by)

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), by=PEOPLE)
    def dispute(self, data: st.DataObject, by: str) -> None:
        self.said(ReviewKind.DISPUTED, self.drawn(data).statement_id, by, reason="the meter was away")

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), by=PEOPLE)
    def resolve(self, data: st.DataObject, by: str) -> None:
        reviews = self.do(self.rig.ledger.reviews())
        disputes = [one for one in reviews if one.kind is ReviewKind.DISPUTED]
        if disputes:
            dispute = data.draw(st.sampled_from(disputes))
            answer = StatementReview(
                review_id=self.name(),
                statement_id=dispute.statement_id,
                kind=ReviewKind.RESOLVED,
                by=by,
                at=self.rig.clock.now(),
                answers=dispute.review_id,
            )
            answered = {one.answers for one in reviews}
            if dispute.review_id in answered:
                with pytest.raises(ReviewRefused):
                    self.do(review(self.rig.ledger, answer))
            else:
                self.do(review(self.rig.ledger, answer))

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), off=st.sampled_from(["0", "0", "0.01"]), disputes=st.booleans())
    def counterparty(self, data: st.DataObject, off: str, disputes: bool) -> None:
        self.held_against(self.drawn(data), off, disputes=disputes)

    def held_against(self, ours: SettlementStatement, off: str, *, disputes: bool) -> None:
        theirs = CounterpartyStatement(
            reference=self.name(),
            party="utility",
            event_id=ours.verified.event_id,
            currency=ours.currency,
            amount=ours.amount + Decimal(off),
            delivered_kwh=ours.delivered_kwh,
        )
        self.pass_time()
        dispute_id = self.name() if disputes else None
        before = self.do(self.rig.ledger.counterparty_statements(ours.statement_id))
        try:
            found = self.do(
                reconcile_with(
                    self.rig.ledger, ours.statement_id, theirs, by="Ann", at=self.rig.clock.now(), dispute_id=dispute_id
                )
            )
        except ReviewRefused:
            assert disputes
            assert self.do(self.rig.ledger.counterparty_statements(ours.statement_id)) == before
        else:
            assert found.agrees == (off == "0")

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), because=st.sampled_from(["", "there is no revenue meter"]))
    def make_final(self, data: st.DataObject, because: str) -> None:
        self.finalised(self.drawn(data), because)

    @precondition(lambda self: self.seen)
    @rule(event_id=EVENT_IDS)
    def agree_and_make_final(self, event_id: str) -> None:
        """The short way, so that there are final versions in many runs."""
        newest = [one for one in self.seen.values() if one.verified.event_id == event_id][-1]
        self.said(ReviewKind.APPROVED, newest.statement_id, "Ann")
        self.held_against(newest, "0", disputes=False)
        self.finalised(newest, "there is no revenue meter")

    def finalised(self, statement: SettlementStatement, because: str) -> None:
        stands = standing(statement.statement_id, self.do(self.rig.ledger.reviews()))
        try:
            final = self.do(
                finalise(
                    self.rig.ledger, statement.statement_id, by="Bob", at=self.rig.clock.now(), shadow_because=because
                )
            )
        except ReviewRefused:
            return
        assert stands.approved_by
        assert not stands.open_disputes
        assert statement == self.newest_of(statement)
        assert because or not statement.edition.shadow
        assert not statement.unpriced
        assert (final.edition.run, final.edition.supersedes) == (Run.FINAL, statement.statement_id)
        assert figures(final) == figures(statement)

    # What must hold.

    @invariant()
    def every_version_stays_and_follows_from_what_was_kept(self) -> None:
        for event_id in EVENTS:
            found = self.do(self.rig.ledger.statements_of(CONNECTION_ID, event_id))
            assert [one.edition.version for one in found] == list(range(1, len(found) + 1))
            names = ["", *(one.statement_id for one in found)]
            assert [one.edition.supersedes for one in found] == names[:-1]
            runs = [one.edition.run for one in found]
            assert all(run is Run.INITIAL for run in runs[:1])
            assert Run.INITIAL not in runs[1:]
            assert Run.FINAL not in runs[:-1]
            for before, one in zip([None, *found], found, strict=False):
                if one.statement_id in self.seen:
                    assert self.seen[one.statement_id] == one
                else:
                    self.look_at(before, one)
                    self.seen[one.statement_id] = one

    def look_at(self, before: SettlementStatement | None, one: SettlementStatement) -> None:
        """A version that is new."""
        final = one.edition.run is Run.FINAL
        program = self.program_of[before.statement_id] if final and before is not None else self.program
        self.program_of[one.statement_id] = program
        inputs = self.do(self.rig.ledger.statement_inputs(one.verified.inputs_sha256))
        if one.tariff:
            assert inputs is not None
        else:
            inputs = self.older_inputs[one.verified.inputs_sha256]
        assert check(one, inputs, program) is None
        assert not one.tariff or sum((line.amount for line in one.lines), Decimal(0)) == one.amount
        if before is None:
            return
        earlier = self.do(self.rig.ledger.statement_inputs(before.verified.inputs_sha256))
        found = changes(before, one, earlier, inputs)
        assert all(change.cause for change in found)
        assert all(change.before != change.after for change in found)
        if not before.tariff:
            # An upgrade alone makes no version, and its tariff and lines are none of the differences.
            before = replace(before, tariff=one.tariff, tariff_version=one.tariff_version, lines=one.lines)
        differs = figures(before) != figures(one) or meter_of(before) != meter_of(one)
        assert differs is not final
        assert bool(found) is differs
        named = {(change.figure, change.starts_at) for change in found}
        for figure, starts_at in expected_changes(before, one):
            assert (figure, starts_at) in named
        lines = self.do(versions(self.rig.ledger, one.statement_id))
        assert lines[-1].changes == found

    @invariant()
    def the_newest_version_is_what_the_record_gives(self) -> None:
        if not self.settled:
            return
        for event_id in EVENTS:
            *_, newest = self.do(self.rig.ledger.statements_of(CONNECTION_ID, event_id))
            record = self.record(event_id)
            if newest.edition.run is not Run.FINAL:
                # Whether the baseline is by another meter decides one note, and is looked at by tests of settling.
                assert not (newest.edition.shadow and newest.edition.own_baseline)
                edition = replace(newest.edition, shadow=not self.is_revenue(record.event))
                fresh = self.do(self.fresh(record, edition))
                assert newest.verified.revision == record.event.revision
                if newest.tariff:
                    assert figures(newest) == figures(fresh)
                assert says_the_same(newest, fresh)
                assert newest.edition.shadow is fresh.edition.shadow

    def is_revenue(self, event: GridEvent) -> bool:
        """By hand: each quarter of the event was imported from the revenue meter, and not marked as unusable since."""
        ends_at = event.starts_at + timedelta(seconds=event.duration_s or 0.0)
        for slot, begin in enumerate(SLOTS):
            if event.starts_at <= begin < ends_at:
                loaded = [at for at, kind, slots in self.imports if kind is MeterKind.REVENUE and slot in slots]
                if not loaded:
                    return False
                methods = [method for at, edited, method in self.edits if edited == slot and at > loaded[-1]]
                if methods[-1:] == [Method.REMOVED]:
                    return False
        return True


def meter_of(statement: SettlementStatement) -> tuple[bool, bool]:
    return statement.edition.shadow, statement.edition.own_baseline


def expected_changes(before: SettlementStatement, after: SettlementStatement) -> list[tuple[str, Any]]:
    """By hand: figures that are on both and read otherwise."""
    found: list[tuple[str, Any]] = []
    plain = {
        "delivered kWh": lambda one: one.delivered_kwh,
        f"amount {after.currency}": lambda one: str(one.amount),
        "price a kWh": lambda one: one.price_per_kwh,
        "meter": meter_of,
        "why nothing is priced": lambda one: one.unpriced,
        "baseline days": lambda one: [day.date for day in one.verified.days if day.selected],
        "why there is no baseline": lambda one: one.verified.insufficient,
    }
    found += [(figure, None) for figure, value in plain.items() if value(before) != value(after)]
    fields = {
        "baseline Wh": "baseline_wh",
        "measured Wh": "measured_wh",
        "delivered Wh": "delivered_wh",
        "coverage": "coverage_fraction",
        "quality": "quality",
    }
    old, new = ({one.starts_at: one for one in given.verified.intervals} for given in (before, after))
    found += [
        (figure, at)
        for at in {*old, *new}
        for figure, name in fields.items()
        if getattr(old.get(at), name, None) != getattr(new.get(at), name, None)
    ]
    return found


QUICK = settings(deadline=None, max_examples=8, stateful_step_count=14, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with structlog.testing.capture_logs():
        yield


def test_versions_of_statements() -> None:
    run_state_machine_as_test(StatementVersions, settings=QUICK)


@contextmanager
def begun(*, older: bool = False) -> Iterator[StatementVersions]:
    world = StatementVersions()
    try:
        begin(world, older=older)
        yield world
    finally:
        world.teardown()


def begin(world: StatementVersions, *, older: bool) -> None:
    world.begin(
        tariff="flat-energy",
        baseline="meter-before-after",
        dispute_days=60.0,
        missing=set(),
        kind=SignalKind.LEVEL,
        older=older,
    )
    world.every_version_stays_and_follows_from_what_was_kept()


def looked_at(world: StatementVersions) -> list[str]:
    """The names of all versions, once everything holds."""
    world.every_version_stays_and_follows_from_what_was_kept()
    world.the_newest_version_is_what_the_record_gives()
    return list(world.seen)


def test_nothing_follows_a_final_version_by_example() -> None:
    with begun() as world:
        world.agree_and_make_final("peak-0")
        world.load_the_events_and_settle(MeterKind.REVENUE, 900.0)
        assert looked_at(world)[2:] == ["lab-1-utility-peak-0-r0-v2", "lab-1-utility-peak-1-r0-v2"]
        assert [one.edition.run for one in world.seen.values()][2:] == [Run.FINAL, Run.RECALCULATED]


def test_an_upgrade_alone_makes_no_version_by_example() -> None:
    with begun(older=True) as world:
        world.settle(5)
        assert looked_at(world) == ["lab-1-utility-peak-0-r0", "lab-1-utility-peak-1-r0"]
        assert {one.tariff for one in world.seen.values()} == {""}
        world.load_the_events_and_settle(MeterKind.REVENUE, 900.0)
        assert looked_at(world)[2:] == ["lab-1-utility-peak-0-r0-v2", "lab-1-utility-peak-1-r0-v2"]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_versions_of_statements_for_long() -> None:
    run_state_machine_as_test(
        StatementVersions,
        settings=settings(QUICK, max_examples=400, stateful_step_count=40),
    )
