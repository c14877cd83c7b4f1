"""Settling: from an event that is over to verified reduction, and from that to a statement."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gateway.clock import Clock
from gateway.domain.baseline.method import Anchor
from gateway.domain.baseline.reach import asks_notice, look_back, reads_until
from gateway.domain.baseline.rule import DayMatching, DeclaredLevel, GeneratorOutput, MeterBeforeAfter, Regression, Rule
from gateway.domain.baseline.temperature import HELD, by_interval
from gateway.domain.contract import Program
from gateway.domain.event import (
    EventRecord,
    EventState,
    EventVersion,
    effective_end,
    ramp_starts_at,
    state,
    took_part_until,
    version,
)
from gateway.domain.evidence import fingerprint
from gateway.domain.fleet import Site
from gateway.domain.measurement import IntervalEnergy, Slice
from gateway.domain.settlement import Run
from gateway.domain.site_verification import SiteBelow, SiteVerificationInputs
from gateway.domain.verification import VerificationInputs, VerifiedReport, looked_back_at, verify_event
from gateway.ledger import Ledger, Topic
from gateway.services.meter_data import MeterData, SettledFrom
from gateway.services.readiness import EXPECTED_FAULTS, Readiness
from gateway.services.site_inputs import gather_stated_inputs
from gateway.services.site_verifying import SiteVerifying
from gateway.services.stating import LONGEST_LOOK_BACK, Stating, newest_statement
from protocols.grid import SignalKind

PERIOD_S = 5.0
SETTLE_DELAY = timedelta(seconds=3)
"""After the last settled interval has ended and been closed."""

CLOSE_PATIENCE = timedelta(minutes=2)
"""So long it may take to close that interval: after a start, or while the ledger was away, there is more to close."""

LOOK_BACK = timedelta(days=7)
"""Events that ended within it are settled after an outage."""

MINUTE_S = 60.0
"""Rules that look at minutes before the event get intervals of this length, not of the settlement's."""

AGAIN_PERIOD = timedelta(hours=1)
"""So often it is asked of what was settled within ``LOOK_BACK`` whether anything came late."""

CORRECTED_FOR = timedelta(days=400)
"""So long after an event what is imported or edited of its meter makes a version of its statement."""

AGAIN_AT_ONCE = 3
"""So many events are computed again in a pass: one that has just ended does not wait for all of them."""

PART = "settling"


