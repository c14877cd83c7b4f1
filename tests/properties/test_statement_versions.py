"""Versions of statements under everything that may come after an event, in any order, and what must hold of them.

One site that is metered for some quarters of an hour a day; a real ledger, a clock that jumps. What
comes: readings and closed intervals late, imports and edits of the event's and of earlier quarters, revisions, prices,
other terms at a new start, counterparties' statements, approvals, disputes and their answers, the word that makes a
version final. After each step the record is looked at as anybody may read it.
"""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.contract import Contract, Program
from gateway.domain.event import EventRecord
from gateway.domain.evidence import canonical_json
from gateway.domain.measurement import IntervalEnergy, Slice, integrate
from gateway.domain.meter_import import MeterImport, MeterKind
from gateway.domain.reconciliation import CounterpartyStatement
from gateway.domain.settlement import FIRST as FIRST_EDITION
from gateway.domain.settlement import (
    PLAIN_TARIFF,
    Run,
    SettlementStatement,
    check,
    says_the_same,
    settle,
    statement_name,
    tariff_of,
)
from gateway.domain.settlement_terms import settlement_terms
from gateway.domain.statement_changes import changes
from gateway.domain.statement_review import ReviewKind, ReviewRefused, StatementReview, standing
from gateway.domain.tariff.sheet import shipped_tariffs
from gateway.domain.tariff.terms import Part
from gateway.domain.vee.edit import Edit, Method
from gateway.domain.verification import VerificationInputs, verify_event
from gateway.services.reviewing import finalise, reconcile_with, review, versions
from gateway.services.settling import gather_inputs
from gateway.services.stating import before_its_end
from gateway.storage.upgrade import upgrade
from hardware.device import PowerReading, Quality
from protocols.grid import GridEvent, SignalKind
from tests.properties.test_statement_record import NEW_KEYS
from tests.unit.gateway.services.rig import CONNECTION_ID, PROGRAM_ID, SITE, STARTS_AT, Rig, open_rig

T = TypeVar("T")

QUARTER = timedelta(minutes=15)
QUARTER_S = QUARTER.total_seconds()
OUR_SITE = replace(SITE, interval_s=int(QUARTER_S))
FIRST = STARTS_AT.replace(minute=45) + timedelta(hours=1)
EVENTS = {"peak-0": FIRST, "peak-1": FIRST + 2 * QUARTER}
DAYS, BEFORE, PER_DAY = 14, 8, 12
SLOTS = [FIRST - timedelta(days=day) + part * QUARTER for day in range(DAYS, -1, -1) for part in range(-BEFORE, 4)]
"""Quarters that the site has something to say of, by day: two hours before the events, two quarters of each."""
OURS = range(len(SLOTS) - 4, len(SLOTS))
"""The events' own."""

TARIFFS = ["flat-energy", "capacity-with-tiers", "pjm-economic", "guangdong-response", "availability-and-utilisation"]
BASELINES = ["meter-before-after", "nyiso-average-day", "10-of-10", "iso-ne"]
PEOPLE = st.sampled_from(["Ann", "Bob"])
EVENT_IDS = st.sampled_from(sorted(EVENTS))
# Most often one of the events' own quarters, else one that their baselines may rest on.
SLOT = st.sampled_from(OURS) | st.integers(0, len(SLOTS) - 1) | st.sampled_from(range(OURS.start - 2, len(SLOTS)))
ENERGIES = st.sampled_from([0.0, 900.0, 1500.0, 2000.0, 2500.5])


@cache
def empty_record() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="gridgate-versions-"))
    asyncio.run(upgrade(f"sqlite+aiosqlite:///{folder}/empty.db"))
    return folder / "empty.db"


def figures(statement: SettlementStatement) -> bytes:
    """All that a statement says but for its own name, instants, fingerprints and place among the versions."""
    verified = replace(statement.verified, verified_at=STARTS_AT, inputs_sha256="")
    plain = replace(
        statement, statement_id="", issued_at=STARTS_AT, inputs_sha256="", verified=verified, edition=FIRST_EDITION
    )
    return canonical_json(plain)


