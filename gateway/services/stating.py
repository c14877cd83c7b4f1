"""Stating: from what was verified to a statement, and to a new version of it where a figure has moved since."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from gateway.clock import Clock
from gateway.domain.contract import Program
from gateway.domain.event import EventRecord
from gateway.domain.evidence import fingerprint
from gateway.domain.fleet import Site
from gateway.domain.settlement import (
    Edition,
    Run,
    SettlementStatement,
    says_the_same,
    settle,
    statement_name,
    tariff_of,
)
from gateway.domain.settlement_terms import settlement_terms
from gateway.domain.site_verification import SiteVerificationInputs
from gateway.domain.statement_changes import found_causes
from gateway.domain.verification import VerificationInputs, VerifiedReport
from gateway.ledger import Ledger, LedgerError, LedgerUnavailable, LogEntry

log = structlog.get_logger()

LONGEST_LOOK_BACK = timedelta(days=120)
"""No rule looks further back for days without events, and no price is looked for before."""

TOO_LATE = "final stands"
"""The word in an event's history for what came after its final statement, and changes nothing."""


class Stating:
    """Issues statements; each version of one stays on record."""

    def __init__(self, *, site: Site, ledger: Ledger, clock: Clock) -> None:
        self._site = site
        self._ledger = ledger
        self._clock = clock

    async def state(
        self,
        record: EventRecord,
        program: Program,
        verified: VerifiedReport,
        inputs: VerificationInputs | SiteVerificationInputs,
        *,
        revenue_data: bool = False,
        own_baseline: bool = False,
    ) -> SettlementStatement | None:
        """Issue what was verified; ``None`` where the event's last statement says the same, or is final.

        What a final statement would otherwise come to is said in the event's history, once. ``revenue_data`` says that
        the event is by the revenue meter, ``own_baseline`` that its baseline is not, or not all of it.
        """
        event = record.event
        newest = await newest_statement(self._ledger, event.connection_id, event.event_id)
        now = self._clock.now()
        revised = newest is not None and newest.verified.revision != event.revision
        version = 1 if newest is None else newest.edition.version + 1
        tariff = tariff_of(program)
        statement = settle(
            verified,
            program=program,
            site_id=self._site.site_id,
            statement_id=statement_name(self._site.site_id, verified, 1 if revised else version),
            issued_at=now,
            raw_sha256=event.raw_sha256,
            tariff=tariff,
            terms=settlement_terms(
                tariff, program, event, verified.intervals, await before_its_end(self._ledger, record)
            ),
            edition=Edition(
                version=version,
                run=Run.INITIAL if newest is None else Run.RECALCULATED,
                supersedes="" if newest is None else newest.statement_id,
                shadow=not revenue_data,
                own_baseline=own_baseline,
                dispute_until=now + timedelta(days=program.dispute_days),
            ),
        )
        if newest is not None and not revised and says_the_same(newest, statement):
            return None
        if newest is not None and newest.edition.run is Run.FINAL:
            await self._note_too_late(newest, statement, inputs)
            return None
        recorded = await self._recorded(statement, inputs)
        if recorded is None:
            return None
        statement = recorded
        log.info(
            "statement_issued",
            statement_id=statement.statement_id,
            version=version,
            delivered_kwh=str(statement.delivered_kwh),
            amount=str(statement.amount),
            currency=statement.currency,
        )
        await self._note(record, statement, newest, inputs)
        return statement

    async def _recorded(
        self, statement: SettlementStatement, inputs: VerificationInputs | SiteVerificationInputs
    ) -> SettlementStatement | None:
        """The statement as it is on record; ``None`` where another process has just issued this version.

        Names of connections and events may run into each other: ``a`` with ``b-c``, ``a-b`` with ``c``. The second such
        event gets a name of its own.
        """
        if await self._ledger.record_statement(statement, inputs):
            return statement
        there = await self._ledger.statement(statement.statement_id)
        name = (statement.verified.connection_id, statement.verified.event_id)
        if there is None or (there.verified.connection_id, there.verified.event_id) == name:
            return None
        apart = replace(statement, statement_id=f"{statement.statement_id}~{fingerprint(name)[:8]}")
        return apart if await self._ledger.record_statement(apart, inputs) else None

    async def _note(
        self,
        record: EventRecord,
        statement: SettlementStatement,
        before: SettlementStatement | None,
        inputs: VerificationInputs | SiteVerificationInputs,
    ) -> None:
        """A line in the event's history."""
        worth = f"{statement.delivered_kwh} kWh, {statement.amount} {statement.currency} ({statement.statement_id})"
        detail = worth + _cut(record)
        if before is not None:
            cause = await self._cause(before, statement, inputs)
            detail = f"{worth} in place of {before.delivered_kwh} kWh, {before.amount} {before.currency}: {cause}"
        await self._ledger.record_log(
            LogEntry(
                connection_id=record.event.connection_id,
                event_id=record.event.event_id,
                at=self._clock.now(),
                what="settled" if before is None else "settled again",
                detail=detail,
            )
        )

    async def _note_too_late(
        self,
        final: SettlementStatement,
        computed: SettlementStatement,
        inputs: VerificationInputs | SiteVerificationInputs,
    ) -> None:
        """A line in the event's history about what came after the final statement, where it is not there yet."""
        cause = await self._cause(final, computed, inputs)
        detail = (
            f"{final.statement_id} stays at {final.delivered_kwh} kWh, {final.amount} {final.currency}; by what is on "
            f"record now it would be {computed.delivered_kwh} kWh, {computed.amount} {computed.currency}: {cause}"
        )
        verified = final.verified
        lines = await self._ledger.log(verified.connection_id, verified.event_id)
        if any((line.what, line.detail) == (TOO_LATE, detail) for line in lines):
            return
        log.warning("final_statement_stands", statement_id=final.statement_id, cause=cause)
        await self._ledger.record_log(
            LogEntry(
                connection_id=verified.connection_id,
                event_id=verified.event_id,
                at=self._clock.now(),
                what=TOO_LATE,
                detail=detail,
            )
        )

    async def _cause(
        self,
        before: SettlementStatement,
        after: SettlementStatement,
        inputs: VerificationInputs | SiteVerificationInputs,
    ) -> str:
        try:
            earlier = await self._ledger.statement_inputs(before.verified.inputs_sha256)
        except LedgerUnavailable:
            raise
        except LedgerError as fault:
            return str(fault)
        if earlier is None:
            return "what the version before was computed from was not kept"
        return found_causes(before, after, earlier, inputs).of_everything()


async def newest_statement(ledger: Ledger, connection_id: str, event_id: str) -> SettlementStatement | None:
    """The last version of an event's statements."""
    found = await ledger.statements_of(connection_id, event_id)
    return max(found, key=lambda one: one.edition.version, default=None)


async def before_its_end(ledger: Ledger, record: EventRecord) -> Sequence[EventRecord]:
    """Events in which a price of an event's time may stand."""
    return await ledger.events(since=record.event.starts_at - LONGEST_LOOK_BACK)


def _cut(record: EventRecord) -> str:
    if record.left_at is None:
        return ""
    return f"; only up to {record.left_at:%H:%M:%SZ}, when an operator opted out"