class Settling:
    """Verifies what has ended, then issues its statement: each once for a revision, whenever it is started."""

    def __init__(
        self,
        *,
        site: Site,
        programs: Mapping[str, Program],
        rules: Mapping[str, Rule],
        ledger: Ledger,
        clock: Clock,
        readiness: Readiness,
        below: Callable[[], Sequence[SiteBelow]] = tuple,
    ) -> None:
        """``below`` are the sites below us, of programs that are verified by them."""
        self._site = site
        self._programs = programs
        self._rules = rules
        self._sites = SiteVerifying(site=site, ledger=ledger, clock=clock, below=below)
        self._ledger = ledger
        self._clock = clock
        self._readiness = readiness
        readiness.expect(PART)
        self._stating = Stating(site=site, ledger=ledger, clock=clock)
        self._settled: set[EventVersion] = set()
        self._began_at = clock.now()
        # What is to be computed again, in the order it was noticed; at first nothing is known of an earlier life.
        self._again: dict[EventVersion, None] = {}
        self._again_at = clock.now()
        self._meter_data: int | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Settle what is due until told to stop."""
        events_changed = self._ledger.subscribe(Topic.EVENTS)
        while not stop.is_set():
            events_changed.clear()
            try:
                await self._settle_due()
            except EXPECTED_FAULTS as fault:
                self._readiness.faulty(PART, str(fault) or type(fault).__name__)
            else:
                self._readiness.well(PART)
            await self._clock.wait(self._clock.now() + timedelta(seconds=PERIOD_S), stop, events_changed)

    async def _settle_due(self) -> None:
        now = self._clock.now()
        records = [one for one in await self._ledger.events(since=now - LOOK_BACK) if settles(one)]
        self._settled &= {version(record) for record in records}
        await self._sites.listen([record for record in records if self._is_by_sites(record)])
        for record in records:
            program = self._programs.get(record.event.program_id)
            if version(record) in self._settled:
                if program is not None and program.by_sites and await self._sites.verify_again(record):
                    self._again[version(record)] = None
            elif program is not None and await self._settle_first(record, program, now):
                self._settled.add(version(record))
        await self._settle_again(records, now)

    async def _settle_again(self, records: Sequence[EventRecord], now: datetime) -> None:
        """Compute settled events anew, a few at a time, where something may have come late."""
        if now >= self._again_at:
            self._again |= dict.fromkeys(version(record) for record in records if version(record) in self._settled)
            self._again_at = now + AGAIN_PERIOD
        meter_data = await self._ledger.meter_data_count()
        if meter_data != self._meter_data:
            older = await self._ledger.events(since=now - CORRECTED_FOR)
            self._again |= dict.fromkeys(version(record) for record in older if settles(record))
            self._meter_data = meter_data
        for one in list(self._again)[:AGAIN_AT_ONCE]:
            connection_id, event_id, *_ = one
            record = await self._ledger.event(connection_id, event_id)
            program = None if record is None else self._programs.get(record.event.program_id)
            stated = await self._ledger.statements_of(connection_id, event_id)
            if record is not None and version(record) == one and program is not None and stated:
                await self._settle(record, program)
            # Only now: what fails is tried again.
            del self._again[one]

    def _is_by_sites(self, record: EventRecord) -> bool:
        program = self._programs.get(record.event.program_id)
        return program is not None and program.by_sites

    async def _is_metered(self, record: EventRecord, program: Program, now: datetime) -> bool:
        """Whether the event is over and the last interval that its rule reads closed, or never will be."""
        end = effective_end(record)
        if end is None or state(record, now) not in {EventState.COMPLETED, EventState.CANCELLED}:
            return False
        if not program.by_sites:
            end = reads_until(self._rules[program.baseline_rule], record.event.starts_at, end, self._site.timezone)
        last = interval_end(end, self._site.interval_s)
        if now < last + SETTLE_DELAY:
            return False
        start = last - timedelta(seconds=self._site.interval_s)
        closed = await self._ledger.energy_between(self._site.meter_id, start, last)
        return bool(closed) or now >= max(last, self._began_at) + CLOSE_PATIENCE

    async def _settle_first(self, record: EventRecord, program: Program, now: datetime) -> bool:
        return await self._is_metered(record, program, now) and await self._settle(record, program)

    async def _settle(self, record: EventRecord, program: Program) -> bool:
        """Verify an event and state it, or a new version; false while sites below have to settle first."""
        known = await self._ledger.verified(record.event.connection_id, record.event.event_id)
        if known is not None and known.revision != record.event.revision:
            known = None
        inputs: VerificationInputs | SiteVerificationInputs
        revenue_data = own_baseline = False
        if program.by_sites:
            verified = known or await self._sites.verify(record, program.sites_patience_s)
            if verified is None:
                return False
            inputs = await gather_stated_inputs(self._ledger, self._site, record, verified.sites)
        else:
            # What is imported from now on is not among the inputs: whoever computes them again goes by this instant.
            at, rule = self._clock.now(), self._rules[program.baseline_rule]
            inputs = await gather_inputs(
                self._ledger, self._site, record, rule, as_of=at, declared_w=program.declared_w
            )
            newest = await newest_statement(self._ledger, record.event.connection_id, record.event.event_id)
            final = newest is not None and newest.edition.run is Run.FINAL
            verified = await self._verified(inputs, known, at, final=final)
            data = MeterData(self._ledger, interval_s=self._site.interval_s, as_of=at)
            meter_id = self._site.meter_id
            revenue_data = await data.revenue_covers(meter_id, inputs.event_start, inputs.event_end)
            if revenue_data:
                before = looked_back_at(inputs, verified)
                own_baseline = not all([await data.revenue_covers(meter_id, start, end) for start, end in before])
        await self._stating.state(
            record, program, verified, inputs, revenue_data=revenue_data, own_baseline=own_baseline
        )
        return True

    async def _verified(
        self, inputs: VerificationInputs, known: VerifiedReport | None, at: datetime, *, final: bool
    ) -> VerifiedReport:
        """The verification of these inputs, made and recorded where the last one was of others.

        After the final statement none is recorded: the grid is told no other figures than were settled.
        """
        # Weeks of history take a third of a second: in a thread, so that the control loop keeps its second.
        if known is not None and known.inputs_sha256 == await asyncio.to_thread(fingerprint, inputs):
            return known
        report = await asyncio.to_thread(verify_event, inputs, verified_at=at)
        if not final and (known is None or not _same_figures(known, report)):
            await self._ledger.record_verified(report)
        return report


def _same_figures(known: VerifiedReport, report: VerifiedReport) -> bool:
    return known == replace(report, verified_at=known.verified_at, inputs_sha256=known.inputs_sha256)


def settles(record: EventRecord) -> bool:
    """Whether an event is settled once it is over.

    We took part in it, it was no test, it called for power (a price alone does not), we knew of it before it was over,
    and it had begun by then.
    """
    if record.event.test:
        return False
    if all(signal.kind in {SignalKind.PRICE, SignalKind.NOTICE, SignalKind.OTHER} for signal in record.event.signals):
        return False
    end = took_part_until(record)
    return end is None or max(record.event.starts_at, record.first_received_at) < end


async def gather_inputs(
    ledger: SettledFrom,
    site: Site,
    record: EventRecord,
    rule: Rule,
    *,
    as_of: datetime | None = None,
    declared_w: float | None = None,
) -> VerificationInputs:
    """Everything that the verification of an event is computed from, read from the record; ``declared_w`` is terms.

    The same record gives the same inputs, today and at an audit: of other events counts what was known of them by then,
    of meter data and temperatures that were imported or edited what was on record ``as_of`` the verification (``None``:
    all of it).
    """
    event = record.event
    start, end = event.starts_at, took_part_until(record)
    if end is None:
        raise ValueError(f"event {event.event_id} is open ended and not over")
    last = interval_end(end, site.interval_s)
    read_to = interval_end(reads_until(rule, start, end, site.timezone), site.interval_s)
    data = MeterData(ledger, interval_s=site.interval_s, as_of=as_of)
    others = await ledger.events(since=start - LONGEST_LOOK_BACK)
    return VerificationInputs(
        connection_id=event.connection_id,
        event_id=event.event_id,
        revision=event.revision,
        event_start=start,
        event_end=end,
        ramp_start=ramp_starts_at(event),
        rule=rule,
        timezone=site.timezone,
        history=await _history(data, site, rule, record, read_to),
        measured=await data.measured_between(site.meter_id, start, end, site.interval_s),
        excluded=tuple(
            (other.event.starts_at, min(took_part_until(other) or last, last))
            for other in others
            if settles(other) and other.event.starts_at < end and other.first_received_at <= last
        ),
        # When we had it, which nobody else's clock decides.
        noticed_at=record.first_received_at if asks_notice(rule) else None,
        generation=await _generation(data, site, rule, record, read_to),
        declared_w=declared_w if isinstance(rule.method, DeclaredLevel) else None,
        temperature_c=await temperatures(ledger, site, rule, start, read_to, as_of=as_of),
    )


async def _generation(
    data: MeterData, site: Site, rule: Rule, record: EventRecord, last: datetime
) -> tuple[IntervalEnergy, ...]:
    """The generator's output over the same hours, for a rule that measures it."""
    if site.generator_meter_id is None or not isinstance(rule.method, GeneratorOutput):
        return ()
    return await _history(data, replace(site, meter_id=site.generator_meter_id), rule, record, last)