class StatementVersions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.open = AsyncExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="gridgate-versions-"))
        shutil.copy(empty_record(), self.folder / "record.db")
        self.rig: Rig = self.do(self.open.enter_async_context(open_rig(f"sqlite+aiosqlite:///{self.folder}/record.db")))
        self.rig.site = OUR_SITE
        self.count = 0
        self.seen: dict[str, SettlementStatement] = {}
        self.program_of: dict[str, Program] = {}
        self.settled = False
        self.older_inputs: dict[str, VerificationInputs] = {}
        self.imports: list[tuple[int, MeterKind, set[int]]] = []
        self.edits: list[tuple[int, int, Method]] = []

    def teardown(self) -> None:
        try:
            self.do(self.open.aclose())
        finally:
            self.runner.close()
            shutil.rmtree(self.folder)

    def do(self, work: Awaitable[T]) -> T:
        async def waited() -> T:
            return await work

        return self.runner.run(waited())

    def name(self) -> str:
        self.count += 1
        return f"n{self.count:04d}"

    def pass_time(self, by: timedelta = timedelta(seconds=1)) -> None:
        self.rig.clock._now += by

    @property
    def program(self) -> Program:
        return self.rig.programs[PROGRAM_ID]

    # What begins.

    @initialize(
        tariff=st.sampled_from(TARIFFS),
        baseline=st.sampled_from(BASELINES),
        dispute_days=st.sampled_from([0.0, 0.1, 60.0]),
        missing=st.sets(SLOT, max_size=4),
        kind=st.sampled_from([SignalKind.LEVEL, SignalKind.ADJUST]),
        older=st.booleans(),
    )
    def begin(
        self, tariff: str, baseline: str, dispute_days: float, missing: set[int], kind: SignalKind, *, older: bool
    ) -> None:
        """With ``older`` the release before has settled the events, by the one tariff that it knew."""
        program = Program(
            program_id=PROGRAM_ID,
            levels={2: 0.2},
            baseline_rule=baseline,
            price_per_kwh=Decimal("0.50"),
            currency=currency if (currency := shipped_tariffs()[tariff].currency) != "agreed" else "USD",
            tariff=tariff,
            agreed={Part.CAPACITY: Decimal(2), Part.AVAILABILITY: Decimal("0.1")},
            dispute_days=dispute_days,
            contract=Contract(committed_w=1500.0),
        )
        self.rig.programs = {PROGRAM_ID: program}
        self.meter({slot: 8000.0 + 3.0 * slot for slot in range(len(SLOTS)) if slot not in missing})
        for event_id, at in EVENTS.items():
            in_s = (at - self.rig.clock.now()).total_seconds()
            value = 2.0 if kind is SignalKind.LEVEL else -1000.0
            self.do(self.rig.take(self.rig.event(event_id=event_id, in_s=in_s, lasts_s=1800.0, kind=kind, value=value)))
        self.rig.clock._now = FIRST + timedelta(hours=1)
        if older and tariff == PLAIN_TARIFF:
            for event_id in EVENTS:
                self.do(self.state_as_before(self.record(event_id)))
        self.settle_at_a_new_start()

    async def state_as_before(self, record: EventRecord) -> None:
        """A statement as the release before put it on record, which kept no inputs beside it."""
        name = statement_name(OUR_SITE.site_id, (await self.fresh(record)).verified)
        older = replace(await self.fresh(record), statement_id=name)
        written = {key: value for key, value in json.loads(canonical_json(older)).items() if key not in NEW_KEYS}
        await self.rig.ledger.record_verified(older.verified)
        self.older_inputs[older.verified.inputs_sha256] = await self.inputs_of(record)
        async with self.rig.ledger.database.write() as connection:
            add = text("INSERT INTO statement (statement_id, document) VALUES (:statement_id, :document)")
            await connection.execute(add, {"statement_id": name, "document": json.dumps(written)})

    def meter(self, power_w: dict[int, float]) -> None:
        """Quarters as metering closes them, with a reading each minute of those of the last day."""
        energy: list[IntervalEnergy] = []
        for slot, watts in power_w.items():
            begin = SLOTS[slot]
            readings = [
                PowerReading(
                    meter_id=SITE.meter_id,
                    power_w=watts * (0.8 if slot in OURS else 1.0),
                    measured_at=begin + timedelta(minutes=minute),
                )
                for minute in range(15)
            ]
            if slot >= len(SLOTS) - PER_DAY:
                self.rig.ledger.publish(readings)
            energy += integrate(readings, [Slice(starts_at=begin, duration_s=QUARTER_S)])
        self.do(self.rig.ledger.flush())
        self.do(self.rig.ledger.record_energy(SITE.meter_id, energy))

    # What comes.

    @rule(slot=SLOT, power_w=st.sampled_from([0.0, 6000.0, 9000.0]))
    def late_readings(self, slot: int, power_w: float) -> None:
        """Of a quarter that nothing was read of; of others the first reading counts."""
        self.meter({slot: power_w})
        self.settled = False

    @rule(
        slots=st.sets(SLOT, min_size=1, max_size=6) | st.just(set(OURS)),
        kind=st.sampled_from(MeterKind),
        energy_wh=ENERGIES,
    )
    def import_energy(self, slots: set[int], kind: MeterKind, energy_wh: float) -> None:
        self.pass_time()
        import_id = self.name()
        intervals = tuple(
            IntervalEnergy(
                starts_at=SLOTS[slot], duration_s=QUARTER_S, energy_wh=energy_wh + slot, coverage_fraction=1.0
            )
            for slot in sorted(slots)
        )
        source = MeterImport(
            import_id=import_id,
            meter_id=SITE.meter_id,
            source="june.csv",
            sha256=import_id,
            unit="Wh",
            kind=kind,
            by="Ann",
            at=self.rig.clock.now(),
            starts_at=intervals[0].starts_at,
            ends_at=intervals[-1].ends_at,
            count=len(intervals),
        )
        assert self.do(self.rig.ledger.record_import(source, intervals))
        self.imports.append((self.count, kind, slots))
        self.pass_time()
        self.settled = False

    @rule(slot=SLOT, method=st.sampled_from([Method.ENTERED, Method.REMOVED, Method.RAW]), energy_wh=ENERGIES)
    def edit_energy(self, slot: int, method: Method, energy_wh: float) -> None:
        self.pass_time()
        edit = Edit(
            edit_id=self.name(),
            meter_id=SITE.meter_id,
            starts_at=SLOTS[slot],
            duration_s=QUARTER_S,
            energy_wh=energy_wh if method is Method.ENTERED else None,
            quality=Quality.SUSPECT if method is Method.REMOVED else Quality.ESTIMATED,
            reason="the register says so",
            by="Ann",
            at=self.rig.clock.now(),
            method=method,
        )
        assert self.do(self.rig.ledger.record_edit(edit))
        self.edits.append((self.count, slot, method))
        self.pass_time()
        self.settled = False

    @rule(event_id=EVENT_IDS, lasts_s=st.sampled_from([1800.0, 900.0]))
    def revise(self, event_id: str, lasts_s: float) -> None:
        event = self.record(event_id).event
        signal = event.signals[0]
        signal = replace(signal, intervals=(replace(signal.intervals[0], duration_s=lasts_s),))
        revised = replace(event, revision=event.revision + 1, duration_s=lasts_s, signals=(signal,))
        self.do(self.rig.take(revised))
        self.settled = False

    @rule(cents=st.integers(-20, 300))
    def price(self, cents: int) -> None:
        """A price for the time of both events."""
        in_s = (FIRST - self.rig.clock.now()).total_seconds()
        event = self.rig.event(
            event_id=self.name(), in_s=in_s, lasts_s=3600.0, kind=SignalKind.PRICE, value=cents / 100
        )
        self.do(self.rig.take(replace(event, signals=(replace(event.signals[0], currency=self.program.currency),))))
        self.settled = False

    @rule(
        price=st.sampled_from(["0.50", "0.55"]),
        capacity=st.sampled_from([2, 3]),
        committed_w=st.sampled_from([1500.0, 1600.0]),
    )
    def start_anew_under_other_terms(self, price: str, capacity: int, committed_w: float) -> None:
        program = replace(
            self.program,
            price_per_kwh=Decimal(price),
            agreed={**self.program.agreed, Part.CAPACITY: Decimal(capacity)},
            contract=Contract(committed_w=committed_w),
        )
        self.rig.programs = {PROGRAM_ID: program}
        self.settling = self.rig.settling()
        self.settled = False

    @rule()
    def start_anew(self) -> None:
        self.settling = self.rig.settling()

    @rule(hours=st.sampled_from([1, 1, 5]))
    def settle(self, hours: int) -> None:
        """Hours pass, in which everything is looked at again."""
        self.pass_time(timedelta(hours=hours, minutes=1))
        self.do(self.rig.run(self.settling, for_s=11))
        self.settled = True

    @rule(kind=st.sampled_from(MeterKind), energy_wh=ENERGIES)
    def load_the_events_and_settle(self, kind: MeterKind, energy_wh: float) -> None:
        """What moves figures for sure, looked at without delay."""
        self.import_energy(slots=set(OURS), kind=kind, energy_wh=energy_wh + self.count)
        self.settle(1)

    @rule()
    def settle_at_a_new_start(self) -> None:
        self.settling = self.rig.settling()
        self.settle(1)

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

    def record(self, event_id: str) -> EventRecord:
        found = self.do(self.rig.ledger.event(CONNECTION_ID, event_id))
        assert found is not None
        return found

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
        differs = figures(before) != figures(one) or before.edition.shadow != one.edition.shadow
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
                fresh = self.do(self.fresh(record))
                fresh = replace(fresh, edition=replace(newest.edition, shadow=not self.is_revenue(record.event)))
                assert newest.verified.revision == record.event.revision
                if newest.tariff:
                    assert figures(newest) == figures(fresh)
                assert says_the_same(newest, fresh)
                assert newest.edition.shadow is fresh.edition.shadow

    async def inputs_of(self, record: EventRecord) -> VerificationInputs:
        return await gather_inputs(self.rig.ledger, OUR_SITE, record, shipped_rules()[self.program.baseline_rule])

    async def fresh(self, record: EventRecord) -> SettlementStatement:
        """A settlement of the record as it is, that knows nothing of earlier ones."""
        program, ledger = self.program, self.rig.ledger
        verified = verify_event(await self.inputs_of(record), verified_at=self.rig.clock.now())
        tariff = tariff_of(program)
        others = await before_its_end(ledger, record)
        return settle(
            verified,
            program=program,
            site_id=OUR_SITE.site_id,
            statement_id="fresh",
            issued_at=self.rig.clock.now(),
            raw_sha256=record.event.raw_sha256,
            terms=settlement_terms(tariff, program, record.event, verified.intervals, others),
        )

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


