"""A site with two events in a record of its own, and what may come of it after them, for properties of statements.

It is metered for some quarters of an hour a day; a real ledger, a clock that jumps.
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
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
)
from sqlalchemy import text

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.contract import Contract, Program
from gateway.domain.event import EventRecord
from gateway.domain.evidence import canonical_json
from gateway.domain.measurement import IntervalEnergy, Slice, integrate
from gateway.domain.meter_import import MeterImport, MeterKind
from gateway.domain.settlement import FIRST as FIRST_EDITION
from gateway.domain.settlement import (
    PLAIN_TARIFF,
    Edition,
    SettlementStatement,
    settle,
    statement_name,
    tariff_of,
)
from gateway.domain.settlement_terms import settlement_terms
from gateway.domain.tariff.sheet import shipped_tariffs
from gateway.domain.tariff.terms import Part
from gateway.domain.vee.edit import Edit, Method
from gateway.domain.verification import VerificationInputs, verify_event
from gateway.services.settling import gather_inputs
from gateway.services.stating import before_its_end
from gateway.storage.upgrade import upgrade
from hardware.device import PowerReading, Quality
from protocols.grid import SignalKind
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


class StatementWorld(RuleBasedStateMachine):
    """What comes after the events: the rules of a state machine, which may also be called one by one."""

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

    def record(self, event_id: str) -> EventRecord:
        found = self.do(self.rig.ledger.event(CONNECTION_ID, event_id))
        assert found is not None
        return found

    async def inputs_of(self, record: EventRecord) -> VerificationInputs:
        return await gather_inputs(self.rig.ledger, OUR_SITE, record, shipped_rules()[self.program.baseline_rule])

    async def fresh(self, record: EventRecord, edition: Edition = FIRST_EDITION) -> SettlementStatement:
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
            edition=edition,
        )