async def temperatures(
    ledger: SettledFrom,
    site: Site,
    rule: Rule,
    start: datetime,
    last: datetime,
    *,
    as_of: datetime | None,
    back: timedelta = timedelta(),
) -> tuple[tuple[datetime, float], ...]:
    """Temperatures for a regression, by the meter's intervals, as they were on record ``as_of`` an instant.

    None where the series does not reach over the event: the regression goes without then.
    """
    if not isinstance(rule.method, Regression):
        return ()
    first = interval_end(start - look_back(rule) - back, site.interval_s)
    series = await ledger.temperatures_between(first - HELD, last, known_by=as_of)
    step = timedelta(seconds=site.interval_s)
    count = int((last - first) / step)
    found = by_interval(series, (first + index * step for index in range(count)))
    known = {at for at, _ in found}
    own = [first + index * step for index in range(count) if first + (index + 1) * step > start]
    return found if all(at in known for at in own) else ()


async def _history(
    data: MeterData, site: Site, rule: Rule, record: EventRecord, last: datetime
) -> tuple[IntervalEnergy, ...]:
    """What the rule looks back at: closed intervals of earlier days, or the minutes around the event as measured.

    The minutes are counted from the rule's anchor (the start of the ramp, or the notice), so that none of them mixes
    before and after. Nothing is read from after ``last``, which has passed when an event is settled: whoever asks later
    gets the same.
    """
    ramp, method = ramp_starts_at(record.event), rule.method
    if not isinstance(method, MeterBeforeAfter):
        days = method.typical if isinstance(method, GeneratorOutput) else method
        by_notice = isinstance(days, DayMatching) and days.count_from is Anchor.NOTICE
        first = min(ramp, record.first_received_at if by_notice else ramp) - look_back(rule)
        return await data.energy_between(site.meter_id, first, last)
    anchor = min(record.first_received_at, record.event.starts_at) if method.anchor is Anchor.NOTICE else ramp
    before = math.ceil((method.length_s + (method.align_s or 0.0)) / MINUTE_S)
    # Between a notice and the event may lie days, of which nothing is asked.
    after = max(ramp, anchor)
    minutes: list[IntervalEnergy] = []
    for origin, begin, end in [(anchor, -before, 0), (after, 0, math.ceil((last - after).total_seconds() / MINUTE_S))]:
        pieces = [
            Slice(starts_at=origin + timedelta(seconds=index * MINUTE_S), duration_s=MINUTE_S)
            for index in range(begin, end)
        ]
        until = min(pieces[-1].ends_at, last)
        minutes += await data.energy_over(site.meter_id, pieces, until)
    return tuple(minutes)


def interval_end(at: datetime, interval_s: int) -> datetime:
    """End of the metered interval that ends at or after the instant."""
    return datetime.fromtimestamp(-(-at.timestamp() // interval_s) * interval_s, UTC)