def expected_changes(before: SettlementStatement, after: SettlementStatement) -> list[tuple[str, Any]]:
    """By hand: figures that are on both and read otherwise."""
    found: list[tuple[str, Any]] = []
    plain = {
        "delivered kWh": lambda one: one.delivered_kwh,
        f"amount {after.currency}": lambda one: str(one.amount),
        "price a kWh": lambda one: one.price_per_kwh,
        "meter": lambda one: one.edition.shadow,
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


def begun(*, older: bool = False) -> StatementVersions:
    world = StatementVersions()
    world.begin(
        tariff="flat-energy",
        baseline="meter-before-after",
        dispute_days=60.0,
        missing=set(),
        kind=SignalKind.LEVEL,
        older=older,
    )
    world.every_version_stays_and_follows_from_what_was_kept()
    return world


def looked_at(world: StatementVersions) -> list[str]:
    """The names of all versions, once everything holds."""
    world.every_version_stays_and_follows_from_what_was_kept()
    world.the_newest_version_is_what_the_record_gives()
    return list(world.seen)


def test_nothing_follows_a_final_version_by_example() -> None:
    world = begun()
    world.agree_and_make_final("peak-0")
    world.load_the_events_and_settle(MeterKind.REVENUE, 900.0)
    assert looked_at(world)[2:] == ["lab-1-utility-peak-0-r0-v2", "lab-1-utility-peak-1-r0-v2"]
    assert [one.edition.run for one in world.seen.values()][2:] == [Run.FINAL, Run.RECALCULATED]
    world.teardown()


def test_an_upgrade_alone_makes_no_version_by_example() -> None:
    world = begun(older=True)
    world.settle(5)
    assert looked_at(world) == ["lab-1-utility-peak-0-r0", "lab-1-utility-peak-1-r0"]
    assert {one.tariff for one in world.seen.values()} == {""}
    world.load_the_events_and_settle(MeterKind.REVENUE, 900.0)
    assert looked_at(world)[2:] == ["lab-1-utility-peak-0-r0-v2", "lab-1-utility-peak-1-r0-v2"]
    world.teardown()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_versions_of_statements_for_long() -> None:
    run_state_machine_as_test(
        StatementVersions,
        settings=settings(QUICK, max_examples=400, stateful_step_count=40),
    )
